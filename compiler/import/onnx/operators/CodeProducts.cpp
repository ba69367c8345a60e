// Products of codes. A sum of (x - zx) * (w - zw) is a sum of x * w' with w' = w - zw, which fits
// i8 for nearly all models, less zx times the sum of the row's w': that is part of the bias, and
// what lies outside of an image has the code zx. So nothing is left but integers, and a factor for
// each output channel:
//
//   y = ((conv(x, w') + bias') as f32) * (sx * sw)
//
// Bounds behind it (Relu, Clip) and the factor are noted with the result, and are part of the
// rounding where it is rounded to codes again.
#include "compiler/import/onnx/operators/CodeProducts.h"
#include <cmath>

using namespace mlir;
using namespace kiln;

bool kiln::areBytes(const Array &x) {
  return x.element && x.element.isInteger(8) && !x.element.isSignedInteger();
}

std::optional<std::vector<int64_t>> kiln::zerosOf(ArrayBuilder &a, const Array &zero) {
  if (!zero)
    return std::vector<int64_t>{0};
  auto values = a.valuesOf(zero);
  if (!values || values->empty() || !isa<IntegerType>(zero.element))
    return std::nullopt;
  return std::vector<int64_t>(values->begin(), values->end());
}

std::optional<Codes> kiln::makeCodes(ArrayBuilder &a, const Array &codes, const Array &scale,
                                     const Array &zero, int64_t axis) {
  auto scales = a.valuesOf(scale);
  auto zeros = zerosOf(a, zero);
  if (!scales || scales->empty() || !zeros || !scale.element.isF32() ||
      llvm::any_of(*scales, [](double s) { return !std::isfinite(s) || s <= 0; }))
    return std::nullopt;
  return Codes{codes, std::move(*scales), std::move(*zeros), axis};
}

// ---- Weights ------------------------------------------------------------------------------------

/// Packs `rows` of `taps` runs of `channels` codes; `place` says where one of them is.
static std::optional<CodeMatrix>
pack(ArrayBuilder &a, const Array &codes, ArrayRef<int64_t> zeros, int64_t rows, int64_t taps,
     int64_t channels, llvm::function_ref<int64_t(int64_t, int64_t, int64_t)> place) {
  constexpr int64_t quad = 4, mostBytes = int64_t(1) << 31;
  bool hasZeros = zeros.size() == 1 || int64_t(zeros.size()) == rows;
  if (!areBytes(codes) || !hasZeros || rows < 1 || taps < 1 || channels < 1 ||
      rows * taps > mostBytes / (channels + quad))
    return std::nullopt;
  auto values = a.valuesOf(codes);
  if (!values || int64_t(values->size()) != rows * taps * channels)
    return std::nullopt;
  int64_t depth = int64_t(llvm::alignTo(channels, quad));
  std::vector<uint8_t> bytes(rows * taps * depth);
  CodeMatrix matrix;
  for (int64_t row = 0; row < rows; ++row) {
    int64_t zero = zeros.size() == 1 ? zeros[0] : zeros[row], sum = 0, amount = 0;
    for (int64_t tap = 0; tap < taps; ++tap)
      for (int64_t channel = 0; channel < channels; ++channel) {
        int64_t code = int64_t((*values)[place(row, tap, channel)]) - zero;
        if (code < -128 || code > 127)
          return std::nullopt;
        bytes[(row * taps + tap) * depth + channel] = uint8_t(code);
        sum += code;
        amount += std::abs(code);
      }
    matrix.sums.push_back(sum);
    matrix.amounts.push_back(amount);
  }
  matrix.weight = a.codeWeight(std::move(bytes), rows, taps * depth,
                               codes.constant ? StringRef(codes.constant->name) : "codes");
  return matrix;
}

std::optional<CodeMatrix> CodeMatrix::ofKernel(ArrayBuilder &a, const Array &kernel,
                                               ArrayRef<int64_t> zeros) {
  int64_t count = kernel.count(), rows = kernel.extent(0), channels = kernel.extent(1);
  if (count < 1)
    return std::nullopt;
  int64_t taps = count / (rows * channels);
  return pack(a, kernel, zeros, rows, taps, channels, [&](int64_t row, int64_t tap, int64_t c) {
    return (row * channels + c) * taps + tap;
  });
}

