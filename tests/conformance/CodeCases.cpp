// Cases around products of codes: images of either sign, edges where something else than zero lies,
// strides, dilations, groups, depthwise and first layers, rows without spatial dims; what follows
// is scaled, added to a residual and rounded to codes again. Results are equal bit for bit.
#include "Conformance.h"
#include <random>

using namespace kiln;
using namespace kiln::test;

namespace {

struct Shape {
  int64_t height, width, channels, outputs, kernel, stride = 1, pad = 0, dilation = 1, groups = 1;
  bool isSigned = false;
  int64_t outside = 0;
  bool isWidthKnown = true;

  int64_t positions(int64_t extent) const {
    return (extent + 2 * pad - dilation * (kernel - 1) - 1) / stride + 1;
  }
};

Buffer<uint8_t> randomBytes(int64_t count, unsigned seed) {
  std::mt19937 generator(seed);
  Buffer<uint8_t> bytes{size_t(count)};
  for (int64_t i = 0; i < count; ++i)
    bytes[size_t(i)] = uint8_t(generator() >> 11);
  return bytes;
}

/// Codes of `outputs` rows and `taps` taps of `depth` channels, as s8 stores them.
Buffer<uint8_t> packedCodes(int64_t outputs, int64_t taps, int64_t depth, unsigned seed) {
  int64_t padded = (depth + 3) / 4 * 4;
  PanelLayout layout(*findFormat("s8"), outputs, taps * padded);
  Buffer<uint8_t> bytes{size_t(layout.totalBytes())},
      codes = randomBytes(outputs * taps * depth, seed);
  for (int64_t row = 0; row < outputs; ++row) {
    uint8_t *panel = bytes.data() + row / 16 * layout.panelBytes();
    int32_t sum = 0;
    for (int64_t k = 0; k < taps * depth; ++k) {
      uint8_t code = codes[size_t(row * taps * depth + k)];
      panel[layout.place(row % 16, k / depth * padded + k % depth).byte] = code;
      sum += int8_t(code);
    }
    std::memcpy(panel + layout.sumsOffset() + row % 16 * 4, &sum, 4);
  }
  return bytes;
}

std::string codesType(int64_t outputs, int64_t depth) {
  return "tensor<" + std::to_string(outputs) + "x" + std::to_string(depth) +
         "xi8, #graph.stored<\"s8\", \"panel16\">>";
}

std::string both(int64_t value) {
  return "array<i64: " + std::to_string(value) + ", " + std::to_string(value) + ">";
}

/// i32; codes of sums and a residual; codes of sums alone.
enum class Result { Sums, Codes, OwnCodes };

/// Number of images and perhaps width are dims; `what` the kernel gives.
ConformanceCase product(const std::string &name, const Shape &s, Result what, bool isRows = false) {
  int64_t depth = s.channels / s.groups, taps = s.kernel * s.kernel;
  int64_t height = s.positions(s.height), width = s.positions(s.width);
  std::string code = s.isSigned ? "i8" : "ui8",
              w = codesType(s.outputs, taps * ((depth + 3) / 4 * 4));
  auto type = [&](int64_t h, int64_t wide, int64_t columns, const std::string &dim,
                  const std::string &element) {
    std::string text = "tensor<?x";
    if (!isRows)
      text += std::to_string(h) + "x" + (s.isWidthKnown ? std::to_string(wide) : "?") + "x";
    return text + std::to_string(columns) + "x" + element + ", #graph.dims<@n" +
           (s.isWidthKnown ? "" : ", @" + dim) + ">>";
  };
  auto of = [&](const std::string &element) {
    return type(height, width, s.outputs, "v", element);
  };
  std::string in = type(s.height, s.width, s.channels, "w", code), sums = of("i32"),
              numbers = of("f32"), factors = vectorType(s.outputs);
  std::string bias =
      "tensor<" + std::to_string(s.outputs) + "xi32, #graph.stored<\"raw\", \"rows\">>";
  auto ints = [&](int64_t value) { return isRows ? "array<i64>" : both(value); };
  std::string body =
      "^bb0(%x: " + in + ", %w: " + w + ", %b: " + bias + ", %f: " + factors + ", %r: " + of(code) +
      "):\n%c = graph.compute \"conv\"(%x, %w, %b) {kernel = " + ints(s.kernel) +
      ", strides = " + ints(s.stride) + ", pads_begin = " + ints(s.pad) +
      ", pads_end = " + ints(s.pad) + ", dilations = " + ints(s.dilation) +
      ", groups = " + std::to_string(s.groups) + " : i64, outside = " + std::to_string(s.outside) +
      " : i64} : (" + in + ", " + w + ", " + bias + ") -> " + sums + "\n";
  int64_t bytes = what == Result::Sums ? 4 : 1;
  if (what == Result::Sums) {
    body += "graph.yield %c : " + sums;
  } else {
    std::string bounds = s.isSigned ? "zero = -7 : i64, low = -128 : i64, high = 127 : i64"
                                    : "zero = 31 : i64, low = 31 : i64, high = 255 : i64";
    std::string add =
        what == Result::OwnCodes
            ? "%a = graph.compute \"relu\"(%n) {} : (" + numbers + ") -> " + numbers
            : "%d = graph.compute \"dequantize\"(%r) {scale = 3.000000e+01 : f64, zero = 5 : i64} "
              ": (" +
                  of(code) + ") -> " + numbers + "\n%a = graph.compute \"add\"(%n, %d) {} : (" +
                  numbers + ", " + numbers + ") -> " + numbers;
    body += "%n = graph.compute \"cast\"(%c) {} : (" + sums + ") -> " + numbers + "\n" + add +
            "\n%y = graph.compute \"quantize\"(%a, %f) {" + bounds + "} : (" + numbers + ", " +
            factors + ") -> " + of(code) + "\ngraph.yield %y : " + of(code);
  }
  ConformanceCase made{name + " of codes",
                       body,
                       {s.channels, 0, 0, 0, s.outputs, s.outputs},
                       {"n"},
                       [=](int64_t count) {
                         int64_t pixels = isRows ? count : count * s.height * s.width;
                         int64_t rows = isRows ? count : count * height * width;
                         Call call;
                         Buffer<uint8_t> factors = randomVector(s.outputs, 73, 1e-3f);
                         call.buffers = {randomBytes(pixels * s.channels, 71),
                                         packedCodes(s.outputs, taps, depth, 72),
                                         randomBytes(s.outputs * 4, 74),
                                         std::move(factors),
                                         randomBytes(rows * s.outputs, 75),
                                         Buffer<uint8_t>(size_t(rows * s.outputs * bytes))};
                         // Biases of the size that sums have.
                         for (int64_t i = 0; i < s.outputs; ++i) {
                           auto *entry = reinterpret_cast<int32_t *>(call.buffers[2].data()) + i;
                           *entry >>= 14;
                         }
                         call.dims = {count};
                         call.fenced = {0, 4};
                         if (what != Result::Sums)
                           call.fenced.push_back(5);
                         if (!s.isWidthKnown)
                           call.dims.insert(call.dims.end(), {s.width, width});
                         call.results = {{5, s.outputs, s.outputs}};
                         call.results.back().integerBytes = bytes;
                         return call;
                       }};
  if (!s.isWidthKnown)
    made.dims = {"n", "w", "v"};
  made.reference = "array";
  made.counts = isRows ? std::vector<int64_t>{1, 3, 31} : std::vector<int64_t>{1, 3};
  return made;
}

} // namespace

