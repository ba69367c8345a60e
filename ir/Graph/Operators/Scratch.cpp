// Sorting by merging, from runs of one element up: each pass merges pairs of runs into the spare
// array and copies them back.
#include "ir/Graph/Operators/Scratch.h"

using namespace mlir;
using namespace kiln;
using namespace kiln::graph;

Value graph::isLess(ElementBuilder &e, Type element, Value x, Value y) {
  if (isa<FloatType>(element))
    return arith::CmpFOp::create(e.b, arith::CmpFPredicate::OLT, x, y);
  bool isUnsigned = element.isUnsignedInteger() || element.isInteger(1);
  return arith::CmpIOp::create(
      e.b, isUnsigned ? arith::CmpIPredicate::ult : arith::CmpIPredicate::slt, x, y);
}

Value graph::isEqual(ElementBuilder &e, Value x, Value y) {
  if (isa<FloatType>(x.getType()))
    return arith::CmpFOp::create(e.b, arith::CmpFPredicate::OEQ, x, y);
  return e.equal(x, y);
}

void graph::sortNumbers(FillBuilder &f, const ScratchArray &numbers, const ScratchArray &spare,
                        Value count, Precedes precedes) {
  Value one = f.index(1), last = f.sub(count, one);
  // Passes: how often 1 must be doubled to reach count.
  Value wide = arith::IndexCastOp::create(f.b, f.b.getI64Type(), f.max(last, f.index(0)));
  Value zeros = math::CountLeadingZerosOp::create(f.b, wide);
  Value passes = f.sub(f.index(64), arith::IndexCastOp::create(f.b, f.b.getIndexType(), zeros));
  f.loop(passes, one, [&](Value, ValueRange state) {
    Value width = state[0], twice = f.mul(width, f.index(2));
    Value pairs = arith::CeilDivUIOp::create(f.b, count, twice);
    f.loop(pairs, {}, [&](Value pair, ValueRange) {
      Value low = f.mul(pair, twice);
      Value middle = f.min(f.add(low, width), count), high = f.min(f.add(low, twice), count);
      f.loop(f.sub(high, low), {low, middle}, [&](Value i, ValueRange fronts) {
        Value left = fronts[0], right = fronts[1];
        // A run that is used up is read at a place inside, and not taken.
        Value a = numbers.getIndex(f.min(left, last)), c = numbers.getIndex(f.min(right, last));
        Value isLeftOver = f.less(left, middle), isRightOver = f.less(right, high);
        Value takeRight = f.all(
            isRightOver, f.any(f.equal(isLeftOver, f.integer(f.b.getI1Type(), 0)), precedes(c, a)));
        spare.setIndex(f.add(low, i), f.select(takeRight, c, a));
        return SmallVector<Value>{f.select(takeRight, left, f.add(left, one)),
                                  f.select(takeRight, f.add(right, one), right)};
      });
      return SmallVector<Value>();
    });
    f.loop(count, {}, [&](Value i, ValueRange) {
      numbers.set(i, spare.get(i));
      return SmallVector<Value>();
    });
    return SmallVector<Value>{twice};
  });
}

SmallVector<unsigned> graph::dimsBesideAxis(ComputeOp op) {
  SmallVector<unsigned> dims;
  for (int64_t dim = 0; dim < tensorOf(op.getResult(0)).getRank(); ++dim)
    if (dim != intParam(op, "axis"))
      dims.push_back(unsigned(dim));
  return dims;
}

SmallVector<Value> graph::alongAxis(ComputeOp op, ValueRange item, Value place) {
  SmallVector<Value> indices(item);
  indices.insert(indices.begin() + intParam(op, "axis"), place);
  return indices;
}
