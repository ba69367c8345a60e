// Blocks decode to the values that the `gguf` package of Python gives, to the last bit. Its answers
// are in gguf_blocks.txt, written by compare_blocks.py, which also compares many more blocks.
#include "compiler/artifact/BlockTypes.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/MemoryBuffer.h"
#include <cmath>
#include <cstring>
#include <gtest/gtest.h>
#include <set>

using namespace kiln;

TEST(BlockTypes, DecodeAsTheReferenceDoes) {
  auto file = llvm::MemoryBuffer::getFile(KILN_IMPORT_TEST_DIR "/gguf_blocks.txt");
  ASSERT_TRUE(file);
  std::set<llvm::StringRef> seen;
  for (llvm::StringRef line : llvm::split((*file)->getBuffer().rtrim(), '\n')) {
    auto [name, rest] = line.split(' ');
    auto [blockText, valueText] = rest.split(' ');
    const BlockType *type = findBlockType(name);
    ASSERT_TRUE(type) << name.str();
    seen.insert(type->name);
    std::string block = llvm::fromHex(blockText), expected = llvm::fromHex(valueText);
    ASSERT_EQ(int64_t(block.size()), type->bytes);
    ASSERT_EQ(int64_t(expected.size()), type->elements * 4);
    std::vector<float> values(size_t(type->elements));
    type->decode(reinterpret_cast<const uint8_t *>(block.data()), 1, values.data());
    for (size_t i = 0; i < values.size(); ++i) {
      float wanted;
      memcpy(&wanted, expected.data() + 4 * i, 4);
      EXPECT_TRUE(std::isnan(wanted) ? std::isnan(values[i]) : !memcmp(&wanted, &values[i], 4))
          << name.str() << " element " << i << ": expected " << wanted << ", found " << values[i];
    }
  }
  EXPECT_EQ(seen.size(), getBlockTypes().size());
}

TEST(BlockTypes, AreFoundByNameAndNumber) {
  for (const BlockType &type : getBlockTypes()) {
    EXPECT_EQ(findBlockType(type.name), &type);
    EXPECT_EQ(findGgufType(type.gguf), &type);
  }
  EXPECT_EQ(findBlockType("gguf.q9_9"), nullptr);
  EXPECT_EQ(findGgufType(4), nullptr);
  EXPECT_EQ(findBlockType("gguf.q6_k")->bytes, 210);
}
