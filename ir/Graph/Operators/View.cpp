// Operators that put the same elements in other places: a result's element is an operand's element
// somewhere, or a constant.
#include "ir/Graph/Operators.h"

using namespace mlir;
using namespace kiln;
using namespace kiln::graph;

static bool sameDim(RankedTensorType left, unsigned i, RankedTensorType right, unsigned j) {
  if (left.isDynamicDim(i) != right.isDynamicDim(j))
    return false;
  if (!left.isDynamicDim(i))
    return left.getDimSize(i) == right.getDimSize(j);
  auto name = [](RankedTensorType type, unsigned dim) {
    return getDims(type)
        .getSymbols()[llvm::count_if(type.getShape().take_front(dim), ShapedType::isDynamic)];
  };
  return name(left, i) == name(right, j);
}

/// Elements keep their order. Leading dims that both have are kept as they are, so that what is
/// inside them is found without dividing by sizes outside; so are trailing ones.
static Value reshapeElement(ElementBuilder &e, ComputeOp op, unsigned, ValueRange indices) {
  Value input = op.getOperand(0);
  RankedTensorType from = tensorOf(input), to = tensorOf(op.getResult(0));
  int64_t front = 0, back = 0;
  int64_t least = std::min(from.getRank(), to.getRank());
  while (front < least && sameDim(from, front, to, front))
    ++front;
  while (front + back < least &&
         sameDim(from, from.getRank() - 1 - back, to, to.getRank() - 1 - back))
    ++back;
  auto middle = [&](RankedTensorType type, int64_t dim) {
    return dim >= front && dim < type.getRank() - back;
  };
  Value place = e.index(0);
  for (int64_t dim = front; middle(to, dim); ++dim)
    if (to.getDimSize(dim) != 1)
      place = e.add(e.mul(place, e.extent(op.getResult(0), dim)), indices[dim]);
  SmallVector<Value> source(from.getRank());
  int64_t outermost = front;
  while (middle(from, outermost) && from.getDimSize(outermost) == 1)
    ++outermost;
  for (int64_t dim = from.getRank() - 1; dim >= 0; --dim) {
    if (dim < front)
      source[dim] = indices[dim];
    else if (!middle(from, dim))
      source[dim] = indices[to.getRank() - (from.getRank() - dim)];
    else if (from.getDimSize(dim) == 1)
      source[dim] = e.index(0);
    else if (dim == outermost)
      source[dim] = place;
    else {
      Value extent = e.extent(input, dim);
      source[dim] = arith::RemUIOp::create(e.b, place, extent);
      place = arith::DivUIOp::create(e.b, place, extent);
    }
  }
  return e.read(input, source);
}

/// perm as ONNX has it: dim i of the result is dim perm[i] of the operand.
static Value transposeElement(ElementBuilder &e, ComputeOp op, unsigned, ValueRange indices) {
  SmallVector<Value> source(indices.size());
  for (auto [to, from] : llvm::enumerate(intsParam(op, "perm")))
    source[from] = indices[to];
  return e.read(op.getOperand(0), source);
}

static Value broadcastElement(ElementBuilder &e, ComputeOp op, unsigned, ValueRange indices) {
  Value input = op.getOperand(0);
  return e.read(input, broadcastIndices(e, input, tensorOf(op.getResult(0)), indices));
}

/// Elements starts[d] + i * steps[d] of each dim d: params, or the elements of operands 1 and 2,
/// which are held inside the bounds.
static Value sliceElement(ElementBuilder &e, ComputeOp op, unsigned, ValueRange indices) {
  Value input = op.getOperand(0);
  bool given = op.getNumOperands() > 1;
  SmallVector<Value> source;
  for (auto [dim, index] : llvm::enumerate(indices)) {
    if (!given) {
      int64_t start = intsParam(op, "starts")[dim], step = intsParam(op, "steps")[dim];
      Value place = step == 1 ? index : e.mul(index, e.index(step));
      source.push_back(start == 0 ? place : e.add(place, e.index(start)));
      continue;
    }
    auto at = [&, dim = dim](unsigned operand) {
      Value vector = op.getOperand(operand);
      return e.toIndex(e.read(vector, e.index(dim)), tensorOf(vector).getElementType());
    };
    Value place = e.add(at(1), e.mul(index, at(2)));
    Value last = e.sub(e.extent(input, dim), e.index(1));
    source.push_back(e.max(e.min(place, last), e.index(0)));
  }
  return e.read(input, source);
}

