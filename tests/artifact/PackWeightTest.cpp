// Packed weights read back element by element, at the places that ir/PanelLayout.h gives, are what
// the sources say: every format, transposed and joined sources, shapes that fill no panel.
#include "TestModule.h"
#include "compiler/artifact/ConvertElements.h"
#include "compiler/artifact/PackPanel.h"
#include "compiler/artifact/WeightPacker.h"
#include "ir/PanelLayout.h"
#include "llvm/Support/FormatVariadic.h"
#include <cmath>
#include <random>

using namespace kiln;

namespace {

struct Matrix {
  int64_t rows, depth;
  std::vector<float> values;
  float at(int64_t row, int64_t k) const { return values[row * depth + k]; }
};

Matrix randomMatrix(int64_t rows, int64_t depth, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> distribution(0, 0.05f);
  Matrix matrix = {rows, depth, std::vector<float>(rows * depth)};
  for (float &value : matrix.values)
    value = f16ToF32(f32ToF16(distribution(random))); // the same in f16 and f32 files
  return matrix;
}

Matrix transposed(const Matrix &matrix) {
  Matrix result = {matrix.depth, matrix.rows, std::vector<float>(matrix.values.size())};
  for (int64_t row = 0; row < matrix.rows; ++row)
    for (int64_t k = 0; k < matrix.depth; ++k)
      result.values[k * matrix.rows + row] = matrix.at(row, k);
  return result;
}

Matrix joined(const Matrix &first, const Matrix &second) {
  Matrix result = first;
  result.rows += second.rows;
  result.values.insert(result.values.end(), second.values.begin(), second.values.end());
  return result;
}

/// Files with the sources at an offset, and the text of a graph.source.
class Sources {
public:
  std::string add(const Matrix &matrix, llvm::StringRef dtype, bool rankOne = false) {
    std::string name = llvm::formatv("source{0}.bin", count++);
    std::vector<uint8_t> bytes(6, 0xEE);
    for (float value : matrix.values) {
      uint32_t word = bitsOfFloat(value);
      if (dtype == "f16")
        word = f32ToF16(value);
      if (dtype == "bf16")
        word = f32ToBF16(value);
      for (int i = 0; i < (dtype == "f32" ? 4 : 2); ++i)
        bytes.push_back(uint8_t(word >> (8 * i)));
    }
    folder.write(name, bytes);
    std::string shape = rankOne ? std::to_string(matrix.rows)
                                : llvm::formatv("{0}, {1}", matrix.rows, matrix.depth).str();
    return llvm::formatv("#graph.source<\"{0}\", \"{0}.weight\", offset = 6, \"{1}\", [{2}]>", name,
                         dtype, shape);
  }

  TestFolder folder;

private:
  int count = 0;
};

std::string moduleText(const Matrix &shape, const std::string &sources,
                       const std::string &transforms, llvm::StringRef format,
                       llvm::StringRef layout = "panel16") {
  return llvm::formatv("graph.weight @w : tensor<{0}x{1}xf32> from [{2}] {3} as \"{4}\" \"{5}\"",
                       shape.rows, shape.depth, sources,
                       transforms.empty() ? "" : "via [" + transforms + "]", format, layout);
}

llvm::Expected<std::vector<uint8_t>> pack(TestModule &module, const TestFolder &folder,
                                          PackOptions options = {2, ScaleChoice::Search},
                                          ErrorSums *lost = nullptr) {
  std::vector<uint8_t> bytes;
  WeightPacker packer(folder.path, options);
  auto sums = packer.pack(module.weight("w"), [&](llvm::ArrayRef<uint8_t> piece) {
    bytes.insert(bytes.end(), piece.begin(), piece.end());
    return llvm::Error::success();
  });
  if (!sums)
    return sums.takeError();
  if (lost)
    *lost = *sums;
  return bytes;
}

std::string packError(const std::string &text, const TestFolder &folder) {
  TestModule module(text);
  if (!module)
    return "does not parse";
  auto bytes = pack(module, folder);
  return bytes ? "" : llvm::toString(bytes.takeError());
}

template <typename T> T loadAt(const std::vector<uint8_t> &bytes, int64_t offset) {
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof value);
  return value;
}

