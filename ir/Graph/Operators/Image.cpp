// Convolution of images, channels last, and of rows.
#include "ir/Graph/Operators/Arithmetic.h"
#include "ir/Graph/Operators/Window.h"

using namespace mlir;
using namespace kiln;
using namespace kiln::graph;

// ---- Windows ----------------------------------------------------------------------------------

/// Checks that the params of a window have a number for each of the spatial dims.
static LogicalResult verifyWindowInts(ComputeOp op, size_t spatial) {
  for (auto [name, least] : {std::pair<StringRef, int64_t>("kernel", 1),
                             {"strides", 1},
                             {"pads_begin", 0},
                             {"pads_end", 0},
                             {"dilations", 1}})
    if (failed(verifyInts(op, name, spatial, least)))
      return failure();
  return success();
}

/// Checks the params of a window that slides over the spatial dims of `x` [N, spatial..., C], and
/// that the result's are as many positions as it has.
static LogicalResult verifyWindow(ComputeOp op, RankedTensorType x, RankedTensorType result) {
  if (x.getRank() < 3 || result.getRank() != x.getRank())
    return op.emitOpError() << "takes and gives [N, spatial dims, C], found " << x << " and "
                            << result;
  size_t spatial = size_t(x.getRank()) - 2;
  if (failed(verifyWindowInts(op, spatial)))
    return failure();
  for (unsigned i = 0; i < spatial; ++i) {
    if (x.isDynamicDim(i + 1) || result.isDynamicDim(i + 1))
      continue;
    int64_t padded = 0, reach = 0, room = 0;
    bool overflow =
        llvm::MulOverflow(intsParam(op, "kernel")[i] - 1, intsParam(op, "dilations")[i], reach) ||
        llvm::AddOverflow(intsParam(op, "pads_begin")[i], intsParam(op, "pads_end")[i], padded) ||
        llvm::AddOverflow(padded, x.getDimSize(i + 1), padded) ||
        llvm::SubOverflow(padded, reach + 1, room);
    int64_t expected = room < 0 ? 0 : room / intsParam(op, "strides")[i] + 1;
    if (overflow || result.getDimSize(i + 1) != expected)
      return op.emitOpError() << "expected " << expected << " positions along spatial dim " << i
                              << ", found " << result.getDimSize(i + 1);
  }
  return success();
}

// ---- Convolution ------------------------------------------------------------------------------

// conv(x [N, spatial..., C], w [M, taps * D], [bias [M]]): taps outermost in w, the last spatial
// dim fastest among them. Of floats and i32, D is C/groups and outside of x are zeros.
//
// A product of codes has x of i8 or ui8, w of i8, bias and result of i32, and wraps as i32 does. A
// tap's columns may then be more than it has channels: those behind stand for none. What lies
// outside of x has the value `outside` (0 where it is not told): the zero point.
//
// Without spatial dims (`kernel` is empty) rows of any leading dims are multiplied: x [..., C].

static bool isCode(Type element) { return element.isInteger(8); }

/// Checks the element types, and `outside`.
static LogicalResult verifyElements(ComputeOp op, RankedTensorType x, RankedTensorType w,
                                    RankedTensorType result) {
  bool ofCodes = isCode(x.getElementType()) || isCode(w.getElementType());
  if (!ofCodes)
    return hasParam(op, "outside") ? op.emitOpError() << "'outside' is told of codes alone"
                                   : success();
  auto isI32 = [](RankedTensorType type) { return type.getElementType().isSignlessInteger(32); };
  bool hasBias = op.getNumOperands() == 3;
  if (!isCode(x.getElementType()) || !w.getElementType().isSignlessInteger(8) || !isI32(result) ||
      (hasBias && !isI32(tensorOf(op.getOperand(2)))))
    return op.emitOpError() << "a product of codes takes i8 or ui8, a weight of i8 and a bias of "
                               "i32 and gives i32, found "
                            << x << ", " << w << " and " << result;
  if (!hasParam(op, "outside"))
    return success();
  bool isUnsigned = x.getElementType().isUnsignedInteger();
  return verifyInt(op, "outside", isUnsigned ? 0 : -128, isUnsigned ? 255 : 127);
}

