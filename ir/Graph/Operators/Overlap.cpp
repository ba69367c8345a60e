// Windows whose parts overlap in the result, or lie anywhere: transposed convolution, the images
// that columns were made of, deformed convolution.
#include "ir/Graph/Operators.h"
#include "ir/Graph/Operators/Window.h"

using namespace mlir;
using namespace kiln;
using namespace kiln::graph;

/// Whether `at` is a multiple of `step` and the quotient lies in 0 .. extent - 1; and the quotient.
static std::pair<Value, Value> stepsTo(ElementBuilder &e, Value at, Value step, Value extent) {
  Value quotient = arith::DivSIOp::create(e.b, at, step);
  Value exact = e.equal(e.mul(quotient, step), at);
  Value inside = arith::CmpIOp::create(e.b, arith::CmpIPredicate::ult, quotient, extent);
  return {e.all(exact, inside), quotient};
}

// conv_transpose(x [N, spatial..., C], w [M, taps * C/groups], [bias [M]]): taps outermost in w as
// in conv; element o of a spatial dim gathers x[i] through tap k where i * stride + k * dilation =
// o + pads_begin.
static Value convolveTransposed(ElementBuilder &e, ComputeOp op, unsigned, ValueRange indices) {
  Value x = op.getOperand(0), w = op.getOperand(1);
  Arithmetic a(e, elementOf(op.getResult(0)));
  Value channels = groupExtent(e, op, e.extent(x, unsigned(indices.size()) - 1));
  Value output = indices.back(), first = e.index(0);
  if (intParam(op, "groups") > 1) {
    Value outputs = groupExtent(e, op, e.extent(w, 0));
    first = e.mul(arith::DivUIOp::create(e.b, output, outputs), channels);
  }
  SmallVector<Value> counts;
  for (int64_t extent : intsParam(op, "kernel"))
    counts.push_back(e.index(extent));
  Value sum = e.loops(counts, a.constant(0), [&](ValueRange tap, ValueRange outer) {
    SmallVector<Value> place{indices.front()};
    Value inside, number;
    for (unsigned i = 0; i < tap.size(); ++i) {
      Value at = e.add(indices[i + 1], e.index(intsParam(op, "pads_begin")[i]));
      at = e.sub(at, e.mul(tap[i], e.index(intsParam(op, "dilations")[i])));
      auto [here, source] =
          stepsTo(e, at, e.index(intsParam(op, "strides")[i]), e.extent(x, i + 1));
      inside = inside ? e.all(inside, here) : here;
      number = number ? e.add(e.mul(number, counts[i]), tap[i]) : tap[i];
      place.push_back(source);
    }
    place.push_back(Value());
    return e.either(
        inside, a.code,
        [&] {
          return e.loop(channels, outer, [&](Value c, ValueRange inner) {
            place.back() = e.add(first, c);
            Value depth = e.add(e.mul(number, channels), c);
            return SmallVector<Value>{
                a.addProduct(inner[0], a.read(x, place), a.read(w, {output, depth}))};
          });
        },
        [&] { return SmallVector<Value>{outer[0]}; });
  })[0];
  return op.getNumOperands() < 3 ? sum : a.add(sum, a.read(op.getOperand(2), output));
}

static LogicalResult verifyTransposed(ComputeOp op) {
  if (failed(verifyCounts(op, 2, 3)) || failed(verifyWindowParams(op)) ||
      failed(verifyInt(op, "groups", 1, INT32_MAX)))
    return failure();
  RankedTensorType x = tensorOf(op.getOperand(0)), w = tensorOf(op.getOperand(1));
  // Of sizes that are not static the importer has made sure.
  auto differ = [](int64_t left, int64_t right) {
    return left != right && !ShapedType::isDynamic(left) && !ShapedType::isDynamic(right);
  };
  int64_t channels = x.getShape().back(), groups = intParam(op, "groups");
  bool isDynamic = ShapedType::isDynamic(channels);
  if (w.getRank() != 2 || (!isDynamic && channels % groups) ||
      (!w.isDynamicDim(0) && w.getDimSize(0) % groups) ||
      differ(tensorOf(op.getResult(0)).getShape().back(), w.getDimSize(0)))
    return op.emitOpError() << "weight " << w << " does not fit " << x;
  int64_t depth = isDynamic ? 1 : channels / groups;
  for (int64_t extent : intsParam(op, "kernel"))
    if (llvm::MulOverflow(depth, extent, depth))
      return op.emitOpError() << "its window is too large";
  if (!isDynamic && differ(w.getDimSize(1), depth))
    return op.emitOpError() << "expected a weight of depth " << depth << ", found " << w;
  return success();
}