std::optional<CodeMatrix> CodeMatrix::ofMatrix(ArrayBuilder &a, const Array &matrix,
                                               bool transposed, ArrayRef<int64_t> zeros) {
  if (matrix.rank() != 2 || matrix.count() < 1)
    return std::nullopt;
  int64_t rows = matrix.extent(transposed ? 0 : 1), depth = matrix.extent(transposed ? 1 : 0);
  return pack(a, matrix, zeros, rows, 1, depth, [&](int64_t row, int64_t, int64_t c) {
    return transposed ? row * depth + c : c * rows + row;
  });
}

// ---- Products -----------------------------------------------------------------------------------

/// A vector of numbers, or one number where all are the same.
static Array vectorOf(ArrayBuilder &a, Type element, ArrayRef<double> values) {
  if (llvm::all_equal(values))
    return a.scalar(element, values[0]);
  return a.constant(element, int64_t(values.size()), values);
}

Array kiln::sumCodes(ArrayBuilder &a, const Array &x, int64_t zero, const CodeMatrix &matrix,
                     ArrayRef<int64_t> bias, const ImageWindow *window, int64_t groups) {
  ImageWindow none;
  Type i32 = a.b.getI32Type();
  Array weight, image = window ? channelsLast(a, x) : x;
  weight.value = matrix.weight;
  weight.element = a.b.getI8Type();
  weight.shape = a.numbers(graph::tensorOf(matrix.weight).getShape());
  SmallVector<Array> operands{image, weight};
  std::vector<double> summands;
  for (auto [row, sum] : llvm::enumerate(matrix.sums))
    summands.push_back(int32_t(uint32_t((bias.empty() ? 0 : bias[row]) - zero * sum)));
  if (llvm::any_of(summands, [](double value) { return value != 0; }))
    operands.push_back(a.constant(i32, matrix.rows(), summands));
  Shape shape(x.shape);
  shape.back() = a.number(matrix.rows());
  if (window)
    shape = window->resultShape(x, a.number(matrix.rows()));
  SmallVector<ArrayBuilder::Param> more{{"groups", a.attr(groups)}};
  if (window && zero)
    more.push_back({"outside", a.attr(zero)});
  return a.compute("conv", operands, i32, shape, (window ? *window : none).params(a, more));
}

/// A bias as codes of the sums, where it is one: i32, or made of i32 by the scales of the products.
static std::optional<std::vector<int64_t>> wholeBias(ArrayBuilder &a, const Array &bias,
                                                     ArrayRef<double> factors, int64_t rows) {
  if (bias.element.isSignlessInteger(32)) {
    auto values = a.valuesOf(bias);
    if (!values || int64_t(values->size()) != rows)
      return std::nullopt;
    return std::vector<int64_t>(values->begin(), values->end());
  }
  const Codes *codes = a.codesOf(bias);
  if (!codes || !codes->codes.element.isSignlessInteger(32) || bias.rank() != 1 ||
      llvm::any_of(codes->zeros, [](int64_t zero) { return zero != 0; }))
    return std::nullopt;
  auto values = a.valuesOf(codes->codes);
  if (!values || int64_t(values->size()) != rows)
    return std::nullopt;
  auto at = [](ArrayRef<double> list, int64_t i) { return list.size() == 1 ? list[0] : list[i]; };
  constexpr double slack = 1e-6; // roundings of f32
  for (int64_t i = 0; i < rows; ++i)
    if (std::fabs(at(codes->scales, i) / at(factors, i) - 1) > slack)
      return std::nullopt;
  return std::vector<int64_t>(values->begin(), values->end());
}

