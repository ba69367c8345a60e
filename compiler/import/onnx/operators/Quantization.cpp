// Quantization, and products of quantized tensors: as products of codes where weights are constant,
// else written out as arithmetic on integers and f32.
#include "compiler/import/onnx/operators/CodeProducts.h"
#include "compiler/import/onnx/operators/Quantize.h"
#include "llvm/Support/FormatVariadic.h"
#include <cmath>

using namespace mlir;
using namespace kiln;

Array kiln::spreadParameter(NodeImport &n, const Array &parameter, const Array &x, int64_t axis,
                            int64_t block) {
  ArrayBuilder &a = n.a;
  if (parameter.rank() == 0)
    return parameter;
  if (parameter.rank() == 1 && parameter.extent(0) == 1 && block == 0)
    return a.reshape(parameter, {});
  std::optional<int64_t> dim = n.axis(axis, x.rank());
  if (!dim)
    return {};
  if (x.rank() == 0)
    return a.fail("a number takes one scale");
  if (block == 0) {
    if (parameter.rank() != 1 ||
        !a.sameOrRequired(parameter.shape[0], x.shape[*dim], "a scale for each index of an axis"))
      return a.fail(llvm::formatv("a scale of {0} dims for axis {1}", parameter.rank(), *dim));
    Shape shape(x.rank(), a.number(1));
    shape[*dim] = parameter.shape[0];
    return a.reshape(parameter, shape);
  }
  if (parameter.rank() != x.rank() || block < 0)
    return a.fail(llvm::formatv("scales of blocks need the input's {0} dims, found {1}", x.rank(),
                                parameter.rank()));
  // Each repeated `block` times, and what is too much cut away.
  Shape split = parameter.shape, merged = parameter.shape;
  split.insert(split.begin() + *dim + 1, a.number(1));
  Array repeated = a.reshape(parameter, split);
  split[*dim + 1] = a.number(block);
  merged[*dim] = a.simplify(merged[*dim] * block);
  repeated = a.reshape(a.broadcast(repeated, split), merged);
  if (a.same(merged[*dim], x.shape[*dim]))
    return repeated;
  if (a.boundsOf(a.simplify(merged[*dim] - x.shape[*dim])).first < 0)
    return a.fail(llvm::formatv("blocks of {0} do not cover axis {1}", block, *dim));
  merged[*dim] = x.shape[*dim];
  return a.slice(repeated, SmallVector<int64_t>(x.rank(), 0), merged);
}

namespace {

/// Which element of a scale or zero point, spread to an array, counts for an element of that.
struct ParameterPlaces {
  int64_t inner = 1, count = 1, axis = 0;

  /// nullopt where the parameter has elements along several axes.
  static std::optional<ParameterPlaces> of(const Array &x, const Array &parameter) {
    ParameterPlaces places;
    if (parameter.rank() == 0)
      return places;
    if (parameter.rank() != x.rank())
      return std::nullopt;
    for (int64_t dim = x.rank(); dim-- > 0;) {
      if (parameter.extent(dim) == 1) {
        if (places.count == 1)
          places.inner *= x.extent(dim);
        continue;
      }
      if (places.count != 1 || parameter.extent(dim) != x.extent(dim))
        return std::nullopt;
      places.count = parameter.extent(dim);
      places.axis = dim;
    }
    return places;
  }
  size_t at(size_t element) const { return element / size_t(inner) % size_t(count); }
};

} // namespace

/// The element of a constant that has only one.
static std::optional<double> numberOf(ArrayBuilder &a, const Array &array) {
  auto values = array ? a.valuesOf(array) : std::nullopt;
  return values && values->size() == 1 ? std::optional(values->front()) : std::nullopt;
}

