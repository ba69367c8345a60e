// Reads weight bytes with pread: nothing is mapped, so that a file that shrinks while it is
// compiled is an error and not a signal, and resident memory does not grow with the model.
#include "compiler/artifact/SourceFiles.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/Support/Errno.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/Path.h"
#include <cerrno>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace kiln;

static llvm::Error fail(const llvm::formatv_object_base &text) {
  return llvm::createStringError(text.str());
}

SourceFile::~SourceFile() {
  if (descriptor >= 0)
    ::close(descriptor);
}

llvm::Error SourceFile::read(uint64_t offset, llvm::MutableArrayRef<uint8_t> bytes,
                             llvm::StringRef tensor) const {
  if (descriptor < 0) {
    if (offset > size || bytes.size() > size - offset)
      return fail(llvm::formatv("{0}: expected {1} bytes at offset {2} of {3}, found {4}", tensor,
                                bytes.size(), offset, name, size));
    llvm::copy(memory.slice(offset, bytes.size()), bytes.begin());
    return llvm::Error::success();
  }
  size_t done = 0;
  while (done < bytes.size()) {
    ssize_t count =
        ::pread(descriptor, bytes.data() + done, bytes.size() - done, off_t(offset + done));
    if (count < 0 && errno == EINTR)
      continue;
    if (count < 0)
      return fail(llvm::formatv("{0}: cannot read {1} bytes at offset {2} from {3}: {4}", tensor,
                                bytes.size(), offset, name, llvm::sys::StrError()));
    if (count == 0)
      return fail(llvm::formatv("{0}: expected {1} bytes at offset {2} of {3}, found {4}: the file "
                                "became shorter while it was read",
                                tensor, bytes.size(), offset, name, done));
    done += size_t(count);
  }
  return llvm::Error::success();
}

llvm::Expected<const SourceFile *> SourceFiles::open(llvm::StringRef name) {
  std::unique_ptr<SourceFile> &file = files[name.str()];
  if (file)
    return file.get();
  if (memory)
    if (auto found = memory->find(name); found != memory->end()) {
      file = std::make_unique<SourceFile>(name.str(), found->second);
      return file.get();
    }
  namespace path = llvm::sys::path;
  if (name.empty() || path::is_absolute(name) || name.contains('\0') ||
      llvm::is_contained(llvm::make_range(path::begin(name), path::end(name)), ".."))
    return fail(
        llvm::formatv("'{0}': a weight file's name must be relative to the model folder and "
                      "stay in it",
                      name));
  llvm::SmallString<256> full(folder);
  path::append(full, name);
  int descriptor = ::open(full.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0)
    return fail(llvm::formatv("{0}: cannot open: {1}", full, llvm::sys::StrError()));
  struct stat status;
  if (::fstat(descriptor, &status) != 0 || !S_ISREG(status.st_mode)) {
    ::close(descriptor);
    return fail(llvm::formatv("{0}: not a regular file", full));
  }
  file = std::make_unique<SourceFile>(name.str(), descriptor, uint64_t(status.st_size));
  return file.get();
}
