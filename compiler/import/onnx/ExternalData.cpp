// Reads values that lie beside a model. The model names the file, and the model is not trusted: a
// path must be relative and have no "..", and the file that opening it has led to, through whatever
// symbolic links, must lie in the model's folder. The path of the opened file is compared, not one
// that was looked at before, so that nothing can be exchanged in between.
#include "compiler/import/onnx/ExternalData.h"
#include "compiler/import/Problems.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/Support/Path.h"

using namespace llvm;
using namespace kiln;

static Error makeError(StringRef location, const Twine &text) {
  return createStringError(inconvertibleErrorCode(),
                           Twine("external data \"") + printable(location) + "\": " + text);
}

static Error checkLocation(StringRef location) {
  if (location.empty() || location.contains('\0'))
    return makeError(location, "expected a path of a file");
  if (sys::path::is_absolute(location) || location.starts_with("/"))
    return makeError(location,
                     "expected a path relative to the model's folder, found an absolute one");
  for (auto part = sys::path::begin(location), end = sys::path::end(location); part != end; ++part)
    if (*part == "..")
      return makeError(location, "expected a path inside the model's folder, found \"..\" in it");
  return Error::success();
}

Expected<ExternalData> ExternalData::open(StringRef folder, StringRef location, bool trusted) {
  if (Error error = checkLocation(location))
    return error;
  if (folder.empty())
    return makeError(location, "the model lies in no folder, so there is nothing beside it");
  SmallString<256> realFolder, path(folder), opened;
  sys::path::append(path, location);
  if (std::error_code code = sys::fs::real_path(folder, realFolder))
    return makeError(location, "the model's folder cannot be read: " + code.message());
  // A pipe would block when it is opened.
  sys::fs::file_status status;
  if (std::error_code code = sys::fs::status(path, status))
    return makeError(location, "cannot be read: " + code.message());
  if (status.type() != sys::fs::file_type::regular_file)
    return makeError(location, "expected a regular file, found a folder or a device");
  Expected<sys::fs::file_t> handle =
      sys::fs::openNativeFileForRead(path, sys::fs::OF_None, &opened);
  if (!handle)
    return makeError(location, "cannot be opened: " + toString(handle.takeError()));
  ExternalData file(*handle, 0);
  StringRef inside = opened;
  bool isInside = inside.consume_front(realFolder) &&
                  (StringRef(realFolder).ends_with("/") || inside.starts_with("/"));
  if (!isInside && !trusted)
    return makeError(location, "expected a file inside the model's folder, found a symbolic link "
                               "that leads out of it");
  if (std::error_code code = sys::fs::status(*handle, status))
    return makeError(location, "cannot be read: " + code.message());
  file.size = status.getSize();
  return file;
}

ExternalData::ExternalData(ExternalData &&other) : handle(other.handle), size(other.size) {
  other.handle = sys::fs::kInvalidFile;
}

ExternalData::~ExternalData() {
  // A file that was only read has nothing to lose when closing fails.
  if (handle != sys::fs::kInvalidFile)
    consumeError(errorCodeToError(sys::fs::closeFile(handle)));
}

Error ExternalData::read(uint64_t offset, uint64_t count, std::vector<uint8_t> &bytes) const {
  if (offset > size || count > size - offset)
    return createStringError(inconvertibleErrorCode(),
                             "bytes " + Twine(offset) + " + " + Twine(count) +
                                 " lie outside the file's " + Twine(size));
  bytes.resize(count);
  for (uint64_t done = 0; done != count;) {
    Expected<size_t> got = sys::fs::readNativeFileSlice(
        handle,
        MutableArrayRef<char>(reinterpret_cast<char *>(bytes.data()) + done, size_t(count - done)),
        offset + done);
    if (!got)
      return got.takeError();
    if (*got == 0)
      return createStringError(inconvertibleErrorCode(), "ended while it was read");
    done += *got;
  }
  return Error::success();
}