/// Whether an array is computed element by element from codes, or from products of them.
static bool followsCodes(Value value, unsigned depth = 8) {
  auto op = value ? value.getDefiningOp<graph::ComputeOp>() : graph::ComputeOp();
  if (!op || depth == 0)
    return false;
  if (op.getKind() == "dequantize")
    return true;
  if (op.getKind() == "conv")
    return graph::tensorOf(op.getOperand(1)).getElementType().isInteger(8);
  auto isConstant = [](Value operand) {
    return isa_and_nonnull<graph::ConstantOp, graph::WeightRefOp>(operand.getDefiningOp());
  };
  bool isMap = graph::operatorOf(op).cost == graph::Cost::Map || op.getKind() == "transpose";
  return isMap && op.getNumOperands() > 0 &&
         llvm::all_of(op.getOperands(),
                      [&](Value operand) {
                        return isConstant(operand) || followsCodes(operand, depth - 1);
                      }) &&
         !llvm::all_of(op.getOperands(), isConstant);
}

/// Codes of a constant by constant scales; empty where they are none.
static Array quantizeConstant(ArrayBuilder &a, const Array &x, const Array &scale,
                              const Array &zero, Type element, int64_t low, int64_t high) {
  unsigned bits = element.getIntOrFloatBitWidth();
  if ((bits != 8 && bits != 16) || x.value || !a.isConstant(x) || x.count() < 0)
    return {};
  auto numbers = a.valuesOf(x), scales = a.valuesOf(scale);
  auto zeros = zerosOf(a, zero);
  if (!numbers || !scales || !zeros)
    return {};
  std::optional<ParameterPlaces> ofScale = ParameterPlaces::of(x, scale),
                                 ofZero = zero ? ParameterPlaces::of(x, zero) : ParameterPlaces();
  if (!ofScale || !ofZero)
    return {};
  std::vector<uint8_t> bytes;
  for (auto [i, number] : llvm::enumerate(*numbers)) {
    float code = std::nearbyint(float(number) / float((*scales)[ofScale->at(i)]));
    double held = std::max(std::min(double(code) + double((*zeros)[ofZero->at(i)]), double(high)),
                           double(low));
    uint64_t raw = std::isnan(held) ? uint64_t(low) : uint64_t(int64_t(held));
    for (unsigned byte = 0; byte < bits / 8; ++byte)
      bytes.push_back(uint8_t(raw >> 8 * byte));
  }
  SmallVector<int64_t> shape = llvm::to_vector(
      llvm::map_range(llvm::seq<int64_t>(0, x.rank()), [&](int64_t dim) { return x.extent(dim); }));
  return a.fromBytes(element, shape, std::move(bytes), x.constant ? x.constant->name : "quantized");
}

/// To integers of at most 16 bits.
static Array quantizeToCodes(ArrayBuilder &a, const Array &x, const Array &scale, const Array &zero,
                             Type element) {
  Type f32 = a.b.getF32Type();
  unsigned bits = element.getIntOrFloatBitWidth();
  bool isUnsigned = element.isUnsignedInteger();
  int64_t low = isUnsigned ? 0 : -(int64_t(1) << (bits - 1));
  int64_t high = (int64_t(1) << (isUnsigned ? bits : bits - 1)) - 1;
  if (Array constant = quantizeConstant(a, x, scale, zero, element, low, high))
    return constant;
  std::optional<double> step = numberOf(a, scale), origin = zero ? numberOf(a, zero) : 0.0;
  Array one = a.scalar(f32, 1);
  if (step && origin && x.element == f32) {
    // What stands for these codes already is nothing else than they.
    if (const Codes *from = a.codesOf(x))
      if (from->hasOneScale() && from->scales[0] == *step && double(from->zeros[0]) == *origin &&
          from->codes.element == element)
        return from->codes;
    bool isPositive = std::isfinite(*step) && *step > 0;
    if (Array codes =
            isPositive ? quantizeSum(a, x, *step, int64_t(*origin), element, low, high) : Array())
      return codes;
    if (isPositive && followsCodes(x.value))
      return a.quantized(x, a.scalar(f32, 1 / float(*step)), element, int64_t(*origin), low, high);
  }
  Array y = a.div(a.cast(x, f32), a.cast(scale, f32));
  if (origin)
    return a.quantized(y, one, element, int64_t(*origin), low, high);
  return a.quantized(a.add(a.unary("round", y), a.cast(zero, f32)), one, element, 0, low, high);
}

