// Kernels of convolutions against the formula in C++: edges, strides, dilations, groups, one to
// three spatial dims, images and results with padded and dense rows, and what follows them.
#include "KernelHarness.h"
#include "codegen/conv/Convolution.h"
#include <cmath>
#include <gtest/gtest.h>

using namespace kiln;
using namespace kiln::test;

namespace {

struct Shape {
  const char *what;
  int64_t images;
  std::vector<int64_t> extents;
  int64_t channels, outputs;
  std::vector<int64_t> kernel, strides, pads, dilations;
  int64_t groups = 1;
  bool dense = false; // image and result without padding between rows
  FormatId format = FormatId::F32;

  std::vector<int64_t> positions() const {
    std::vector<int64_t> result;
    for (size_t i = 0; i < extents.size(); ++i)
      result.push_back(
          (extents[i] + 2 * pads[i] - dilations[i] * (kernel[i] - 1) - 1) / strides[i] + 1);
    return result;
  }
  int64_t taps() const { return product(kernel); }
  static int64_t product(const std::vector<int64_t> &values) {
    int64_t result = 1;
    for (int64_t value : values)
      result *= value;
    return result;
  }
  int64_t padded(int64_t columns) const { return dense ? columns : (columns + 15) / 16 * 16; }
};

std::string list(const std::vector<int64_t> &values) {
  std::string text = "array<i64: ";
  for (size_t i = 0; i < values.size(); ++i)
    text += (i ? ", " : "") + std::to_string(values[i]);
  return text + ">";
}

/// What is known of a shape when it is compiled.
enum class Known { All, AllButImages, Channels };

/// `prefix` distinguishes the spatial dims of image and result.
std::string imageType(const Shape &shape, const std::vector<int64_t> &extents, int64_t channels,
                      Known known, const std::string &prefix) {
  std::string text = "tensor<" + (known == Known::All ? std::to_string(shape.images) : "?") + "x";
  std::string names = "@n";
  for (size_t i = 0; i < extents.size(); ++i) {
    text += (known == Known::Channels ? "?" : std::to_string(extents[i])) + "x";
    names += ", @" + prefix + std::to_string(i);
  }
  text += std::to_string(channels) + "xf32";
  if (known == Known::All)
    return text + ">";
  return text + ", #graph.dims<" + (known == Known::Channels ? names : "@n") + ">>";
}

void fill(Buffer<float> &buffer, int64_t columns, int64_t stride, unsigned seed) {
  std::vector<float> values = randomFloats(buffer.size(), seed);
  for (size_t i = 0; i < buffer.size(); ++i)
    buffer[i] = int64_t(i) % stride < columns ? values[i] : NAN;
}

/// One output of one position; `y` counts positions of all images.
double expected(const Shape &shape, Buffer<float> &x, const PackedMatrix &w, int64_t y, int64_t m) {
  std::vector<int64_t> positions = shape.positions();
  size_t dims = positions.size();
  std::vector<int64_t> at(dims);
  for (size_t i = dims; i-- > 0; y /= positions[i])
    at[i] = y % positions[i];
  int64_t depth = shape.channels / shape.groups, group = m / (shape.outputs / shape.groups);
  double sum = 0;
  for (int64_t tap = 0; tap < shape.taps(); ++tap) {
    int64_t pixel = y, rest = tap, scale = shape.taps();
    bool inside = true;
    for (size_t i = 0; i < dims; ++i) {
      scale /= shape.kernel[i];
      int64_t k = rest / scale;
      rest %= scale;
      int64_t place = at[i] * shape.strides[i] + k * shape.dilations[i] - shape.pads[i];
      inside &= place >= 0 && place < shape.extents[i];
      pixel = pixel * shape.extents[i] + place;
    }
    for (int64_t c = 0; c < depth && inside; ++c)
      sum += double(x[size_t(pixel * shape.padded(shape.channels) + group * depth + c)]) *
             w.at(m, tap * depth + c);
  }
  return sum;
}

void check(const KernelEmitter &emitter, const Shape &shape, Known known) {
  SCOPED_TRACE(shape.what);
  std::vector<int64_t> positions = shape.positions();
  PackedMatrix w(shape.format, shape.outputs, shape.taps() * (shape.channels / shape.groups), 3);
  std::string in = imageType(shape, shape.extents, shape.channels, known, "h"),
              out = imageType(shape, positions, shape.outputs, known,
                              positions == shape.extents ? "h" : "o"),
              bias = "tensor<" + std::to_string(shape.outputs) +
                     "xf32, #graph.stored<\"f32\", \"rows\">>";
  std::string body =
      "^bb0(%x: " + in + ", %w: " + w.type() + ", %b: " + bias + ", %r: " + out + "):\n" +
      "%c = graph.compute \"conv\"(%x, %w, %b) {kernel = " + list(shape.kernel) +
      ", strides = " + list(shape.strides) + ", pads_begin = " + list(shape.pads) +
      ", pads_end = " + list(shape.pads) + ", dilations = " + list(shape.dilations) +
      ", groups = " + std::to_string(shape.groups) + " : i64} : (" + in + ", " + w.type() + ", " +
      bias + ") -> " + out + "\n%s = graph.compute \"add\"(%c, %r) {} : (" + out + ", " + out +
      ") -> " + out + "\n%y = graph.compute \"relu\"(%s) {} : (" + out + ") -> " + out +
      "\ngraph.yield %y : " + out;
  int64_t inStride = shape.padded(shape.channels), outStride = shape.padded(shape.outputs);
  std::vector<std::string> names{"n"};
  std::vector<int64_t> dims{shape.images};
  for (size_t i = 0; i < positions.size(); ++i) {
    names.push_back("h" + std::to_string(i));
    names.push_back("o" + std::to_string(i));
    dims.push_back(shape.extents[i]);
    dims.push_back(positions[i]);
  }
  Kernel kernel(emitter, body, {inStride, 0, 0, outStride, outStride}, names);
  ASSERT_TRUE(kernel.compiled()) << kernel.refusal();
  int64_t rows = shape.images * Shape::product(positions);
  Buffer<float> x(size_t(shape.images * Shape::product(shape.extents) * inStride)),
      b(size_t((shape.outputs + 15) / 16 * 16)), r(size_t(rows * outStride)),
      y(size_t(rows * outStride + 64));
  fill(x, shape.channels, inStride, 4);
  fill(b, shape.outputs, int64_t(b.size()), 5);
  fill(r, shape.outputs, outStride, 6);
  for (size_t i = 0; i < 64; ++i)
    y[size_t(rows * outStride) + i] = 17;
  kernel.run({x.data(), w.bytes.data(), b.data(), r.data(), y.data()}, dims);
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t m = 0; m < shape.outputs; ++m) {
      double sum = expected(shape, x, w, row, m) + b[size_t(m)] + r[size_t(row * outStride + m)];
      ASSERT_NEAR(y[size_t(row * outStride + m)], std::max(sum, 0.0), 2e-5)
          << "position " << row << ", output " << m;
    }
  for (size_t i = 0; i < 64; ++i)
    ASSERT_EQ(y[size_t(rows * outStride) + i], 17) << "wrote past its result";
}

} // namespace