/// Compares every place of the layout with the matrix; returns the largest sum of squared errors.
void expectPacked(const Format &format, const Matrix &matrix, const std::vector<uint8_t> &bytes) {
  PanelLayout layout(format, matrix.rows, matrix.depth);
  ASSERT_EQ(int64_t(bytes.size()), layout.totalBytes());
  auto expected = [&](int64_t row, int64_t k) {
    return row < matrix.rows && k < matrix.depth ? matrix.at(row, k) : 0.0f;
  };
  for (int64_t row = 0; row < layout.paddedRows(); ++row) {
    int64_t base = row / 16 * layout.panelBytes(), lane = row % 16;
    for (int64_t k = 0; k < layout.paddedDepth(); ++k) {
      PanelLayout::Place place = layout.place(lane, k);
      float value = expected(row, k);
      if (format.id == FormatId::F32) {
        ASSERT_EQ(loadAt<float>(bytes, base + place.byte), value);
      } else if (format.kind == FormatKind::Float) {
        uint16_t half = format.id == FormatId::F16 ? f32ToF16(value) : f32ToBF16(value);
        ASSERT_EQ(loadAt<uint16_t>(bytes, base + place.byte), half);
      } else {
        int64_t scalePlace = layout.scalePlace(lane, k / format.group);
        float scale = f16ToF32(loadAt<uint16_t>(bytes, base + scalePlace));
        float largest = 0;
        for (int64_t i = k / 32 * 32; i < k / 32 * 32 + 32; ++i)
          largest = std::max(largest, std::fabs(expected(row, i)));
        if (format.bits == 8) {
          ASSERT_EQ(scale, f16ToF32(f32ToF16(largest / 127.0f)));
        }
        // The code nearest to the value, of those there are.
        float low = format.bits == 8 ? -127 : -8, high = format.bits == 8 ? 127 : 7;
        float code = scale == 0 ? 0 : std::nearbyint(value * (1.0f / scale));
        code = std::min(std::max(code, low), high) + float(format.zero);
        int stored = int(layout.loadCode(bytes.data() + base, lane, k));
        ASSERT_EQ(stored, int(code)) << "row " << row << " k " << k;
      }
    }
  }
}

const int64_t shapes[][2] = {{16, 32}, {48, 64}, {1, 1}, {17, 33}, {5, 100}, {130, 31}, {64, 2112}};

} // namespace

TEST(PackWeight, PlacesEveryElement) {
  unsigned seed = 0;
  for (const Format &format : llvm::make_filter_range(getFormats(), canQuantizeTo))
    for (auto [rows, depth] : shapes) {
      SCOPED_TRACE(llvm::formatv("{0} [{1}, {2}]", format.name, rows, depth).str());
      for (llvm::StringRef dtype : {"f32", "f16", "bf16"}) {
        Sources sources;
        Matrix matrix = randomMatrix(rows, depth, ++seed);
        if (dtype == "bf16")
          for (float &value : matrix.values)
            value = bf16ToF32(f32ToBF16(value));
        TestModule module(moduleText(matrix, sources.add(matrix, dtype), "", format.name));
        ASSERT_TRUE(module);
        auto bytes = pack(module, sources.folder);
        ASSERT_TRUE(bool(bytes)) << llvm::toString(bytes.takeError());
        expectPacked(format, matrix, *bytes);
      }
    }
}

TEST(PackWeight, TransposesAndJoins) {
  for (const Format &format : llvm::make_filter_range(getFormats(), canQuantizeTo))
    for (auto [rows, depth] : shapes) {
      SCOPED_TRACE(llvm::formatv("{0} [{1}, {2}]", format.name, rows, depth).str());
      Sources sources;
      Matrix first = randomMatrix(rows, depth, 1), second = randomMatrix(rows + 7, depth, 2);
      Matrix both = joined(first, second);
      std::string plain = sources.add(first, "f16") + ", " + sources.add(second, "f32");
      std::string across =
          sources.add(transposed(first), "f32") + ", " + sources.add(transposed(second), "f16");
      struct {
        const Matrix expected;
        std::string sources, transforms;
      } cases[] = {
          {transposed(first), sources.add(first, "f16"), "#graph.transpose"},
          {both, plain, "#graph.concat"},
          {both, across, "#graph.transpose, #graph.concat"},
          {transposed(both), plain, "#graph.concat, #graph.transpose"},
          {first, sources.add(first, "f16"), "#graph.transpose, #graph.transpose"},
      };
      for (const auto &test : cases) {
        SCOPED_TRACE(test.transforms);
        TestModule module(moduleText(test.expected, test.sources, test.transforms, format.name));
        ASSERT_TRUE(module);
        auto bytes = pack(module, sources.folder);
        ASSERT_TRUE(bool(bytes)) << llvm::toString(bytes.takeError());
        expectPacked(format, test.expected, *bytes);
      }
    }
}

