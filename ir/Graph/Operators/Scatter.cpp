// Scatter: a copy of a tensor with elements put where other tensors tell, or combined with what is
// there. Places outside a dim are brought to the nearest inside. Of several updates of one place
// the last counts; the items of these operators never share a place, so their order is that of
// memory.
#include "ir/Graph/Operators/Scratch.h"

using namespace mlir;
using namespace kiln;
using namespace kiln::graph;

/// What is there (of result 0, at `to`) with an update, by the param `reduction`.
static Value combined(FillBuilder &f, ComputeOp op, ValueRange to, Value update) {
  StringRef reduction = textParam(op, "reduction");
  if (reduction == "none")
    return update;
  Type element = tensorOf(op.getResult(0)).getElementType();
  bool isFloat = isa<FloatType>(element);
  Value old = f.readBack(0, to);
  if (reduction == "add")
    return isFloat ? arith::AddFOp::create(f.b, old, update).getResult() : f.add(old, update);
  if (reduction == "mul")
    return isFloat ? arith::MulFOp::create(f.b, old, update).getResult() : f.mul(old, update);
  if (isFloat) // NaN stays
    return reduction == "min" ? arith::MinimumFOp::create(f.b, old, update).getResult()
                              : arith::MaximumFOp::create(f.b, old, update).getResult();
  Value less = isLess(f, element, update, old);
  return reduction == "min" ? f.select(less, update, old) : f.select(less, old, update);
}

/// data, indices, updates of one rank: updates[i] goes to data at i with indices[i] along `axis`.
/// An item is a line of data along the axis.
static void scatterElements(FillBuilder &f, ComputeOp op, ValueRange item) {
  Value data = op.getOperand(0), indices = op.getOperand(1), updates = op.getOperand(2);
  int64_t axis = intParam(op, "axis");
  Value extent = f.extent(data, axis);
  f.loop(extent, {}, [&](Value i, ValueRange) {
    SmallVector<Value> at = alongAxis(op, item, i);
    f.write(0, f.read(data, at), at);
    return SmallVector<Value>();
  });
  Value inside = f.less(f.index(0), extent);
  for (auto [position, dim] : llvm::enumerate(dimsBesideAxis(op)))
    inside = f.all(inside, f.less(item[position], f.extent(indices, dim)));
  Value count = f.select(inside, f.extent(indices, axis), f.index(0));
  f.loop(count, {}, [&](Value i, ValueRange) {
    SmallVector<Value> from = alongAxis(op, item, i);
    Value place = f.placeIn(f.readIndex(indices, from), extent);
    SmallVector<Value> to = alongAxis(op, item, place);
    f.write(0, combined(f, op, to, f.read(updates, from)), to);
    return SmallVector<Value>();
  });
}

/// Dims of a slice that scatter_nd puts somewhere.
static int64_t sliceRank(ComputeOp op) {
  RankedTensorType places = tensorOf(op.getOperand(1));
  return tensorOf(op.getOperand(0)).getRank() - places.getDimSize(places.getRank() - 1);
}

/// Slices of some dims are cut into items, along the first of them.
static SmallVector<unsigned> scatterNdItems(ComputeOp op) {
  int64_t rank = tensorOf(op.getOperand(0)).getRank(), slice = sliceRank(op);
  if (slice < 2)
    return {};
  return {unsigned(rank - slice)};
}

/// data, indices [outer…, k], updates [outer…, slice…]: slices of the dims of data behind the first
/// k go where the k indices tell.
static void scatterNd(FillBuilder &f, ComputeOp op, ValueRange item) {
  Value data = op.getOperand(0), indices = op.getOperand(1), updates = op.getOperand(2);
  int64_t rank = tensorOf(data).getRank(), outer = tensorOf(indices).getRank() - 1;
  int64_t slice = sliceRank(op), depth = rank - slice;
  SmallVector<Value> counts, inner;
  for (int64_t dim = 0; dim < rank; ++dim) {
    if (item.size() && dim == depth)
      continue;
    counts.push_back(f.extent(data, dim));
    if (dim >= depth)
      inner.push_back(f.extent(data, dim));
  }
  f.loops(counts, {}, [&](ValueRange places, ValueRange) {
    SmallVector<Value> at(places);
    at.insert(at.begin() + depth, item.begin(), item.end());
    f.write(0, f.read(data, at), at);
    return SmallVector<Value>();
  });
  Value filled = f.integer(f.b.getI1Type(), 1);
  for (int64_t dim = 0; dim < depth; ++dim)
    filled = f.all(filled, f.less(f.index(0), f.extent(data, dim)));
  SmallVector<Value> rounds{f.select(filled, f.index(1), f.index(0))};
  for (int64_t dim = 0; dim < outer; ++dim)
    rounds.push_back(f.extent(indices, dim));
  f.loops(rounds, {}, [&](ValueRange round, ValueRange) {
    SmallVector<Value> to;
    for (int64_t i = 0; i < depth; ++i) {
      SmallVector<Value> from(round.drop_front());
      from.push_back(f.index(i));
      to.push_back(f.placeIn(f.readIndex(indices, from), f.extent(data, i)));
    }
    f.loops(inner, {}, [&](ValueRange places, ValueRange) {
      SmallVector<Value> from(round.drop_front()), target(to);
      for (SmallVector<Value> *indices : {&from, &target}) {
        llvm::append_range(*indices, item);
        llvm::append_range(*indices, places);
      }
      f.write(0, combined(f, op, target, f.read(updates, from)), target);
      return SmallVector<Value>();
    });
    return SmallVector<Value>();
  });
}

ArrayRef<Operator> graph::scatterOperators() {
  static const Operator table[] = {
      Operator{"scatter_elements", Cost::Fill, nullptr, nullptr, scatterElements, dimsBesideAxis},
      Operator{"scatter_nd", Cost::Fill, nullptr, nullptr, scatterNd, scatterNdItems},
  };
  return table;
}
