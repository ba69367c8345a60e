// Lays out and writes the container described in runtime/include/kiln/artifact.h. Sections are
// hashed as they pass, so that gigabytes of weights are touched once.
#include "compiler/artifact/ArtifactFile.h"
#include "kiln/executable.h"
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

void ArtifactFile::setLauncher(llvm::ArrayRef<uint8_t> program) {
  launcher.assign(program.begin(), program.end());
  launcher.resize(llvm::alignTo(program.size(), KILN_EXECUTABLE_ALIGNMENT));
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

uint64_t ArtifactFile::getFileSize() const {
  return getTotalSize() +
         (launcher.empty() ? 0 : launcher.size() + sizeof(kiln_executable_trailer));
}

llvm::Error ArtifactFile::create() {
  if (sections.size() > KILN_MAX_SECTIONS)
    return fail("{0}: expected at most {1} sections, found {2}", path, KILN_MAX_SECTIONS,
                sections.size());
  if (llvm::sys::fs::is_directory(path))
    return fail("{0}: cannot write the artifact: it is a directory", path);
  // Removed on signals as well; the random part keeps two compiles to one path apart. The system
  // takes off what the umask says.
  unsigned mode = llvm::sys::fs::all_read | llvm::sys::fs::all_write;
  if (!launcher.empty())
    mode |= llvm::sys::fs::all_exe;
  auto created = llvm::sys::fs::TempFile::create(
      path + ".tmp." + std::to_string(::getpid()) + ".%%%%%%", mode);
  if (!created)
    return fail("{0}: cannot create the artifact: {1}", path, llvm::toString(created.takeError()));
  temporary = std::move(*created);
  return llvm::Error::success();
}

/// Writes at an offset of the file.
llvm::Error ArtifactFile::write(uint64_t offset, llvm::ArrayRef<uint8_t> bytes) {
  while (!bytes.empty()) {
    ssize_t count = ::pwrite(temporary->FD, bytes.data(), bytes.size(), off_t(offset));
    if (count < 0 && errno == EINTR)
      continue;
    if (count <= 0)
      return fail("{0}: cannot write the artifact: {1}; it needs {2} bytes ({3})", path,
                  count < 0 ? llvm::sys::StrError() : "no bytes written", getFileSize(),
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
  if (llvm::Error error = write(launcher.size() + section.entry.offset + section.written, bytes))
    return error;
  XXH64_update(&section.hash, bytes.data(), bytes.size());
  section.written += bytes.size();
  return llvm::Error::success();
}

static llvm::ArrayRef<uint8_t> bytesOf(const void *data, size_t size) {
  return llvm::ArrayRef(static_cast<const uint8_t *>(data), size);
}

llvm::Error ArtifactFile::writeTrailer(const kiln_artifact_header &header) {
  kiln_executable_trailer trailer = {};
  trailer.artifact_offset = launcher.size();
  trailer.artifact_size = header.total_size;
  trailer.launcher_checksum = XXH64(launcher.data(), launcher.size(), 0);
  trailer.table_checksum = header.table_checksum;
  trailer.version = KILN_EXECUTABLE_VERSION;
  trailer.trailer_checksum =
      XXH64(&trailer, offsetof(kiln_executable_trailer, trailer_checksum), 0);
  std::memcpy(trailer.magic, KILN_EXECUTABLE_MAGIC, sizeof trailer.magic);
  return write(launcher.size() + header.total_size, bytesOf(&trailer, sizeof trailer));
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
  if (llvm::Error error = write(launcher.size() + sizeof header,
                                bytesOf(table.data(), table.size() * sizeof(kiln_section))))
    return error;
  if (llvm::Error error = write(launcher.size(), bytesOf(&header, sizeof header)))
    return error;
  if (!launcher.empty()) {
    if (llvm::Error error = write(0, launcher))
      return error;
    if (llvm::Error error = writeTrailer(header))
      return error;
  }
  llvm::Error error = temporary->keep(path);
  temporary.reset();
  if (error)
    return fail("{0}: cannot move the finished artifact to its place: {1}", path,
                llvm::toString(std::move(error)));
  return llvm::Error::success();
}