TEST(PackWeight, PlacesCodesAndTheirSums) {
  const Format &format = *findFormat("s8");
  for (auto [rows, depth] : {std::pair<int64_t, int64_t>{16, 36}, {37, 20}, {1, 4}, {3, 7}}) {
    SCOPED_TRACE(llvm::formatv("[{0}, {1}]", rows, depth).str());
    TestFolder folder;
    std::vector<uint8_t> file(6, 0xEE);
    std::mt19937 random(unsigned(rows * depth));
    for (int64_t i = 0; i < rows * depth; ++i)
      file.push_back(uint8_t(random()));
    folder.write("codes.bin", file);
    auto text = [&](const char *element, int64_t offset) {
      return llvm::formatv(
                 "graph.weight @w : tensor<{0}x{1}x{2}> from [#graph.source<\"codes.bin\", "
                 "\"codes\", offset = {3}, \"i8\", [{0}, {1}]>] as \"s8\" \"panel16\"",
                 rows, depth, element, offset)
          .str();
    };
    TestModule module(text("i8", 6));
    ASSERT_TRUE(module);
    auto bytes = pack(module, folder);
    ASSERT_TRUE(bool(bytes)) << llvm::toString(bytes.takeError());
    PanelLayout layout(format, rows, depth);
    ASSERT_EQ(int64_t(bytes->size()), layout.totalBytes());
    for (int64_t row = 0; row < layout.paddedRows(); ++row) {
      int64_t panel = row / 16 * layout.panelBytes();
      int32_t sum = 0;
      for (int64_t k = 0; k < layout.paddedDepth(); ++k) {
        bool isGiven = row < rows && k < depth;
        int8_t expected = isGiven ? int8_t(file[size_t(6 + row * depth + k)]) : int8_t(0);
        ASSERT_EQ(loadAt<int8_t>(*bytes, panel + layout.place(row % 16, k).byte), expected);
        sum += expected;
      }
      EXPECT_EQ(loadAt<int32_t>(*bytes, panel + layout.sumsOffset() + row % 16 * 4), sum);
    }
    EXPECT_NE(packError(text("i8", 7), folder).find("bytes at offset 7"), std::string::npos);
    EXPECT_NE(packError(text("f32", 6), folder).find("holds i8"), std::string::npos);
  }
}

TEST(PackWeight, StoresVectorsAsRows) {
  Sources sources;
  Matrix first = randomMatrix(19, 1, 3), second = randomMatrix(4, 1, 4);
  TestModule module("graph.weight @w : tensor<23xf32> from [" + sources.add(first, "f16", true) +
                    ", " + sources.add(second, "f32", true) +
                    "] via [#graph.concat] as \"f32\" \"rows\"");
  ASSERT_TRUE(module);
  auto bytes = pack(module, sources.folder);
  ASSERT_TRUE(bool(bytes)) << llvm::toString(bytes.takeError());
  ASSERT_EQ(int64_t(bytes->size()), rowVectorBytes(23));
  Matrix both = joined(first, second);
  for (int64_t i = 0; i < 32; ++i)
    EXPECT_EQ(loadAt<float>(*bytes, i * 4), i < 23 ? both.values[i] : 0.0f);
}