std::vector<ConformanceCase> kiln::test::codeCases() {
  auto rows = [](int64_t channels, int64_t outputs, bool isSigned) {
    return Shape{1, 1, channels, outputs, 1, 1, 0, 1, 1, isSigned, 0};
  };
  return {
      product("convolution 3x3", {7, 17, 20, 40, 3, 1, 1, 1, 1, false, 77}, Result::Codes),
      product("convolution 3x3", {5, 16, 8, 32, 3, 1, 1, 1, 1, true, -3}, Result::Sums),
      product("convolution of a first layer", {9, 18, 3, 32, 3, 2, 1, 1, 1, false, 114},
              Result::Codes),
      product("convolution, dilated", {9, 12, 6, 21, 3, 1, 3, 2, 1, true, 100}, Result::Codes),
      product("convolution, groups", {5, 9, 24, 64, 3, 1, 1, 1, 2, false, 9}, Result::Codes),
      product("convolution of unknown width", {5, 23, 12, 24, 3, 1, 1, 1, 1, false, 50, false},
              Result::Codes),
      product("convolution 1x1", {5, 6, 33, 53, 1, 1, 0, 1, 1, false, 0}, Result::Codes),
      product("convolution 1x1", {3, 8, 64, 48, 1, 1, 0, 1, 1, true, 0}, Result::Codes),
      product("convolution 1x1, stride 2", {9, 11, 24, 80, 1, 2}, Result::Sums),
      product("convolution, depthwise", {7, 19, 40, 40, 3, 1, 1, 1, 40, false, 128}, Result::Codes),
      product("convolution, depthwise", {6, 9, 64, 64, 3, 1, 1, 1, 64, true, 0}, Result::Codes),
      product("convolution, depthwise, stride 2", {10, 9, 32, 32, 5, 2, 2, 1, 32, true, -128},
              Result::Sums),
      product("convolution, depthwise, stride 2", {9, 14, 128, 128, 3, 2, 1, 1, 128, false, 3},
              Result::OwnCodes),
      product("convolution, depthwise, all widths of vectors",
              {7, 19, 112, 112, 3, 1, 1, 1, 112, false, 128}, Result::OwnCodes),
      product("convolution, depthwise, long lines", {3, 50, 96, 96, 3, 1, 1, 1, 96, true, -5},
              Result::OwnCodes),
      product("convolution, depthwise, dilated", {9, 13, 64, 64, 3, 1, 2, 2, 64, false, 7},
              Result::OwnCodes),
      product("convolution, depthwise, unknown width",
              {5, 15, 48, 48, 3, 1, 1, 1, 48, false, 200, false}, Result::Codes),
      product("matmul", rows(150, 37, false), Result::Codes, true),
      product("matmul", rows(64, 96, true), Result::Sums, true),
  };
}
