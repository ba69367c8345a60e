// Reads and writes arrays in files, whatever the format.
#include "compiler/values/ValueFile.h"
#include "compiler/import/InputFile.h"
#include "compiler/values/NpyFormat.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/raw_ostream.h"

using namespace llvm;
using namespace kiln;

static constexpr uint64_t longestFile = uint64_t(1) << 40;

static Error makeError(StringRef path, const Twine &text) {
  return createStringError(inconvertibleErrorCode(), printable(path) + ": " + text);
}

Expected<Value> kiln::readValueFile(StringRef path) {
  bool isNpy = path.ends_with(".npy");
  if (!isNpy && !path.ends_with(".pb"))
    return makeError(path, "expected a file that ends in .npy or .pb");
  Problems problems;
  std::optional<std::string> bytes = readSmallFile(path, path, longestFile, problems);
  if (!bytes)
    return createStringError(inconvertibleErrorCode(), problems.getLines().front());
  if (isNpy)
    return parseNpy(arrayRefFromStringRef(*bytes), path);
  Expected<OnnxTensor> tensor = readOnnxTensor(arrayRefFromStringRef(*bytes), path);
  if (!tensor)
    return tensor.takeError();
  return makeValue(*tensor, nullptr);
}

Error kiln::writeValueFile(StringRef path, const Value &value) {
  if (!path.ends_with(".npy"))
    return makeError(path, "expected a name that ends in .npy");
  Expected<std::string> header = makeNpyHeader(value.type, value.dims);
  if (!header)
    return makeError(path, toString(header.takeError()));
  std::string partial = (path + ".partial").str();
  std::error_code code;
  {
    raw_fd_ostream file(partial, code);
    if (code)
      return makeError(path, "cannot be written: " + code.message());
    file << *header << toStringRef(value.bytes);
    file.close();
    code = file.error();
    file.clear_error();
  }
  if (!code)
    code = sys::fs::rename(partial, path);
  if (!code)
    return Error::success();
  sys::fs::remove(partial); // whether or not it is there, the file could not be written
  return makeError(path, "cannot be written: " + code.message());
}
