// Files beside a model that hold values of its tensors.
#ifndef KILN_COMPILER_IMPORT_ONNX_EXTERNALDATA_H
#define KILN_COMPILER_IMPORT_ONNX_EXTERNALDATA_H

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include "llvm/Support/FileSystem.h"

namespace kiln {

/// A file in the folder of a model, open for reading.
class ExternalData {
public:
  /// Opens `location`, a relative path without "..", which must lead to a regular file in `folder`
  /// also after symbolic links are followed. `trusted` skips the last: it is the model itself.
  static llvm::Expected<ExternalData> open(llvm::StringRef folder, llvm::StringRef location,
                                           bool trusted = false);
  ExternalData(ExternalData &&other);
  ExternalData &operator=(ExternalData &&) = delete;
  ~ExternalData();

  uint64_t getSize() const { return size; }
  /// `count` bytes from `offset`, which must lie in the file.
  llvm::Error read(uint64_t offset, uint64_t count, std::vector<uint8_t> &bytes) const;

private:
  ExternalData(llvm::sys::fs::file_t handle, uint64_t size) : handle(handle), size(size) {}

  llvm::sys::fs::file_t handle;
  uint64_t size;
};

} // namespace kiln

#endif