Array kiln::quantize(ArrayBuilder &a, const Array &x, const Array &scale, const Array &zero,
                     Type element, bool saturate) {
  Type f32 = a.b.getF32Type();
  if (isa<FloatType>(element)) {
    Array y = a.div(a.cast(x, f32), a.cast(scale, f32));
    if (zero)
      y = a.add(y, a.cast(zero, f32));
    return a.map("cast", y, element, a.params({{"saturate", a.attr(int64_t(saturate))}}));
  }
  if (element.getIntOrFloatBitWidth() > 16)
    return a.fail("codes of more than 16 bits");
  return quantizeToCodes(a, x, scale, zero, element);
}

/// A constant's elements as numbers, where their scales and zeros are constants too; empty
/// otherwise. The codes are noted.
static Array dequantizeConstant(ArrayBuilder &a, const Array &x, const Array &scale,
                                const Array &zero) {
  if (x.count() < 0 || x.value)
    return {};
  auto codes = a.valuesOf(x), scales = a.valuesOf(scale);
  auto zeros = zero ? a.valuesOf(zero) : std::vector<double>{0};
  if (!codes || !scales || !zeros)
    return {};
  std::optional<ParameterPlaces> ofScale = ParameterPlaces::of(x, scale),
                                 ofZero = zero ? ParameterPlaces::of(x, zero) : ParameterPlaces();
  if (!ofScale || !ofZero)
    return {};
  std::vector<uint8_t> bytes(codes->size() * 4);
  for (size_t i = 0; i < codes->size(); ++i) {
    float code = float((*codes)[i]), origin = float((*zeros)[ofZero->at(i)]);
    float value = (code - origin) * float((*scales)[ofScale->at(i)]);
    std::memcpy(bytes.data() + i * 4, &value, 4);
  }
  SmallVector<int64_t> shape;
  for (int64_t dim = 0; dim < x.rank(); ++dim)
    shape.push_back(x.extent(dim));
  Array result = a.fromBytes(a.b.getF32Type(), shape, std::move(bytes),
                             x.constant ? x.constant->name : "dequantized");
  int64_t axis = ofScale->count != 1 ? ofScale->axis : ofZero->axis;
  bool agree = ofZero->count == 1 || ofZero->axis == axis;
  if (auto noted = makeCodes(a, x, scale, zero, axis); noted && agree)
    a.noteCodes(result, std::move(*noted));
  return result;
}

Array kiln::dequantize(ArrayBuilder &a, const Array &x, const Array &scale, const Array &zero,
                       Type element) {
  Type f32 = a.b.getF32Type();
  if (element == f32)
    if (Array folded = dequantizeConstant(a, x, scale, zero))
      return folded;
  std::optional<double> step = numberOf(a, scale), origin = zero ? numberOf(a, zero) : 0.0;
  if (element == f32 && step && origin && isa<IntegerType>(x.element))
    return a.dequantized(x, *step, int64_t(*origin));
  Array y = a.cast(x, f32);
  if (zero)
    y = a.sub(y, a.cast(zero, f32));
  return a.cast(a.mul(y, a.cast(scale, f32)), element);
}

static void importQuantizeLinear(NodeImport &n) {
  if (!n.input(0) || !n.input(1))
    return;
  ArrayBuilder &a = n.a;
  const Array &x = n.inputs[0];
  int64_t axis = n.integer("axis", 1), block = n.integer("block_size", 0);
  Type element = n.has(2) ? n.inputs[2].element
                          : Type(IntegerType::get(a.b.getContext(), 8, IntegerType::Unsigned));
  if (int64_t told = n.integer("output_dtype", 0))
    element = elementTypeOf(OnnxType(told), a.b.getContext());
  if (!element)
    return n.fail("quantizes to a type that is not supported");
  Array scale = spreadParameter(n, n.inputs[1], x, axis, block), zero;
  if (n.has(2))
    zero = spreadParameter(n, n.inputs[2], x, axis, block);
  if (a.failed())
    return;
  n.results.push_back(quantize(a, x, scale, zero, element, n.integer("saturate", 1) != 0));
}