TEST(PackWeight, BytesDoNotDependOnThreads) {
  Sources sources;
  Matrix matrix = randomMatrix(1500, 1030, 5);
  std::string plain = sources.add(matrix, "f16"), across = sources.add(transposed(matrix), "f32");
  for (llvm::StringRef format : {"q4_sym_g32", "q8_sym_g32", "bf16"})
    for (bool transpose : {false, true}) {
      TestModule module(moduleText(matrix, transpose ? across : plain,
                                   transpose ? "#graph.transpose" : "", format));
      ErrorSums oneSums, manySums;
      auto one = pack(module, sources.folder, {1, ScaleChoice::Search}, &oneSums);
      auto many = pack(module, sources.folder, {7, ScaleChoice::Search}, &manySums);
      ASSERT_TRUE(one && many);
      EXPECT_EQ(*one, *many);
      EXPECT_EQ(oneSums.squaredError, manySums.squaredError);
      EXPECT_GT(oneSums.squaredError, 0);
    }
}

TEST(PackWeight, ReportsNothingLostForExactFormats) {
  Sources sources;
  Matrix matrix = randomMatrix(33, 65, 6);
  TestModule module(moduleText(matrix, sources.add(matrix, "f16"), "", "f16"));
  ErrorSums sums;
  ASSERT_TRUE(bool(pack(module, sources.folder, {}, &sums)));
  EXPECT_EQ(relativeRmsError(sums), 0);
}

TEST(PackWeight, NamesWhatAFormatCannotHold) {
  Sources sources;
  Matrix matrix = randomMatrix(40, 70, 7);
  matrix.values[33 * 70 + 12] = std::nanf("");
  std::string text = sources.add(matrix, "f32");
  std::string message = packError(moduleText(matrix, text, "", "q4_sym_g32"), sources.folder);
  EXPECT_NE(message.find("source0.bin.weight[33, 12] (source0.bin) is nan"), std::string::npos)
      << message;
  message = packError(moduleText(transposed(matrix), text, "#graph.transpose", "q8_sym_g32"),
                      sources.folder);
  EXPECT_NE(message.find("source0.bin.weight[33, 12]"), std::string::npos) << message;
  EXPECT_EQ(packError(moduleText(matrix, text, "", "f32"), sources.folder), "");
  matrix.values[33 * 70 + 12] = 1e6f;
  message = packError(moduleText(matrix, sources.add(matrix, "f32"), "", "f16"), sources.folder);
  EXPECT_NE(message.find("which f16 cannot hold"), std::string::npos) << message;
}

TEST(PackWeight, ChecksSourcesAgainstTheirFiles) {
  Sources sources;
  Matrix matrix = randomMatrix(32, 32, 8);
  sources.add(matrix, "f32");
  auto text = [&](const char *file, const char *offset, const char *dtype) {
    return moduleText(matrix,
                      llvm::formatv("#graph.source<\"{0}\", \"t.weight\", offset = {1}, \"{2}\", "
                                    "[32, 32]>",
                                    file, offset, dtype),
                      "", "f32");
  };
  auto expectError = [&](const std::string &module, const char *part) {
    std::string message = packError(module, sources.folder);
    EXPECT_NE(message.find(part), std::string::npos) << message;
  };
  expectError(text("source0.bin", "7", "f32"), "t.weight: expected 4096 bytes at offset 7, found a "
                                               "file of 4102 bytes (source0.bin)");
  expectError(text("source0.bin", "-1", "f32"), "at offset -1");
  expectError(text("source0.bin", "9223372036854775807", "f32"), "at offset 9223372036854775807");
  expectError(text("source0.bin", "0", "f8"), "found 'f8'");
  expectError(text("missing.bin", "0", "f32"), "missing.bin: cannot open");
  expectError(text("../source0.bin", "0", "f32"), "stay in it");
  expectError(text("/etc/passwd", "0", "f32"), "stay in it");
  expectError(text(".", "0", "f32"), "not a regular file");
}

TEST(PackWeight, StopsAtTheSinksError) {
  Sources sources;
  Matrix matrix = randomMatrix(3000, 1024, 9);
  TestModule module(moduleText(matrix, sources.add(matrix, "f16"), "", "q8_sym_g32"));
  WeightPacker packer(sources.folder.path, {4, ScaleChoice::Search});
  int calls = 0;
  auto sums = packer.pack(module.weight("w"), [&](llvm::ArrayRef<uint8_t>) -> llvm::Error {
    if (++calls == 2)
      return llvm::createStringError("full");
    return llvm::Error::success();
  });
  ASSERT_FALSE(bool(sums));
  EXPECT_EQ(llvm::toString(sums.takeError()), "full");
  EXPECT_EQ(calls, 2);
}
