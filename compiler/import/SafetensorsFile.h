// The header of a safetensors file: what tensors it holds and where their bytes lie.
#ifndef KILN_COMPILER_IMPORT_SAFETENSORSFILE_H
#define KILN_COMPILER_IMPORT_SAFETENSORSFILE_H

#include "compiler/import/Problems.h"
#include <optional>

namespace kiln {

struct SafetensorsEntry {
  std::string name;
  std::string dtype; // as the file spells it: "F32", "BF16"
  std::vector<int64_t> shape;
  uint64_t offset; // in bytes from the start of the file
  uint64_t sizeBytes;
};

struct SafetensorsHeader {
  std::vector<SafetensorsEntry> tensors; // in the order of their bytes
  uint64_t hash;                         // xxh64 of the header's text
};

/// Parses a header. `bytes` are the file's first bytes: the length and the header at least (all
/// there are, in a file too short for them); `fileSize` is the file's whole size. On any problem
/// gives nothing; all problems of the tensors are added, not only the first.
std::optional<SafetensorsHeader> parseSafetensorsHeader(llvm::StringRef file, llvm::StringRef bytes,
                                                        uint64_t fileSize, Problems &problems);

/// Reads the header of the file at `path`; messages call it `file`. The tensors' bytes are not
/// read.
std::optional<SafetensorsHeader> readSafetensorsHeader(llvm::StringRef path, llvm::StringRef file,
                                                       Problems &problems);

} // namespace kiln

#endif
