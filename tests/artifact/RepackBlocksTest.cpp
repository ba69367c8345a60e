// Blocks of every GGUF type, packed and read back at the places that ir/PanelLayout.h gives, have
// the values that the type's decode function gives, bit for bit.
#include "TestModule.h"
#include "compiler/artifact/BlockTypes.h"
#include "compiler/artifact/ConvertElements.h"
#include "compiler/artifact/WeightPacker.h"
#include "ir/PanelLayout.h"
#include "llvm/Support/FormatVariadic.h"
#include <random>

using namespace kiln;

namespace {

/// Bytes of the f16 scales of a block.
std::vector<int64_t> halvesOf(const BlockType &type) {
  switch (type.id) {
  case BlockTypeId::Q4_1:
  case BlockTypeId::Q5_1:
  case BlockTypeId::Q4_K:
  case BlockTypeId::Q5_K:
    return {0, 2};
  case BlockTypeId::Q2_K:
    return {80, 82};
  case BlockTypeId::Q3_K:
    return {108};
  case BlockTypeId::Q6_K:
    return {208};
  case BlockTypeId::MXFP4:
    return {};
  default:
    return {0};
  }
}

/// Rows of random blocks: every bit may be set, but scales are finite.
std::vector<uint8_t> randomBlocks(const BlockType &type, int64_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<uint8_t> bytes(size_t(count * type.bytes));
  for (uint8_t &byte : bytes)
    byte = uint8_t(random());
  for (int64_t block = 0; block < count; ++block) {
    for (int64_t half : halvesOf(type))
      bytes[size_t(block * type.bytes + half + 1)] &= 0xbf; // below 2
    if (type.id == BlockTypeId::MXFP4)
      bytes[size_t(block * type.bytes)] %= 250; // 12 times the scale is finite
  }
  return bytes;
}

/// The value of an element of a panel by ir/Formats.def.
float valueAt(const PanelLayout &layout, const uint8_t *panel, int64_t lane, int64_t k) {
  const Format &format = layout.getFormat();
  int64_t group = k / format.group;
  auto half = [&](int64_t place) {
    uint16_t bits;
    std::memcpy(&bits, panel + place, 2);
    return format.scales == ScaleKind::Brain ? bf16ToF32(bits) : f16ToF32(bits);
  };
  auto steps = [&](int64_t place) { return float(int8_t(panel[place])); };
  unsigned code = layout.loadCode(panel, lane, k);
  float number = float(int(format.table ? format.table[code] : code) - int(format.zero));
  if (format.scales != ScaleKind::Super) {
    float product = half(layout.scalePlace(lane, group)) * number;
    return format.hasMin ? product + half(layout.minPlace(lane, group)) : product;
  }
  float scale = half(layout.superScalePlace(lane, group)) * steps(layout.scalePlace(lane, group));
  if (!format.hasMin)
    return scale * number;
  float min = half(layout.superMinPlace(lane, group)) * steps(layout.minPlace(lane, group));
  return scale * number - min;
}

std::string moduleText(int64_t rows, int64_t depth, const std::string &sources,
                       llvm::StringRef transforms, llvm::StringRef format) {
  return llvm::formatv(
      "graph.weight @w : tensor<{0}x{1}xf32> from [{2}] {3} as \"{4}\" \"panel16\"", rows, depth,
      sources, transforms, format);
}

std::string sourceText(llvm::StringRef file, int64_t rows, int64_t depth, llvm::StringRef type) {
  return llvm::formatv("#graph.source<\"{0}\", \"{0}.weight\", offset = 0, \"{1}\", [{2}, {3}]>",
                       file, type, rows, depth);
}

llvm::Expected<std::vector<uint8_t>> pack(TestModule &module, const TestFolder &folder) {
  std::vector<uint8_t> bytes;
  WeightPacker packer(folder.path, {2, ScaleChoice::Search});
  auto sums = packer.pack(module.weight("w"), [&](llvm::ArrayRef<uint8_t> piece) {
    bytes.insert(bytes.end(), piece.begin(), piece.end());
    return llvm::Error::success();
  });
  if (!sums)
    return sums.takeError();
  EXPECT_EQ(sums->squaredError, 0);
  return bytes;
}

std::string packError(const std::string &text, const TestFolder &folder) {
  TestModule module(text);
  if (!module)
    return "does not parse";
  auto bytes = pack(module, folder);
  return bytes ? "" : llvm::toString(bytes.takeError());
}

/// Two tensors of blocks one above the other, so that panels hold rows of both.
struct TwoTensors {
  TwoTensors(const BlockType &type, int64_t first, int64_t second, int64_t depth, unsigned seed)
      : rows(first + second), depth(depth), values(size_t(rows * depth)) {
    auto above = randomBlocks(type, first * depth / type.elements, seed);
    auto below = randomBlocks(type, second * depth / type.elements, seed + 1);
    folder.write("above.bin", above);
    folder.write("below.bin", below);
    type.decode(above.data(), first * depth / type.elements, values.data());
    type.decode(below.data(), second * depth / type.elements, values.data() + first * depth);
    sources = sourceText("above.bin", first, depth, type.name) + ", " +
              sourceText("below.bin", second, depth, type.name);
  }