/// What a slice with bounds that are computed takes of each dim: operands sizes [r], starts, ends,
/// axes and steps [k] as ONNX has them -> [3, r]: start, size and step. One item.
static void fillSlicePlan(FillBuilder &f, ComputeOp op, ValueRange) {
  Value sizes = op.getOperand(0), starts = op.getOperand(1), ends = op.getOperand(2),
        axes = op.getOperand(3), steps = op.getOperand(4);
  Type i64 = f.b.getI64Type();
  Value zero = f.integer(i64, 0), one = f.integer(i64, 1);
  Value rank = f.extent(sizes, 0);
  f.loop(rank, {}, [&](Value dim, ValueRange) {
    f.write(0, zero, {f.index(0), dim});
    f.write(0, f.read(sizes, dim), {f.index(1), dim});
    f.write(0, one, {f.index(2), dim});
    return SmallVector<Value>();
  });
  f.loop(f.extent(starts, 0), {}, [&](Value k, ValueRange) {
    auto inside = [&](Value vector) { // a hostile number of starts stays inside the others
      return f.max(f.min(k, f.sub(f.extent(vector, 0), f.index(1))), f.index(0));
    };
    Value axis = f.toIndex(f.read(axes, inside(axes)), i64);
    axis = f.select(f.less(axis, f.index(0)), f.add(axis, rank), axis);
    axis = f.max(f.min(axis, f.sub(rank, f.index(1))), f.index(0));
    Value size = f.read(sizes, axis), step = f.read(steps, inside(steps));
    step = f.select(f.equal(step, zero), one, step);
    Value forwards = f.less(zero, step);
    Value low = f.select(forwards, zero, f.integer(i64, -1));
    Value high = f.select(forwards, size, f.sub(size, one));
    auto clamp = [&](Value given, Value least) {
      Value from = f.select(f.less(given, zero), f.add(given, size), given);
      return f.max(f.min(from, high), least);
    };
    Value first = clamp(f.read(starts, k), zero), last = clamp(f.read(ends, inside(ends)), low);
    Value length = f.select(forwards, f.sub(last, first), f.sub(first, last));
    Value stride = f.select(forwards, step, f.sub(zero, step));
    Value count = arith::DivSIOp::create(f.b, f.sub(f.add(length, stride), one), stride);
    f.write(0, first, {f.index(0), axis});
    f.write(0, f.max(count, zero), {f.index(1), axis});
    f.write(0, step, {f.index(2), axis});
    return SmallVector<Value>();
  });
}

/// Operands one behind the other along `axis`.
static Value concatElement(ElementBuilder &e, ComputeOp op, unsigned, ValueRange indices) {
  int64_t axis = intParam(op, "axis");
  Type element = e.codeType(tensorOf(op.getResult(0)).getElementType());
  std::function<Value(unsigned, Value)> from = [&](unsigned operand, Value place) -> Value {
    SmallVector<Value> source(indices);
    source[axis] = place;
    Value input = op.getOperand(operand);
    if (operand + 1 == op.getNumOperands())
      return e.read(input, source);
    Value extent = e.extent(input, axis);
    return e.either(
        e.less(place, extent), element, [&] { return SmallVector<Value>{e.read(input, source)}; },
        [&] { return SmallVector<Value>{from(operand + 1, e.sub(place, extent))}; })[0];
  };
  return from(0, indices[axis]);
}

/// Elements around the operand's: `before` of each dim lie in front (negative: so many of the
/// operand's are left out). mode "constant": operand 1, a scalar; "edge": the nearest; "reflect":
/// mirrored at the edges' elements; "wrap": repeated. With `pads` as last operand its first
/// elements, one of each dim, are `before`.
static Value padElement(ElementBuilder &e, ComputeOp op, unsigned, ValueRange indices) {
  Value input = op.getOperand(0);
  StringRef mode = textParam(op, "mode");
  bool given = intParam(op, "pads_given") != 0;
  Value outside; // whether any index lies outside
  SmallVector<Value> source;
  for (auto [dim, index] : llvm::enumerate(indices)) {
    Value before;
    if (given) {
      Value pads = op.getOperands().back();
      before = e.toIndex(e.read(pads, e.index(dim)), tensorOf(pads).getElementType());
    } else if (intsParam(op, "before")[dim] == 0 &&
               tensorOf(input).getDimSize(dim) == tensorOf(op.getResult(0)).getDimSize(dim) &&
               !tensorOf(input).isDynamicDim(dim)) {
      source.push_back(index);
      continue;
    } else {
      before = e.index(intsParam(op, "before")[dim]);
    }
    Value extent = e.extent(input, dim), zero = e.index(0), one = e.index(1);
    Value place = e.sub(index, before), last = e.sub(extent, one);
    if (mode == "constant") {
      Value bad = e.any(e.less(place, zero), e.less(last, place));
      outside = outside ? e.any(outside, bad) : bad;
    } else if (mode == "reflect") {
      // Positions repeat with a period of 2 (extent - 1).
      Value period = e.max(e.mul(last, e.index(2)), one);
      place = arith::RemSIOp::create(e.b, place, period);
      place = e.select(e.less(place, zero), e.add(place, period), place);
      place = e.select(e.less(last, place), e.sub(period, place), place);
    } else if (mode == "wrap") {
      Value period = e.max(extent, one);
      place = arith::RemSIOp::create(e.b, place, period);
      place = e.select(e.less(place, zero), e.add(place, period), place);
    }
    source.push_back(mode == "constant" ? place : e.max(e.min(place, last), zero));
  }
  if (!outside)
    return e.read(input, source);
  Type element = e.codeType(tensorOf(input).getElementType());
  return e.either(
      outside, element, [&] { return SmallVector<Value>{e.read(op.getOperand(1), ValueRange())}; },
      [&] { return SmallVector<Value>{e.read(input, source)}; })[0];
}

