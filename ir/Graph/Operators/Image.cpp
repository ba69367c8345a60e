// Convolution, pooling and resampling of images, channels last.
#include "ir/Graph/Operators/Arithmetic.h"
#include "ir/Graph/Operators/Window.h"

using namespace mlir;
using namespace kiln;
using namespace kiln::graph;

// ---- Windows ----------------------------------------------------------------------------------

/// Checks the params of a window that slides over the spatial dims of `x` [N, spatial..., C], and
/// that the result's are as many positions as it has.
static LogicalResult verifyWindow(ComputeOp op, RankedTensorType x, RankedTensorType result) {
  if (x.getRank() < 3 || result.getRank() != x.getRank())
    return op.emitOpError() << "takes and gives [N, spatial dims, C], found " << x << " and "
                            << result;
  size_t spatial = size_t(x.getRank()) - 2;
  for (auto [name, least] : {std::pair<StringRef, int64_t>("kernel", 1),
                             {"strides", 1},
                             {"pads_begin", 0},
                             {"pads_end", 0},
                             {"dilations", 1}})
    if (failed(verifyInts(op, name, spatial, least)))
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

// conv(x [N, spatial..., C], w [M, taps * C/groups], [bias [M]]): taps outermost in w, the last
// spatial dim fastest among them; outside of x are zeros.
static LogicalResult verifyConvolution(ComputeOp op) {
  size_t operands = op.getOperands().size();
  if (operands < 2 || operands > 3 || op.getNumResults() != 1)
    return op.emitOpError() << "takes an image, a weight and perhaps a bias";
  RankedTensorType x = tensorOf(op.getOperand(0)), w = tensorOf(op.getOperand(1)),
                   result = tensorOf(op.getResult(0));
  if (failed(verifyWindow(op, x, result)))
    return failure();
  auto groups = op.getParams().getAs<IntegerAttr>("groups");
  int64_t channels = x.getShape().back(), outputs = result.getShape().back();
  auto divides = [&](int64_t size) {
    return ShapedType::isDynamic(size) || size % groups.getInt() == 0;
  };
  if (!groups || groups.getInt() < 1 || !divides(channels) || !divides(outputs))
    return op.emitOpError() << "needs 'groups', which divides " << channels << " and " << outputs
                            << " channels";
  int64_t taps = 1, depth = 0;
  for (int64_t extent : intsParam(op, "kernel"))
    if (llvm::MulOverflow(taps, extent, taps))
      return op.emitOpError() << "its window is too large";
  // Of sizes that are not static the importer has made sure.
  auto differ = [](int64_t x, int64_t y) {
    return x != y && !ShapedType::isDynamic(x) && !ShapedType::isDynamic(y);
  };
  bool isDeep = !ShapedType::isDynamic(channels) &&
                llvm::MulOverflow(taps, channels / groups.getInt(), depth);
  if (ShapedType::isDynamic(channels))
    depth = ShapedType::kDynamic;
  if (isDeep || w.getRank() != 2 || differ(w.getDimSize(0), outputs) ||
      differ(w.getDimSize(1), depth))
    return op.emitOpError() << "expected a weight of " << outputs << "x" << depth << ", found "
                            << w;
  if (operands == 3)
    if (RankedTensorType bias = tensorOf(op.getOperand(2));
        bias.getRank() != 1 || differ(bias.getDimSize(0), outputs))
      return op.emitOpError() << "expected a bias of " << outputs << ", found " << bias;
  return success();
}

/// An element as the result's type has it.
static Value readAs(ElementBuilder &e, Value tensor, ValueRange indices, Type type) {
  return e.convert(e.read(tensor, indices), tensorOf(tensor).getElementType(), type);
}

static Value convolve(ElementBuilder &e, ComputeOp op, unsigned, ValueRange indices) {
  Value x = op.getOperand(0), w = op.getOperand(1);
  Type type = tensorOf(op.getResult(0)).getElementType();
  size_t spatial = indices.size() - 2;
  Value output = indices.back(), first = e.index(0);
  Value channels = groupExtent(e, op, e.extent(x, unsigned(spatial) + 1));
  if (intParam(op, "groups") > 1) {
    Value outputs = groupExtent(e, op, e.extent(w, 0));
    first = e.mul(arith::DivUIOp::create(e.b, output, outputs), channels);
  }
  SmallVector<Value> counts;
  for (int64_t extent : intsParam(op, "kernel"))
    counts.push_back(e.index(extent));
  Value zero = e.constant(type, 0);
  Value sum = e.loops(counts, {zero}, [&](ValueRange tap, ValueRange outer) {
    SmallVector<Value> place{indices.front()};
    Value inside, number;
    for (size_t i = 0; i < spatial; ++i) {
      Value from = e.mul(indices[i + 1], e.index(intsParam(op, "strides")[i]));
      Value at = e.sub(e.add(from, e.mul(tap[i], e.index(intsParam(op, "dilations")[i]))),
                       e.index(intsParam(op, "pads_begin")[i]));
      // As an unsigned number, what lies before the image lies far behind it.
      Value here =
          arith::CmpIOp::create(e.b, arith::CmpIPredicate::ult, at, e.extent(x, unsigned(i) + 1));
      inside = inside ? e.all(inside, here) : here;
      number = number ? e.add(e.mul(number, counts[i]), tap[i]) : tap[i];
      place.push_back(at);
    }
    place.push_back(Value());
    return e.either(
        inside, TypeRange{zero.getType()},
        [&]() -> SmallVector<Value> {
          return e.loop(channels, outer, [&](Value c, ValueRange inner) {
            place.back() = e.add(first, c);
            Value depth = e.add(e.mul(number, channels), c);
            Value left = readAs(e, x, place, type), right = readAs(e, w, {output, depth}, type);
            if (isa<FloatType>(zero.getType()))
              return SmallVector<Value>{math::FmaOp::create(e.b, left, right, inner[0])};
            return SmallVector<Value>{e.add(inner[0], e.mul(left, right))};
          });
        },
        [&] { return SmallVector<Value>{outer[0]}; });
  })[0];
  if (op.getOperands().size() < 3)
    return sum;
  Value bias = readAs(e, op.getOperand(2), {output}, type);
  return isa<FloatType>(zero.getType()) ? arith::AddFOp::create(e.b, sum, bias).getResult()
                                        : e.add(sum, bias);
}

ArrayRef<Operator> graph::imageOperators() {
  static const Operator table[] = {
      {"conv", Cost::Many, nullptr, convolve, nullptr, nullptr, nullptr, false, false,
       verifyConvolution},
  };
  return table;
}
