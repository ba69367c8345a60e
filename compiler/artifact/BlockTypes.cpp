// The table behind BlockTypes.h.
#include "compiler/artifact/BlockTypes.h"
#include "compiler/artifact/DecodeBlocks.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/raw_ostream.h"

using namespace kiln;

static constexpr BlockType blockTypes[] = {
#define KILN_BLOCK_TYPE(id, name, gguf, elements, bytes, decode)                                   \
  {BlockTypeId::id, llvm::StringLiteral(name), gguf, elements, bytes, decode},
#include "compiler/artifact/BlockTypes.def"
#undef KILN_BLOCK_TYPE
};

llvm::ArrayRef<BlockType> kiln::getBlockTypes() { return blockTypes; }

const BlockType *kiln::findBlockType(llvm::StringRef name) {
  const BlockType *found =
      llvm::find_if(blockTypes, [&](const BlockType &type) { return type.name == name; });
  return found == std::end(blockTypes) ? nullptr : found;
}

const BlockType *kiln::findGgufType(uint32_t number) {
  const BlockType *found =
      llvm::find_if(blockTypes, [&](const BlockType &type) { return type.gguf == number; });
  return found == std::end(blockTypes) ? nullptr : found;
}

std::string kiln::listBlockTypes() {
  std::string text;
  llvm::raw_string_ostream stream(text);
  llvm::interleaveComma(blockTypes, stream, [&](const BlockType &type) { stream << type.name; });
  return text;
}
