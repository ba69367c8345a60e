// Any bytes as a safetensors file or a shard index: an answer or problems, never both, and every
// range that comes out lies in the file.
#include "compiler/import/ModelFolder.h"
#include <cstddef>
#include <cstdint>

using namespace kiln;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  llvm::StringRef bytes(reinterpret_cast<const char *>(data), size);
  Problems problems;
  std::optional<SafetensorsHeader> header = parseSafetensorsHeader("w", bytes, size, problems);
  if (header.has_value() != problems.empty())
    __builtin_trap();
  uint64_t end = 0;
  if (header) {
    for (const SafetensorsEntry &entry : header->tensors) {
      if (entry.offset > size || entry.sizeBytes > size - entry.offset || entry.offset < end)
        __builtin_trap();
      end = entry.offset + entry.sizeBytes;
    }
  }
  Problems ofIndex;
  if (parseShardIndex("i", bytes, ofIndex).has_value() != ofIndex.empty())
    __builtin_trap();
  return 0;
}