static void importDequantizeLinear(NodeImport &n) {
  if (!n.input(0) || !n.input(1))
    return;
  ArrayBuilder &a = n.a;
  const Array &x = n.inputs[0];
  int64_t axis = n.integer("axis", 1), block = n.integer("block_size", 0);
  Type element = n.inputs[1].element;
  if (int64_t told = n.integer("output_dtype", 0))
    element = elementTypeOf(OnnxType(told), a.b.getContext());
  if (!element || !isa<FloatType>(element))
    return n.fail("dequantizes to a type that is not supported");
  Array scale = spreadParameter(n, n.inputs[1], x, axis, block), zero;
  if (n.has(2))
    zero = spreadParameter(n, n.inputs[2], x, axis, block);
  if (a.failed())
    return;
  n.results.push_back(dequantize(a, x, scale, zero, element));
}

/// To uint8, by the range of all elements with 0 in it.
static void importDynamicQuantizeLinear(NodeImport &n) {
  const Array &x = n.input(0);
  if (!x)
    return;
  ArrayBuilder &a = n.a;
  SmallVector<int64_t> all = llvm::to_vector(llvm::seq<int64_t>(0, x.rank()));
  Array none = a.scalar(x.element, 0);
  Array most = a.map("max", {a.reduce("max", x, all, false), none});
  Array least = a.map("min", {a.reduce("min", x, all, false), none});
  Array scale = a.div(a.sub(most, least), a.scalar(x.element, 255));
  Array isZero = a.map("equal", {scale, none}, a.b.getI1Type());
  Array safe = a.map("where", {isZero, a.scalar(x.element, 1), scale}, x.element);
  Type u8 = IntegerType::get(a.b.getContext(), 8, IntegerType::Unsigned);
  Array zero = quantize(a, a.sub(none, least), safe, {}, u8);
  n.results.push_back(quantize(a, x, safe, zero, u8));
  n.results.push_back(scale);
  n.results.push_back(zero);
}

// ---- Products ---------------------------------------------------------------------------------

/// A parameter of rows (before the last dim) or columns (the last) of a matrix.
static Array ofMatrix(ArrayBuilder &a, const Array &parameter, bool ofRows) {
  if (parameter.rank() != 1)
    return parameter;
  if (parameter.extent(0) == 1)
    return a.reshape(parameter, {});
  return ofRows ? a.reshape(parameter, {parameter.shape[0], a.number(1)}) : parameter;
}

static Array centred(ArrayBuilder &a, const Array &x, const Array &zero) {
  Type i32 = a.b.getI32Type();
  return a.sub(a.cast(x, i32), a.cast(zero, i32));
}

static void importQLinearMatMul(NodeImport &n) {
  for (size_t i = 0; i < 8; ++i)
    if (!n.input(i))
      return;
  ArrayBuilder &a = n.a;
  ArrayRef<Array> in = n.inputs;
  Type f32 = a.b.getF32Type();
  bool isPlain =
      llvm::all_of(ArrayRef({1, 2, 4, 5, 6, 7}), [&](int i) { return in[i].rank() < 2; });
  if (auto x = makeCodes(a, in[0], in[1], in[2], 0), matrix = makeCodes(a, in[3], in[4], in[5], 1);
      x && matrix && isPlain)
    if (Array y = multiplyCodes(a, *x, *matrix, false, {}))
      return n.results.push_back(
          quantize(a, y, ofMatrix(a, in[6], true), ofMatrix(a, in[7], true), in[7].element));
  Array left = centred(a, in[0], ofMatrix(a, in[2], true));
  Array right = centred(a, in[3], ofMatrix(a, in[5], false));
  Array sum = a.cast(a.matmul(left, right), f32);
  Array scale =
      a.mul(a.cast(ofMatrix(a, in[1], true), f32), a.cast(ofMatrix(a, in[4], false), f32));
  Array by = a.div(a.cast(ofMatrix(a, in[6], true), f32), scale);
  n.results.push_back(quantize(a, sum, by, ofMatrix(a, in[7], true), in[7].element));
}