// col2im(x [N, C * taps, positions], image, window): the sums of the columns' elements where they
// lie in images [N, C, spatial...]; operands 1 and 2 are vectors of the spatial dims, i64.
static Value columnsToImage(ElementBuilder &e, ComputeOp op, unsigned, ValueRange indices) {
  Value x = op.getOperand(0), window = op.getOperand(2);
  Arithmetic a(e, elementOf(x));
  unsigned spatial = unsigned(indices.size()) - 2;
  SmallVector<Value> counts, positions;
  for (unsigned i = 0; i < spatial; ++i) {
    Value taps = e.max(e.toIndex(e.read(window, e.index(i)), elementOf(window)), e.index(0));
    counts.push_back(taps);
    Value reach = e.mul(e.sub(taps, e.index(1)), e.index(intsParam(op, "dilations")[i]));
    Value padded = e.add(e.extent(op.getResult(0), i + 2),
                         e.index(intsParam(op, "pads_begin")[i] + intsParam(op, "pads_end")[i]));
    Value room = e.sub(e.sub(padded, reach), e.index(1));
    Value steps = arith::DivSIOp::create(e.b, room, e.index(intsParam(op, "strides")[i]));
    positions.push_back(e.max(e.add(steps, e.index(1)), e.index(0)));
  }
  return e.loops(counts, a.constant(0), [&](ValueRange tap, ValueRange state) {
    Value inside, row = indices[1], column = e.index(0);
    for (unsigned i = 0; i < spatial; ++i) {
      Value at = e.add(indices[i + 2], e.index(intsParam(op, "pads_begin")[i]));
      at = e.sub(at, e.mul(tap[i], e.index(intsParam(op, "dilations")[i])));
      auto [here, position] = stepsTo(e, at, e.index(intsParam(op, "strides")[i]), positions[i]);
      inside = inside ? e.all(inside, here) : here;
      row = e.add(e.mul(row, counts[i]), tap[i]);
      column = e.add(e.mul(column, positions[i]), position);
    }
    // What the operands claim must also lie in x.
    inside = e.all(inside, e.all(e.less(row, e.extent(x, 1)), e.less(column, e.extent(x, 2))));
    return e.either(
        inside, a.code,
        [&] { return SmallVector<Value>{a.add(state[0], e.read(x, {indices[0], row, column}))}; },
        [&] { return SmallVector<Value>{state[0]}; });
  })[0];
}

static LogicalResult verifyColumnsToImage(ComputeOp op) {
  if (failed(verifyCounts(op, 3, 3)))
    return failure();
  int64_t rank = tensorOf(op.getResult(0)).getRank();
  if (tensorOf(op.getOperand(0)).getRank() != 3 || rank < 3)
    return op.emitOpError() << "takes columns of 3 dims and gives [N, C, spatial dims]";
  for (Value operand : op.getOperands().drop_front())
    if (tensorOf(operand).getRank() != 1 || tensorOf(operand).getDimSize(0) != rank - 2)
      return op.emitOpError() << "takes vectors of " << rank - 2 << " elements, found "
                              << tensorOf(operand);
  for (auto [name, least] : {std::pair<StringRef, int64_t>("strides", 1),
                             {"dilations", 1},
                             {"pads_begin", 0},
                             {"pads_end", 0}})
    if (failed(verifyInts(op, name, size_t(rank) - 2, least)))
      return failure();
  return success();
}

