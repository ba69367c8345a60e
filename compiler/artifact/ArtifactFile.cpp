// Lays out and writes the container described in runtime/include/kiln/artifact.h. Sections are
// hashed as they pass, so that gigabytes of weights are touched once.
#include "compiler/artifact/ArtifactFile.h"
#include "llvm/Support/Errno.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/MathExtras.h"
#include <cerrno>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

using namespace kiln;

struct ArtifactFile::Section {
  kiln_section entry = {};
  uint64_t written = 0;
  XXH64_state_t hash;
};

template <typename... Args> static llvm::Error fail(const char *format, Args &&...args) {
  return llvm::createStringError(llvm::formatv(format, std::forward<Args>(args)...).str());
}

ArtifactFile::ArtifactFile(llvm::StringRef path) : path(path) {}

ArtifactFile::~ArtifactFile() {
  // An error is left unreported here: one has been reported already, or the caller gave up.
  if (temporary)
    llvm::consumeError(temporary->discard());
}

unsigned ArtifactFile::addSection(kiln_section_kind kind, uint64_t size) {
  uint64_t end = sections.empty() ? 0 : sections.back()->entry.offset + sections.back()->entry.size;
  auto section = std::make_unique<Section>();
  section->entry.kind = kind;
  section->entry.size = size;
  // Header and table end before the first section: at most 64 + 64 * 32 bytes.
  static_assert(sizeof(kiln_artifact_header) + KILN_MAX_SECTIONS * sizeof(kiln_section) <=
                KILN_SECTION_ALIGNMENT);
  section->entry.offset =
      sections.empty() ? KILN_SECTION_ALIGNMENT : llvm::alignTo(end, KILN_SECTION_ALIGNMENT);
  XXH64_reset(&section->hash, 0);
  sections.push_back(std::move(section));
  return unsigned(sections.size() - 1);
}

uint64_t ArtifactFile::getTotalSize() const {
  return sections.empty() ? sizeof(kiln_artifact_header)
                          : sections.back()->entry.offset + sections.back()->entry.size;
}

llvm::Error ArtifactFile::create() {
  if (sections.size() > KILN_MAX_SECTIONS)
    return fail("{0}: expected at most {1} sections, found {2}", path, KILN_MAX_SECTIONS,
                sections.size());
  if (llvm::sys::fs::is_directory(path))
    return fail("{0}: cannot write the artifact: it is a directory", path);
  // Removed on signals as well; the random part keeps two compiles to one path apart.
  auto created =
      llvm::sys::fs::TempFile::create(path + ".tmp." + std::to_string(::getpid()) + ".%%%%%%");
  if (!created)
    return fail("{0}: cannot create the artifact: {1}", path, llvm::toString(created.takeError()));
  temporary = std::move(*created);
  return llvm::Error::success();
}

llvm::Error ArtifactFile::write(uint64_t offset, llvm::ArrayRef<uint8_t> bytes) {
  while (!bytes.empty()) {
    ssize_t count = ::pwrite(temporary->FD, bytes.data(), bytes.size(), off_t(offset));
    if (count < 0 && errno == EINTR)
      continue;
    if (count <= 0)
      return fail("{0}: cannot write the artifact: {1}; it needs {2} bytes ({3})", path,
                  count < 0 ? llvm::sys::StrError() : "no bytes written", getTotalSize(),
                  temporary->TmpName);
    offset += uint64_t(count);
    bytes = bytes.drop_front(size_t(count));
  }
  return llvm::Error::success();
}

llvm::Error ArtifactFile::append(unsigned index, llvm::ArrayRef<uint8_t> bytes) {
  Section &section = *sections[index];
  if (bytes.size() > section.entry.size - section.written)
    return fail("{0}: section {1}: more bytes than the {2} declared", path, index,
                section.entry.size);
  if (llvm::Error error = write(section.entry.offset + section.written, bytes))
    return error;
  XXH64_update(&section.hash, bytes.data(), bytes.size());
  section.written += bytes.size();
  return llvm::Error::success();
}

llvm::Error ArtifactFile::commit() {
  std::vector<kiln_section> table;
  for (const auto &section : sections) {
    if (section->written != section->entry.size)
      return fail("{0}: section {1}: expected {2} bytes, found {3}", path, table.size(),
                  section->entry.size, section->written);
    section->entry.checksum = XXH64_digest(&section->hash);
    table.push_back(section->entry);
  }
  kiln_artifact_header header = {};
  std::memcpy(header.magic, KILN_ARTIFACT_MAGIC, sizeof header.magic);
  header.version = KILN_ARTIFACT_VERSION;
  header.section_count = uint32_t(table.size());
  header.total_size = getTotalSize();
  header.table_checksum = XXH64(table.data(), table.size() * sizeof(kiln_section), 0);
  auto bytesOf = [](const void *data, size_t size) {
    return llvm::ArrayRef(static_cast<const uint8_t *>(data), size);
  };
  if (llvm::Error error =
          write(sizeof header, bytesOf(table.data(), table.size() * sizeof(kiln_section))))
    return error;
  if (llvm::Error error = write(0, bytesOf(&header, sizeof header)))
    return error;
  llvm::Error error = temporary->keep(path);
  temporary.reset();
  if (error)
    return fail("{0}: cannot move the finished artifact to its place: {1}", path,
                llvm::toString(std::move(error)));
  return llvm::Error::success();
}