  int64_t rows, depth;
  std::vector<float> values;
  TestFolder folder;
  std::string sources;
};

bool isBlock(const BlockType &type) { return !type.isFloat(); }

} // namespace

TEST(RepackBlocks, KeepsEveryValue) {
  for (const BlockType &type : llvm::make_filter_range(getBlockTypes(), isBlock))
    for (int64_t blocks : {1, 3}) {
      SCOPED_TRACE(llvm::formatv("{0}, {1} blocks in a row", type.name, blocks).str());
      const Format *format = findKeepingFormat(type.name);
      ASSERT_TRUE(format);
      TwoTensors tensors(type, 21, 30, blocks * type.elements, 7);
      TestModule module(moduleText(tensors.rows, tensors.depth, tensors.sources,
                                   "via [#graph.concat]", format->name));
      ASSERT_TRUE(module);
      auto bytes = pack(module, tensors.folder);
      ASSERT_TRUE(bool(bytes)) << llvm::toString(bytes.takeError());
      PanelLayout layout(*format, tensors.rows, tensors.depth);
      ASSERT_EQ(int64_t(bytes->size()), layout.totalBytes());
      for (int64_t row = 0; row < layout.paddedRows(); ++row)
        for (int64_t k = 0; k < layout.paddedDepth(); ++k) {
          const uint8_t *panel = bytes->data() + row / 16 * layout.panelBytes();
          float expected = row < tensors.rows ? tensors.values[size_t(row * tensors.depth + k)] : 0;
          ASSERT_EQ(valueAt(layout, panel, row % 16, k), expected) << "row " << row << " k " << k;
        }
    }
}

TEST(RepackBlocks, RefusesScalesThatAreNotFinite) {
  for (const BlockType &type : llvm::make_filter_range(getBlockTypes(), isBlock))
    for (int64_t half : halvesOf(type)) {
      const Format *format = findKeepingFormat(type.name);
      TestFolder folder;
      auto bytes = randomBlocks(type, 40, 9);
      bytes[size_t(37 * type.bytes + half + 1)] |= 0x7c;
      folder.write("a.bin", bytes);
      std::string message = packError(
          moduleText(20, 2 * type.elements, sourceText("a.bin", 20, 2 * type.elements, type.name),
                     "", format->name),
          folder);
      std::string place = llvm::formatv("a.bin.weight[18, {0}] (a.bin)", type.elements);
      EXPECT_NE(message.find(place), std::string::npos) << type.name.str() << ": " << message;
    }
}

TEST(RepackBlocks, KeepsNothingElse) {
  TestFolder folder;
  folder.write("a.bin", std::vector<uint8_t>(32 * 32 * 4));
  std::string message =
      packError(moduleText(32, 32, sourceText("a.bin", 32, 32, "f32"), "", "q5_sym_g32"), folder);
  EXPECT_NE(message.find("q5_sym_g32 only keeps blocks of gguf.q5_0, found f32"), std::string::npos)
      << message;
}