static const Shape shapes[] = {
    {"3x3", 2, {9, 31}, 20, 40, {3, 3}, {1, 1}, {1, 1}, {1, 1}},
    {"3x3 dense", 1, {5, 16}, 16, 24, {3, 3}, {1, 1}, {1, 1}, {1, 1}, 1, true},
    {"3x3 of 7x7", 1, {7, 7}, 24, 80, {3, 3}, {1, 1}, {1, 1}, {1, 1}},
    {"7x7, stride 2, 3 channels", 1, {30, 33}, 3, 32, {7, 7}, {2, 2}, {3, 3}, {1, 1}},
    {"7x7, stride 2, 3 channels, dense",
     1,
     {30, 33},
     3,
     32,
     {7, 7},
     {2, 2},
     {3, 3},
     {1, 1},
     1,
     true},
    {"dilated", 1, {12, 40}, 16, 16, {3, 3}, {1, 2}, {4, 3}, {2, 3}},
    {"pads wider than the image", 1, {2, 3}, 8, 16, {5, 5}, {1, 1}, {4, 4}, {1, 1}},
    {"groups", 1, {6, 18}, 24, 96, {3, 3}, {1, 1}, {1, 1}, {1, 1}, 2},
    {"1x1", 2, {5, 13}, 33, 53, {1, 1}, {1, 1}, {0, 0}, {1, 1}},
    {"1x1 dense", 2, {5, 13}, 33, 53, {1, 1}, {1, 1}, {0, 0}, {1, 1}, 1, true},
    {"1x1, stride 2", 1, {9, 28}, 32, 48, {1, 1}, {2, 2}, {0, 0}, {1, 1}},
    {"one position", 1, {1, 1}, 40, 112, {1, 1}, {1, 1}, {0, 0}, {1, 1}},
    {"one dim", 2, {47}, 12, 32, {5}, {2}, {2}, {1}},
    {"three dims", 1, {4, 5, 17}, 8, 16, {2, 3, 3}, {1, 2, 1}, {1, 0, 1}, {1, 1, 2}},
    {"f16 weights", 1, {6, 15}, 17, 32, {3, 3}, {1, 1}, {1, 1}, {1, 1}, 1, false, FormatId::F16},
};

static const Shape depthwise[] = {
    {"3x3", 2, {9, 31}, 40, 40, {3, 3}, {1, 1}, {1, 1}, {1, 1}, 40},
    {"3x3 dense", 1, {9, 31}, 40, 40, {3, 3}, {1, 1}, {1, 1}, {1, 1}, 40, true},
    {"3x3, stride 2", 1, {14, 14}, 32, 32, {3, 3}, {2, 2}, {1, 1}, {1, 1}, 32},
    {"5x5 dilated", 1, {11, 20}, 16, 16, {5, 5}, {1, 1}, {4, 4}, {2, 2}, 16},
    {"one dim", 1, {40}, 24, 24, {31}, {1}, {15}, {1}, 24},
    {"f16 weights", 1, {7, 7}, 48, 48, {3, 3}, {1, 1}, {1, 1}, {1, 1}, 48, false, FormatId::F16},
};

TEST(ConvolutionKernels, DirectIsTheFormula) {
  for (const Shape &shape : shapes)
    check(directConvolutionEmitter(), shape, Known::All);
}

TEST(ConvolutionKernels, DepthwiseIsTheFormula) {
  for (const Shape &shape : depthwise)
    check(depthwiseConvolutionEmitter(), shape, Known::All);
}

TEST(ConvolutionKernels, TakeAnyNumberOfImages) {
  for (size_t i : {0, 8, 12})
    check(directConvolutionEmitter(), shapes[i], Known::AllButImages);
  check(depthwiseConvolutionEmitter(), depthwise[0], Known::AllButImages);
}

TEST(ConvolutionKernels, TakeImagesOfAnySize) {
  for (const Shape &shape : shapes)
    check(directConvolutionEmitter(), shape, Known::Channels);
  for (const Shape &shape : depthwise)
    check(depthwiseConvolutionEmitter(), shape, Known::Channels);
}
