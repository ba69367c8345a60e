// Decodes blocks from stdin to f32 on stdout, for compare_blocks.py.
//
// usage: decode_blocks TYPE < BLOCKS > VALUES
#include "compiler/artifact/BlockTypes.h"
#include <cstdio>
#include <vector>

int main(int argc, char **argv) {
  const kiln::BlockType *type = argc == 2 ? kiln::findBlockType(argv[1]) : nullptr;
  if (!type)
    return std::fprintf(stderr, "usage: decode_blocks TYPE < BLOCKS > VALUES\n"), 2;
  std::vector<uint8_t> blocks;
  uint8_t buffer[65536];
  while (size_t count = std::fread(buffer, 1, sizeof buffer, stdin))
    blocks.insert(blocks.end(), buffer, buffer + count);
  int64_t count = int64_t(blocks.size()) / type->bytes;
  std::vector<float> values(size_t(count * type->elements));
  type->decode(blocks.data(), count, values.data());
  return std::fwrite(values.data(), 4, values.size(), stdout) != values.size();
}
