// A regular file opened for reading at any place; nothing of it is kept in memory.
#ifndef KILN_COMPILER_IMPORT_INPUTFILE_H
#define KILN_COMPILER_IMPORT_INPUTFILE_H

#include "compiler/import/Problems.h"
#include "llvm/Support/FileSystem.h"
#include <optional>

namespace kiln {

class InputFile {
public:
  /// Opens `path`; `name` is what messages call the file.
  static std::optional<InputFile> open(llvm::StringRef path, llvm::StringRef name,
                                       Problems &problems);
  InputFile(InputFile &&other);
  InputFile &operator=(InputFile &&) = delete;
  ~InputFile();

  uint64_t getSize() const { return size; }
  /// Appends `count` bytes from `offset` to `bytes`; the range must lie in the file.
  bool read(uint64_t offset, uint64_t count, std::string &bytes, Problems &problems) const;

private:
  InputFile(std::string name, llvm::sys::fs::file_t handle, uint64_t size);

  std::string name;
  llvm::sys::fs::file_t handle;
  uint64_t size;
};

/// The whole of a small file, or nothing where it cannot be read or is longer than `limit` bytes.
std::optional<std::string> readSmallFile(llvm::StringRef path, llvm::StringRef name, uint64_t limit,
                                         Problems &problems);

} // namespace kiln

#endif