/// Each dim repeated: element i is element i mod extent.
static Value tileElement(ElementBuilder &e, ComputeOp op, unsigned, ValueRange indices) {
  Value input = op.getOperand(0);
  SmallVector<Value> source;
  for (auto [dim, index] : llvm::enumerate(indices))
    source.push_back(sameDim(tensorOf(input), dim, tensorOf(op.getResult(0)), dim)
                         ? index
                         : arith::RemUIOp::create(e.b, index, e.extent(input, dim)).getResult());
  return e.read(input, source);
}

/// The number of each element along `axis`, plus 0; operands: optional start and step, scalars.
static Value iotaElement(ElementBuilder &e, ComputeOp op, unsigned, ValueRange indices) {
  Type type = tensorOf(op.getResult(0)).getElementType();
  Value index = e.fromIndex(indices[intParam(op, "axis")], ElementBuilder::codeType(type));
  if (op.getNumOperands() == 0)
    return index;
  Value start = e.read(op.getOperand(0), ValueRange()),
        step = e.read(op.getOperand(1), ValueRange());
  if (isa<FloatType>(type))
    return arith::AddFOp::create(e.b, start, arith::MulFOp::create(e.b, index, step));
  return e.add(start, e.mul(index, step));
}

/// Values of expressions of the dims: element i is the i-th of `values`, a map over the dims that
/// `dims` names.
static Value dimsElement(ElementBuilder &e, ComputeOp op, unsigned, ValueRange indices) {
  AffineMap map = op.getParams().getAs<AffineMapAttr>("values").getValue();
  auto names = op.getParams().getAs<ArrayAttr>("dims").getAsRange<FlatSymbolRefAttr>();
  SmallVector<Value> dims;
  for (FlatSymbolRefAttr name : names)
    dims.push_back(e.dim(name));
  std::function<Value(AffineExpr)> build = [&](AffineExpr expr) -> Value {
    if (auto constant = dyn_cast<AffineConstantExpr>(expr))
      return e.index(constant.getValue());
    if (auto symbol = dyn_cast<AffineSymbolExpr>(expr))
      return dims[symbol.getPosition()];
    auto binary = cast<AffineBinaryOpExpr>(expr);
    Value left = build(binary.getLHS()), right = build(binary.getRHS());
    switch (expr.getKind()) {
    case AffineExprKind::Add:
      return e.add(left, right);
    case AffineExprKind::Mul:
      return e.mul(left, right);
    case AffineExprKind::FloorDiv:
      return arith::FloorDivSIOp::create(e.b, left, right);
    case AffineExprKind::CeilDiv:
      return arith::CeilDivSIOp::create(e.b, left, right);
    default:
      return arith::RemSIOp::create(e.b, left, right);
    }
  };
  Value value = build(map.getResult(0));
  for (unsigned i = 1; i < map.getNumResults(); ++i)
    value = e.select(e.equal(indices[0], e.index(i)), build(map.getResult(i)), value);
  return e.fromIndex(value, tensorOf(op.getResult(0)).getElementType());
}

