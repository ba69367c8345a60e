// Reading files by range. Devices, pipes and folders are refused before they are opened (a pipe
// would block), and a file that shrinks while it is read is an error like any other.
#include "compiler/import/InputFile.h"

using namespace llvm;
using namespace kiln;

InputFile::InputFile(std::string name, sys::fs::file_t handle, uint64_t size)
    : name(std::move(name)), handle(handle), size(size) {}

InputFile::InputFile(InputFile &&other)
    : name(std::move(other.name)), handle(other.handle), size(other.size) {
  other.handle = sys::fs::kInvalidFile;
}

InputFile::~InputFile() {
  // A file that was only read has nothing to lose when closing fails.
  if (handle != sys::fs::kInvalidFile)
    consumeError(errorCodeToError(sys::fs::closeFile(handle)));
}

std::optional<InputFile> InputFile::open(StringRef path, StringRef name, Problems &problems) {
  sys::fs::file_status status;
  if (std::error_code code = sys::fs::status(path, status)) {
    problems.add(printable(name) + ": cannot be read: " + code.message());
    return std::nullopt;
  }
  if (status.type() != sys::fs::file_type::regular_file) {
    problems.add(printable(name) + ": expected a regular file, found a folder or a device");
    return std::nullopt;
  }
  Expected<sys::fs::file_t> handle = sys::fs::openNativeFileForRead(path);
  if (!handle) {
    problems.add(printable(name) + ": cannot be opened: " + toString(handle.takeError()));
    return std::nullopt;
  }
  return InputFile(name.str(), *handle, status.getSize());
}

bool InputFile::read(uint64_t offset, uint64_t count, std::string &bytes,
                     Problems &problems) const {
  if (offset > size || count > size - offset) {
    problems.add(printable(name) + ": bytes " + Twine(offset) + " + " + Twine(count) +
                 " lie outside the file's " + Twine(size));
    return false;
  }
  size_t begin = bytes.size();
  bytes.resize(begin + count);
  while (count != 0) {
    Expected<size_t> got = sys::fs::readNativeFileSlice(
        handle, MutableArrayRef<char>(bytes.data() + begin, size_t(count)), offset);
    if (!got) {
      problems.add(printable(name) + ": cannot be read: " + toString(got.takeError()));
      return false;
    }
    if (*got == 0) {
      problems.add(printable(name) + ": ended at byte " + Twine(offset) + " while it was read");
      return false;
    }
    begin += *got, offset += *got, count -= *got;
  }
  return true;
}

std::optional<std::string> kiln::readSmallFile(StringRef path, StringRef name, uint64_t limit,
                                               Problems &problems) {
  std::optional<InputFile> file = InputFile::open(path, name, problems);
  if (!file)
    return std::nullopt;
  if (file->getSize() > limit) {
    problems.add(printable(name) + ": expected at most " + Twine(limit) + " bytes, found " +
                 Twine(file->getSize()));
    return std::nullopt;
  }
  std::string bytes;
  if (!file->read(0, file->getSize(), bytes, problems))
    return std::nullopt;
  return bytes;
}
