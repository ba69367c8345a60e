// Element types of weight sources as records: plain floats, which are blocks of one element, and
// the quantized blocks of GGUF files.
#ifndef KILN_COMPILER_ARTIFACT_BLOCKTYPES_H
#define KILN_COMPILER_ARTIFACT_BLOCKTYPES_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include <cstdint>
#include <string>

namespace kiln {

enum class BlockTypeId {
#define KILN_BLOCK_TYPE(id, name, gguf, elements, bytes, decode) id,
#include "compiler/artifact/BlockTypes.def"
#undef KILN_BLOCK_TYPE
};

struct BlockType {
  BlockTypeId id;
  llvm::StringLiteral name; // as a graph.source spells it: "bf16", "gguf.q4_k"
  uint32_t gguf;            // the type's number in GGUF files
  int64_t elements;         // of a block
  int64_t bytes;            // of a block
  /// The values of `count` blocks at `blocks` (any alignment), `elements` each. Bit for bit what
  /// ggml's reference computes in f32, for every block, whatever it holds; NaNs stay NaNs.
  void (*decode)(const uint8_t *blocks, int64_t count, float *values);

  bool isFloat() const { return elements == 1; }
};

llvm::ArrayRef<BlockType> getBlockTypes();

/// The type of that name, or null.
const BlockType *findBlockType(llvm::StringRef name);

/// The type of that number in GGUF files, or null.
const BlockType *findGgufType(uint32_t number);

/// "f32, f16, bf16, gguf.q4_0, …"
std::string listBlockTypes();

} // namespace kiln

#endif