/// The product of x and a matrix whose rows have `scales`.
static Array multiply(ArrayBuilder &a, const Codes &x, const CodeMatrix &matrix,
                      ArrayRef<double> scales, const Array &bias, const ImageWindow *window,
                      int64_t groups) {
  ScaledSum made;
  for (double scale : scales)
    made.factors.push_back(float(x.scales[0]) * float(scale));
  std::vector<int64_t> whole;
  if (bias) {
    if (bias.rank() > 1)
      made.offset = a.reshape(bias, {a.number(matrix.rows())});
    else
      made.offset = bias;
    if (auto codes = wholeBias(a, bias, made.factors, matrix.rows())) {
      whole = std::move(*codes);
      made.offset = {};
    } else if (!bias.element.isF32()) {
      return {};
    }
  }
  // Sums that may leave i32 are left to floats.
  int64_t zero = x.zeros[0], least = x.codes.element.isUnsignedInteger() ? 0 : -128;
  int64_t most = std::max(zero - least, least + 255 - zero);
  for (auto [row, amount] : llvm::enumerate(matrix.amounts))
    if (amount * most + (whole.empty() ? 0 : std::abs(whole[row])) > INT32_MAX)
      return {};
  made.sum = sumCodes(a, x.codes, zero, matrix, whole, window, groups);
  Type f32 = a.b.getF32Type();
  Array y = a.mul(a.cast(made.sum, f32), vectorOf(a, f32, made.factors));
  if (made.offset)
    y = a.add(y, made.offset);
  if (window) {
    y = channelsFirst(a, y);
    made.perm = {0, y.rank() - 1};
    for (int64_t dim = 1; dim + 1 < y.rank(); ++dim)
      made.perm.push_back(dim);
  }
  a.noteScaledSum(y, std::move(made));
  return y;
}

/// Whether x may be multiplied by a matrix of `rows` rows whose scales and zeros are along `axis`.
static bool mayMultiply(const Codes &x, const Codes &weight, int64_t axis, int64_t rows) {
  auto isPerRow = [&](size_t count) { return count == 1 || int64_t(count) == rows; };
  return areBytes(x.codes) && areBytes(weight.codes) && x.hasOneScale() &&
         (weight.hasOneScale() || weight.axis == axis) && isPerRow(weight.scales.size()) &&
         isPerRow(weight.zeros.size());
}

Array kiln::convolveCodes(ArrayBuilder &a, const Codes &x, const Codes &kernel, const Array &bias,
                          const ImageWindow &window, int64_t groups) {
  if (!mayMultiply(x, kernel, 0, kernel.codes.extent(0)) || (bias && bias.rank() != 1))
    return {};
  std::optional<CodeMatrix> matrix = CodeMatrix::ofKernel(a, kernel.codes, kernel.zeros);
  return matrix ? multiply(a, x, *matrix, kernel.scales, bias, &window, groups) : Array();
}

Array kiln::multiplyCodes(ArrayBuilder &a, const Codes &x, const Codes &matrix, bool transposed,
                          const Array &bias) {
  if (x.codes.rank() < 2 || matrix.codes.rank() != 2)
    return {};
  int64_t axis = transposed ? 0 : 1, rows = matrix.codes.extent(axis);
  bool isVector =
      !bias || (bias.rank() > 0 && bias.count() == rows && bias.extent(bias.rank() - 1) == rows);
  if (!mayMultiply(x, matrix, axis, rows) || !isVector)
    return {};
  if (!a.sameOrRequired(x.codes.shape.back(), matrix.codes.shape[1 - axis],
                        "the depth of a matmul"))
    return {};
  std::optional<CodeMatrix> packed =
      CodeMatrix::ofMatrix(a, matrix.codes, transposed, matrix.zeros);
  return packed ? multiply(a, x, *packed, matrix.scales, bias, nullptr, 1) : Array();
}

// ---- Rounding to codes --------------------------------------------------------------------------

Array kiln::quantizeSum(ArrayBuilder &a, const Array &x, double scale, int64_t zero, Type element,
                        int64_t low, int64_t high) {
  const ScaledSum *known = a.scaledSumOf(x);
  if (!known)
    return {};
  ScaledSum made = *known;
  Type f32 = a.b.getF32Type();
  // A bound is a code as well: what rounds to codes keeps the order of numbers.
  auto codeOf = [&](double bound) {
    double code = std::nearbyint(float(bound) / float(scale)) + double(zero);
    return int64_t(std::clamp(code, double(low), double(high)));
  };
  auto divided = [&](double value) { return double(float(value) / float(scale)); };
  std::vector<double> factors;
  for (double factor : made.factors)
    factors.push_back(divided(factor));
  Array y = a.cast(made.sum, f32), factor = vectorOf(a, f32, factors);
  if (made.offset) {
    auto values = a.valuesOf(made.offset);
    if (!values)
      return {};
    for (double &value : *values)
      value = divided(value);
    y = a.add(a.mul(y, factor), vectorOf(a, f32, *values));
    factor = a.scalar(f32, 1);
  }
  y = a.quantized(y, factor, element, zero, codeOf(made.low), codeOf(made.high));
  return made.perm.empty() ? y : a.transpose(y, made.perm);
}