/// The larger of sizes [r] and a vector of at most as many, aligned at the end.
static Value expandedSizesElement(ElementBuilder &e, ComputeOp op, unsigned, ValueRange indices) {
  Value sizes = op.getOperand(0), wanted = op.getOperand(1);
  Value place = e.sub(indices[0], e.sub(e.extent(sizes, 0), e.extent(wanted, 0)));
  Value own = e.read(sizes, indices), zero = e.index(0);
  Value last = e.sub(e.extent(wanted, 0), e.index(1));
  Value inside = e.all(e.less(e.index(-1), place), e.less(e.index(-1), last));
  Value size = e.either(
      inside, own.getType(),
      [&] { return SmallVector<Value>{e.read(wanted, e.max(e.min(place, last), zero))}; },
      [&] { return SmallVector<Value>{own}; })[0];
  return e.max(own, size);
}

/// The sizes of a tensor, operand 0 [r], with dims put in or taken out at the axes of operand 1
/// [k]; the result has as many elements as it has dims.
static void fillSqueezedSizes(FillBuilder &f, ComputeOp op, bool puts) {
  Value sizes = op.getOperand(0), axes = op.getOperand(1);
  Type i64 = f.b.getI64Type();
  Value rank = f.extent(puts ? op.getResult(0) : sizes, 0); // axes count its dims
  Value wide = arith::IndexCastOp::create(f.b, i64, rank);
  Value last = f.sub(f.extent(puts ? sizes : op.getResult(0), 0), f.index(1));
  f.loop(rank, f.index(0), [&](Value dim, ValueRange next) {
    Value here = arith::IndexCastOp::create(f.b, i64, dim);
    Value isAxis =
        f.loop(f.extent(axes, 0), f.integer(f.b.getI1Type(), 0), [&](Value k, ValueRange found) {
          Value axis = f.read(axes, k);
          axis = f.select(f.less(axis, f.integer(i64, 0)), f.add(axis, wide), axis);
          return SmallVector<Value>{f.any(found[0], f.equal(axis, here))};
        })[0];
    Value place = f.max(f.min(next[0], last), f.index(0)); // hostile axes stay inside
    if (puts)
      f.write(0, f.select(isAxis, f.integer(i64, 1), f.read(sizes, place)), dim);
    else
      f.either(
          isAxis, {}, [] { return SmallVector<Value>(); },
          [&] {
            f.write(0, f.read(sizes, dim), place);
            return SmallVector<Value>();
          });
    return SmallVector<Value>{f.select(isAxis, next[0], f.add(next[0], f.index(1)))};
  });
}

/// A row put into a tensor at the place that a scalar tells, in place: operands tensor [n, …], row
/// […], place.
static void updateRow(FillBuilder &f, ComputeOp op, ValueRange) {
  Value place = op.getOperand(2), row = op.getOperand(1), tensor = op.getOperand(0);
  Value at = f.toIndex(f.read(place, ValueRange()), tensorOf(place).getElementType());
  SmallVector<Value> counts;
  for (int64_t dim = 0; dim < tensorOf(row).getRank(); ++dim)
    counts.push_back(f.extent(row, dim));
  Value inside = f.all(f.less(f.index(-1), at), f.less(at, f.extent(tensor, 0)));
  Value rows = f.select(inside, f.index(1), f.index(0));
  counts.insert(counts.begin(), rows);
  f.loops(counts, {}, [&](ValueRange indices, ValueRange) {
    SmallVector<Value> to(indices);
    to[0] = at;
    f.write(0, f.read(row, indices.drop_front()), to);
    return SmallVector<Value>();
  });
}

#define VIEW(name, function)                                                                       \
  Operator { name, Cost::Index, nullptr, function }
#define REPEATING(name, function)                                                                  \
  Operator { name, Cost::Index, nullptr, function, nullptr, nullptr, nullptr, false, true }

ArrayRef<Operator> graph::viewOperators() {
  static const Operator table[] = {
      VIEW("reshape", reshapeElement),
      VIEW("transpose", transposeElement),
      REPEATING("broadcast", broadcastElement),
      VIEW("slice", sliceElement),
      VIEW("concat", concatElement),
      VIEW("pad", padElement),
      REPEATING("tile", tileElement),
      VIEW("iota", iotaElement),
      VIEW("dims", dimsElement),
      VIEW("expanded_sizes", expandedSizesElement),
      Operator{"slice_plan", Cost::Fill, nullptr, nullptr, fillSlicePlan},
      Operator{"unsqueezed_sizes", Cost::Fill, nullptr, nullptr,
               [](FillBuilder &f, ComputeOp op, ValueRange) { fillSqueezedSizes(f, op, true); }},
      Operator{"squeezed_sizes", Cost::Fill, nullptr, nullptr,
               [](FillBuilder &f, ComputeOp op, ValueRange) { fillSqueezedSizes(f, op, false); }},
      Operator{"update_row", Cost::Fill, nullptr, nullptr, updateRow, nullptr, nullptr, true},
  };
  return table;
}
