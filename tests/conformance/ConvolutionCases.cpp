// Cases around convolutions: images of any number, edges, strides, dilations, groups, depthwise and
// pointwise ones, first layers, and the elementwise ops that follow.
#include "Conformance.h"

using namespace kiln;
using namespace kiln::test;

namespace {

struct Shape {
  int64_t height, width, channels, outputs, kernel, stride = 1, pad = 0, dilation = 1, groups = 1;
  FormatId format = FormatId::F32;

  int64_t positions(int64_t extent) const {
    return (extent + 2 * pad - dilation * (kernel - 1) - 1) / stride + 1;
  }
};

std::string imageType(int64_t height, int64_t width, int64_t channels) {
  return "tensor<?x" + std::to_string(height) + "x" + std::to_string(width) + "x" +
         std::to_string(channels) + "xf32, #graph.dims<@n>>";
}

std::string both(int64_t value) {
  return "array<i64: " + std::to_string(value) + ", " + std::to_string(value) + ">";
}

/// conv, then `epilogue`, which makes %y of %c, the bias %b and the residual %r, all of type TYPE.
ConformanceCase convolution(const std::string &name, const Shape &s, std::string epilogue) {
  PackedMatrix w(s.format, s.outputs, s.kernel * s.kernel * (s.channels / s.groups), 61);
  int64_t height = s.positions(s.height), width = s.positions(s.width);
  std::string in = imageType(s.height, s.width, s.channels),
              out = imageType(height, width, s.outputs), vector = vectorType(s.outputs);
  for (size_t at; (at = epilogue.find("TYPE")) != std::string::npos;)
    epilogue.replace(at, 4, out);
  std::string body = "^bb0(%x: " + in + ", %w: " + w.type() + ", %b: " + vector + ", %r: " + out +
                     "):\n%c = graph.compute \"conv\"(%x, %w, %b) {kernel = " + both(s.kernel) +
                     ", strides = " + both(s.stride) + ", pads_begin = " + both(s.pad) +
                     ", pads_end = " + both(s.pad) + ", dilations = " + both(s.dilation) +
                     ", groups = " + std::to_string(s.groups) + " : i64} : (" + in + ", " +
                     w.type() + ", " + vector + ") -> " + out + "\n" + epilogue +
                     "\ngraph.yield %y : " + out;
  int64_t inStride = paddedColumns(s.channels), outStride = paddedColumns(s.outputs);
  ConformanceCase made{name + " " + getFormats()[size_t(s.format)].name.str(),
                       body,
                       {inStride, 0, 0, outStride, outStride},
                       {"n"},
                       [=](int64_t count) {
                         int64_t rows = count * height * width;
                         Call call;
                         call.buffers = {randomRows(count * s.height * s.width, s.channels, 62),
                                         w.bytes, randomVector(s.outputs, 63),
                                         randomRows(rows, s.outputs, 64),
                                         emptyRows(rows, outStride)};
                         call.dims = {count};
                         call.results = {{4, s.outputs, outStride}};
                         return call;
                       }};
  made.reference = "array";
  made.counts = {1, 2, 5};
  return made;
}

std::string map(const std::string &kind, const std::string &params = "") {
  return "%y = graph.compute \"" + kind + "\"(%c) {" + params + "} : (TYPE) -> TYPE";
}

} // namespace

std::vector<ConformanceCase> kiln::test::convolutionCases() {
  std::string residual = "%s = graph.compute \"add\"(%c, %r) {} : (TYPE, TYPE) -> TYPE\n"
                         "%y = graph.compute \"relu\"(%s) {} : (TYPE) -> TYPE";
  std::string clip = map("clamp", "low = 0.000000e+00 : f64, high = 6.000000e+00 : f64");
  std::vector<ConformanceCase> cases = {
      convolution("convolution 3x3", {7, 17, 20, 40, 3, 1, 1}, residual),
      convolution("convolution of a first layer", {13, 18, 3, 32, 5, 2, 2}, clip),
      convolution("convolution, dilated", {9, 16, 8, 53, 3, 1, 2, 2},
                  map("leaky_relu", "alpha = 1.000000e-01 : f64")),
      convolution("convolution, groups", {5, 9, 24, 64, 3, 1, 1, 1, 2}, map("hard_swish")),
      convolution("convolution, narrow groups", {5, 6, 12, 12, 3, 1, 1, 1, 3}, map("sigmoid")),
      convolution("convolution 1x1", {5, 6, 33, 53, 1}, residual),
      convolution("convolution 1x1, stride 2", {9, 11, 24, 80, 1, 2},
                  map("silu", "alpha = 1.000000e+00 : f64")),
      // As a matrix unit takes them: whole tiles and parts of them, several blocks and steps.
      convolution("convolution 3x3, tiles", {9, 14, 64, 80, 3, 1, 1}, residual),
      convolution("convolution 3x3, tiles, lines of a block", {31, 30, 32, 64, 3, 1, 1}, clip),
      convolution("convolution 3x3, tiles, stride 2", {17, 29, 56, 96, 3, 2, 1}, residual),
      convolution("convolution 3x3, tiles, dilated", {9, 45, 32, 96, 3, 1, 2, 2},
                  map("hard_swish")),
      convolution("convolution 1x1, tiles", {12, 12, 352, 150, 1}, residual),
      convolution("convolution 1x1, tiles, one step", {9, 16, 64, 272, 1}, map("gelu")),
      convolution("convolution 1x1, tiles, stride 2", {32, 15, 160, 256, 1, 2}, clip),
      convolution("convolution, depthwise", {7, 19, 40, 40, 3, 1, 1, 1, 40}, clip),
      convolution("convolution, depthwise, stride 2", {10, 9, 32, 32, 5, 2, 2, 1, 32}, residual),
      convolution("convolution 3x3", {6, 9, 16, 32, 3, 1, 1, 1, 1, FormatId::F16}, map("gelu")),
      convolution("convolution 3x3", {4, 5, 16, 16, 3, 1, 1, 1, 1, FormatId::Q8SymG32},
                  map("tanh")),
  };
  return cases;
}