// deform_conv(x [N, C, H, W], w [M, C/groups, kh, kw], offset [N, og * kh * kw * 2, oh, ow],
// [mask [N, og * kh * kw, oh, ow]], [bias [M]]): taps moved by offsets, between elements by
// interpolation. Params `mask`, `bias`: the operands' positions or -1.
static Value convolveDeformed(ElementBuilder &e, ComputeOp op, unsigned, ValueRange indices) {
  Value x = op.getOperand(0), w = op.getOperand(1), offset = op.getOperand(2);
  Arithmetic a(e, elementOf(x));
  int64_t groups = intParam(op, "groups"), parts = intParam(op, "offset_groups");
  Value channels = e.extent(w, 1), rows = e.extent(w, 2), columns = e.extent(w, 3);
  Value outputs = arith::DivUIOp::create(e.b, e.extent(w, 0), e.index(groups));
  Value base = e.mul(arith::DivUIOp::create(e.b, indices[1], outputs), channels);
  Value perPart = arith::DivUIOp::create(e.b, e.extent(x, 1), e.index(parts));
  Value taps = e.mul(rows, columns);
  Value sum =
      e.loops({channels, rows, columns}, a.constant(0), [&](ValueRange at, ValueRange state) {
        Value channel = e.add(base, at[0]);
        Value part = arith::DivUIOp::create(e.b, channel, perPart);
        Value tap = e.add(e.mul(at[1], columns), at[2]);
        Value number = e.add(e.mul(part, taps), tap);
        Value low[2], ratio[2];
        for (unsigned dim = 0; dim < 2; ++dim) {
          Value start = e.sub(e.mul(indices[dim + 2], e.index(intsParam(op, "strides")[dim])),
                              e.index(intsParam(op, "pads_begin")[dim]));
          start = e.add(start, e.mul(at[dim + 1], e.index(intsParam(op, "dilations")[dim])));
          Value which = e.add(e.mul(number, e.index(2)), e.index(dim));
          Value moved = a.read(offset, {indices[0], which, indices[2], indices[3]});
          Value place = a.add(e.fromIndex(start, a.code), moved);
          // Far outside all is zero: the places there may be anything.
          Value far = e.constant(a.code, 1e9);
          place = a.min(a.max(place, e.constant(a.code, -1e9)), far);
          Value whole = math::FloorOp::create(e.b, place);
          ratio[dim] = a.sub(place, whole);
          Value wide = arith::FPToSIOp::create(e.b, e.b.getI64Type(), whole);
          low[dim] = arith::IndexCastOp::create(e.b, e.b.getIndexType(), wide);
        }
        Value element = a.constant(0);
        for (unsigned corner = 0; corner < 4; ++corner) {
          Value weight, inside, place[2];
          for (unsigned dim = 0; dim < 2; ++dim) {
            bool upper = corner >> dim & 1;
            place[dim] = upper ? e.add(low[dim], e.index(1)) : low[dim];
            Value share = upper ? ratio[dim] : a.sub(a.constant(1), ratio[dim]);
            weight = weight ? a.mul(weight, share) : share;
            Value extent = e.extent(x, dim + 2);
            Value here = arith::CmpIOp::create(e.b, arith::CmpIPredicate::ult, place[dim], extent);
            inside = inside ? e.all(inside, here) : here;
            place[dim] = e.max(e.min(place[dim], e.sub(extent, e.index(1))), e.index(0));
          }
          Value value = e.read(x, {indices[0], channel, place[0], place[1]});
          element = a.add(element, e.select(inside, a.mul(weight, value), a.constant(0)));
        }
        if (int64_t mask = intParam(op, "mask"); mask >= 0)
          element = a.mul(element, a.read(op.getOperand(unsigned(mask)),
                                          {indices[0], number, indices[2], indices[3]}));
        Value weight = a.read(w, {indices[1], at[0], at[1], at[2]});
        return SmallVector<Value>{a.add(state[0], a.mul(weight, element))};
      })[0];
  int64_t bias = intParam(op, "bias");
  return bias < 0 ? sum : a.add(sum, a.read(op.getOperand(unsigned(bias)), indices[1]));
}

static LogicalResult verifyDeformed(ComputeOp op) {
  if (failed(verifyCounts(op, 3, 5)))
    return failure();
  int64_t last = int64_t(op.getNumOperands()) - 1;
  if (failed(verifyInt(op, "groups", 1, INT32_MAX)) ||
      failed(verifyInt(op, "offset_groups", 1, INT32_MAX)) ||
      failed(verifyInt(op, "mask", -1, last)) || failed(verifyInt(op, "bias", -1, last)) ||
      failed(verifyInts(op, "strides", 2, 1)) || failed(verifyInts(op, "dilations", 2, 1)) ||
      failed(verifyInts(op, "pads_begin", 2, 0)))
    return failure();
  for (Value operand : op.getOperands().take_front(3))
    if (tensorOf(operand).getRank() != 4)
      return op.emitOpError() << "takes tensors of 4 dims, found " << tensorOf(operand);
  if (!isa<FloatType>(elementOf(op.getOperand(0))) || tensorOf(op.getResult(0)).getRank() != 4)
    return op.emitOpError() << "takes and gives floats of 4 dims";
  return success();
}

/// frames(x [batch, length, parts], step) [batch, frames, size, parts]: frame i begins at element
/// i * step.
static Value frameElement(ElementBuilder &e, ComputeOp op, unsigned, ValueRange indices) {
  Value x = op.getOperand(0), step = op.getOperand(1);
  SmallVector<Value> none(tensorOf(step).getRank(), e.index(0));
  Value start = e.mul(indices[1], e.toIndex(e.read(step, none), elementOf(step)));
  Value place = e.add(start, indices[2]);
  place = e.max(e.min(place, e.sub(e.extent(x, 1), e.index(1))), e.index(0));
  return e.read(x, {indices[0], place, indices[3]});
}

static LogicalResult verifyFrames(ComputeOp op) {
  if (failed(verifyCounts(op, 2, 2)))
    return failure();
  RankedTensorType step = tensorOf(op.getOperand(1));
  if (tensorOf(op.getOperand(0)).getRank() != 3 || tensorOf(op.getResult(0)).getRank() != 4 ||
      step.getRank() > 1 || !isa<IntegerType>(step.getElementType()))
    return op.emitOpError() << "takes [batch, length, parts] and an integer, gives 4 dims";
  return success();
}

ArrayRef<Operator> graph::overlapOperators() {
#define SUM(name, function, verify)                                                                \
  Operator { name, Cost::Many, nullptr, function, nullptr, nullptr, nullptr, false, false, verify }
  static const Operator table[] = {
      SUM("conv_transpose", convolveTransposed, verifyTransposed),
      SUM("col2im", columnsToImage, verifyColumnsToImage),
      SUM("deform_conv", convolveDeformed, verifyDeformed),
      Operator{"frames", Cost::Index, nullptr, frameElement, nullptr, nullptr, nullptr, false, true,
               verifyFrames},
  };
  return table;
#undef SUM
}