/// x, w and result each with scale and zero point, the weight's perhaps of each output channel.
static void importQLinearConv(NodeImport &n) {
  for (size_t i = 0; i < 8; ++i)
    if (!n.input(i))
      return;
  ArrayBuilder &a = n.a;
  Array x = n.inputs[0], kernel = n.inputs[3];
  std::optional<int64_t> groups = fitKernel(n, x, kernel, false);
  if (!groups)
    return;
  std::optional<ImageWindow> window = ImageWindow::of(n, x, extentsOf(kernel));
  if (!window)
    return;
  auto one = [&](const Array &parameter) {
    return parameter.rank() == 1 ? a.reshape(parameter, {}) : parameter;
  };
  if (auto image = makeCodes(a, x, n.inputs[1], n.inputs[2], 0),
      codes = makeCodes(a, kernel, n.inputs[4], n.inputs[5], 0);
      image && codes)
    if (Array y =
            convolveCodes(a, *image, *codes, n.has(8) ? n.inputs[8] : Array(), *window, *groups))
      return n.results.push_back(
          quantize(a, y, one(n.inputs[6]), one(n.inputs[7]), n.inputs[7].element));
  Type i32 = a.b.getI32Type(), f32 = a.b.getF32Type();
  auto perRow = [&](const Array &parameter) {
    if (parameter.rank() != 1 || parameter.extent(0) == 1)
      return parameter.rank() == 1 ? a.reshape(parameter, {}) : parameter;
    Shape shape(kernel.rank(), a.number(1));
    shape[0] = parameter.shape[0];
    return a.reshape(parameter, shape);
  };
  Array weights = channelsLast(a, centred(a, kernel, perRow(n.inputs[5])));
  weights = a.reshape(weights, {weights.shape[0], a.product(ArrayRef(weights.shape).drop_front())});
  SmallVector<Array> operands{channelsLast(a, centred(a, x, one(n.inputs[2]))), weights};
  if (n.has(8))
    operands.push_back(a.cast(n.inputs[8], i32));
  Array sum = a.compute("conv", operands, i32, window->resultShape(x, kernel.shape[0]),
                        window->params(a, {{"groups", a.attr(*groups)}}));
  // Channels are last: scales of the output channels are broadcast as they are.
  auto perColumn = [&](const Array &parameter) {
    return parameter.rank() == 1 && parameter.extent(0) == 1 ? a.reshape(parameter, {}) : parameter;
  };
  Array scale = a.mul(a.cast(one(n.inputs[1]), f32), a.cast(perColumn(n.inputs[4]), f32));
  Array by = a.div(a.cast(one(n.inputs[6]), f32), scale);
  Array y = quantize(a, a.cast(sum, f32), by, one(n.inputs[7]), n.inputs[7].element);
  n.results.push_back(channelsFirst(a, y));
}

ArrayRef<OnnxOperator> kiln::onnxQuantization() {
  static const OnnxOperator table[] = {
      {"", "QuantizeLinear", 10, importQuantizeLinear},
      {"", "DequantizeLinear", 10, importDequantizeLinear},
      {"", "DynamicQuantizeLinear", 11, importDynamicQuantizeLinear},
      {"", "QLinearMatMul", 10, importQLinearMatMul},
      {"", "QLinearConv", 10, importQLinearConv},
      {"com.microsoft", "QuantizeLinear", 1, importQuantizeLinear},
      {"com.microsoft", "DequantizeLinear", 1, importDequantizeLinear},
  };
  return table;
}