/// Checks the weight's columns: `taps` times what a tap has.
static LogicalResult verifyWeight(ComputeOp op, RankedTensorType w, int64_t taps, int64_t channels,
                                  int64_t outputs) {
  // Of sizes that are not static the importer has made sure.
  auto differ = [](int64_t x, int64_t y) {
    return x != y && !ShapedType::isDynamic(x) && !ShapedType::isDynamic(y);
  };
  bool isDynamic = ShapedType::isDynamic(channels), ofCodes = isCode(w.getElementType());
  int64_t depth = ShapedType::kDynamic;
  bool isDeep = !isDynamic && llvm::MulOverflow(taps, channels / intParam(op, "groups"), depth);
  if (isDeep || w.getRank() != 2 || differ(w.getDimSize(0), outputs))
    return op.emitOpError() << "expected a weight of " << outputs << "x" << depth << ", found "
                            << w;
  int64_t columns = w.getDimSize(1);
  if (!ofCodes && differ(columns, depth))
    return op.emitOpError() << "expected a weight of " << outputs << "x" << depth << ", found "
                            << w;
  if (ofCodes && !ShapedType::isDynamic(columns) &&
      (columns % taps != 0 || (!isDynamic && columns < depth)))
    return op.emitOpError() << "expected a weight of " << outputs << " rows and " << taps
                            << " times as many columns as a tap has, " << depth
                            << " in all at least, found " << w;
  return success();
}

static LogicalResult verifyConvolution(ComputeOp op) {
  size_t operands = op.getOperands().size();
  if (operands < 2 || operands > 3 || op.getNumResults() != 1)
    return op.emitOpError() << "takes an image, a weight and perhaps a bias";
  RankedTensorType x = tensorOf(op.getOperand(0)), w = tensorOf(op.getOperand(1)),
                   result = tensorOf(op.getResult(0));
  auto kernel = op.getParams().getAs<DenseI64ArrayAttr>("kernel");
  if (kernel && kernel.empty()) {
    if (x.getRank() < 1 || result.getRank() != x.getRank() ||
        x.getShape().drop_back() != result.getShape().drop_back())
      return op.emitOpError() << "without spatial dims takes and gives rows [..., C], found " << x
                              << " and " << result;
    if (failed(verifyWindowInts(op, 0)))
      return failure();
  } else if (failed(verifyWindow(op, x, result))) {
    return failure();
  }
  auto groups = op.getParams().getAs<IntegerAttr>("groups");
  int64_t channels = x.getShape().back(), outputs = result.getShape().back();
  auto divides = [&](int64_t size) {
    return ShapedType::isDynamic(size) || size % groups.getInt() == 0;
  };
  if (!groups || groups.getInt() < 1 || !divides(channels) || !divides(outputs))
    return op.emitOpError() << "needs 'groups', which divides " << channels << " and " << outputs
                            << " channels";
  int64_t taps = 1;
  for (int64_t extent : intsParam(op, "kernel"))
    if (llvm::MulOverflow(taps, extent, taps))
      return op.emitOpError() << "its window is too large";
  if (failed(verifyElements(op, x, w, result)) ||
      failed(verifyWeight(op, w, taps, channels, outputs)))
    return failure();
  if (operands == 3)
    if (RankedTensorType bias = tensorOf(op.getOperand(2));
        bias.getRank() != 1 ||
        (bias.getDimSize(0) != outputs && !bias.isDynamicDim(0) && !ShapedType::isDynamic(outputs)))
      return op.emitOpError() << "expected a bias of " << outputs << ", found " << bias;
  return success();
}

/// An element as the result's type has it.
static Value readAs(ElementBuilder &e, Value tensor, ValueRange indices, Type type) {
  return e.convert(e.read(tensor, indices), tensorOf(tensor).getElementType(), type);
}

/// sum + x * y
static Value addProduct(ElementBuilder &e, Value x, Value y, Value sum) {
  if (isa<FloatType>(sum.getType()))
    return math::FmaOp::create(e.b, x, y, sum);
  return e.add(sum, e.mul(x, y));
}

namespace {

/// One element of a convolution's result.
struct ConvolutionElement {
  ElementBuilder &e;
  ComputeOp op;
  ValueRange indices;
  Value x, w, output;
  Type type;
  Value channels, first; // of the group that the output is in
  Value columns;         // of a tap in the weight
  SmallVector<Value> counts;

  ConvolutionElement(ElementBuilder &e, ComputeOp op, ValueRange indices);
  /// Adds the products of a tap; `tap` has its place along each spatial dim.
  Value addTap(ValueRange tap, Value sum) const;
};

} // namespace

ConvolutionElement::ConvolutionElement(ElementBuilder &e, ComputeOp op, ValueRange indices)
    : e(e), op(op), indices(indices), x(op.getOperand(0)), w(op.getOperand(1)),
      output(indices.back()), type(tensorOf(op.getResult(0)).getElementType()) {
  channels = groupExtent(e, op, e.extent(x, unsigned(indices.size()) - 1));
  first = e.index(0);
  if (intParam(op, "groups") > 1) {
    Value outputs = groupExtent(e, op, e.extent(w, 0));
    first = e.mul(arith::DivUIOp::create(e.b, output, outputs), channels);
  }
  int64_t taps = 1;
  for (int64_t extent : intsParam(op, "kernel")) {
    counts.push_back(e.index(extent));
    taps *= extent;
  }
  columns = channels;
  if (isCode(tensorOf(w).getElementType()))
    columns = arith::DivUIOp::create(e.b, e.extent(w, 1), e.index(taps));
}

Value ConvolutionElement::addTap(ValueRange tap, Value sum) const {
  // Rows without spatial dims are read in place.
  size_t leading = counts.empty() ? indices.size() - 1 : 1;
  SmallVector<Value> place = llvm::to_vector(indices.take_front(leading));
  Value inside, number = e.index(0);
  ComputeOp conv = op;
  for (size_t i = 0; i < counts.size(); ++i) {
    Value from = e.mul(indices[i + 1], e.index(intsParam(conv, "strides")[i]));
    Value at = e.sub(e.add(from, e.mul(tap[i], e.index(intsParam(conv, "dilations")[i]))),
                     e.index(intsParam(conv, "pads_begin")[i]));
    // As an unsigned number, what lies before the image lies far behind it.
    Value here =
        arith::CmpIOp::create(e.b, arith::CmpIPredicate::ult, at, e.extent(x, unsigned(i) + 1));
    inside = inside ? e.all(inside, here) : here;
    number = i ? e.add(e.mul(number, counts[i]), tap[i]) : tap[i];
    place.push_back(at);
  }
  place.push_back(Value());
  auto addChannels = [&](llvm::function_ref<Value(Value)> left) {
    return e.loop(channels, {sum}, [&](Value c, ValueRange inner) {
      Value right = readAs(e, w, {output, e.add(e.mul(number, columns), c)}, type);
      return SmallVector<Value>{addProduct(e, left(c), right, inner[0])};
    });
  };
  auto addInside = [&] {
    return addChannels([&](Value c) {
      place.back() = e.add(first, c);
      return readAs(e, x, place, type);
    });
  };
  if (!inside)
    return addInside()[0];
  return e.either(inside, TypeRange{sum.getType()}, addInside, [&]() -> SmallVector<Value> {
    int64_t outside = hasParam(conv, "outside") ? intParam(conv, "outside") : 0;
    if (outside == 0)
      return {sum};
    return addChannels([&](Value) { return e.integer(type, outside); });
  })[0];
}

static Value convolve(ElementBuilder &e, ComputeOp op, unsigned, ValueRange indices) {
  ConvolutionElement element(e, op, indices);
  Value sum =
      e.loops(element.counts, {e.constant(element.type, 0)}, [&](ValueRange tap, ValueRange outer) {
        return SmallVector<Value>{element.addTap(tap, outer[0])};
      })[0];
  if (op.getOperands().size() < 3)
    return sum;
  Value bias = readAs(e, op.getOperand(2), {element.output}, element.type);
  return isa<FloatType>(sum.getType()) ? arith::AddFOp::create(e.b, sum, bias).getResult()
                                       : e.add(sum, bias);
}

ArrayRef<Operator> graph::imageOperators() {
  static const Operator table[] = {
      {"conv", Cost::Many, nullptr, convolve, nullptr, nullptr, nullptr, false, false,
       verifyConvolution},
  };
  return table;
}
