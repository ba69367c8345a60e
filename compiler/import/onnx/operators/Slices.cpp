// Slices, pads and crops. Where the places are inputs of the model, sizes are computed in the
// graph.
#include "compiler/import/onnx/NodeImport.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using namespace kiln;

/// One dim of a slice, where its bounds are known.
static LogicalResult sliceDim(NodeImport &n, AffineExpr extent, AffineExpr start, AffineExpr end,
                              int64_t step, AffineExpr &first, AffineExpr &size) {
  ArrayBuilder &a = n.a;
  // A table that is cut to a size holds that size.
  if (auto whole = dyn_cast<AffineConstantExpr>(a.simplify(extent)))
    a.limit(end, whole.getValue());
  // Exporters write the least and greatest number for "all": keep sums with them from wrapping.
  for (AffineExpr *given : {&start, &end})
    if (auto number = dyn_cast<AffineConstantExpr>(*given))
      *given = a.number(std::clamp(number.getValue(), -(int64_t(1) << 61), int64_t(1) << 61));
  // Clamped to [0, extent] (or [-1, extent - 1] backwards), negative ones counted from the end.
  auto inside = [&](AffineExpr given, AffineExpr low, AffineExpr high) -> AffineExpr {
    auto [least, most] = a.boundsOf(given);
    if (most < 0)
      given = a.simplify(given + extent);
    else if (least < 0)
      return {};
    if (a.same(given, low) || a.same(given, high)) // sizes are never negative, whatever bounds say
      return given;
    auto notAbove = a.boundsOf(a.simplify(high - given)),
         notBelow = a.boundsOf(a.simplify(given - low));
    if (notAbove.first >= 0 && notBelow.first >= 0)
      return given;
    if (notAbove.second <= 0)
      return high;
    if (notBelow.second <= 0)
      return low;
    return {};
  };
  AffineExpr zero = a.number(0);
  if (step > 0) {
    first = inside(start, zero, extent);
    AffineExpr last = inside(end, zero, extent);
    if (!first || !last)
      return failure();
    AffineExpr length = a.simplify(last - first);
    auto [least, most] = a.boundsOf(length);
    if (most <= 0)
      size = zero;
    else if (least < 0 && !a.same(length, extent))
      return failure();
    else
      size = a.simplify(length.ceilDiv(step));
    return success();
  }
  AffineExpr lastOne = a.simplify(extent - 1);
  first = inside(start, zero, lastOne);
  // An end below the first element means none is left out.
  auto [least, most] = a.boundsOf(end);
  auto below = a.boundsOf(a.simplify(end + extent));
  AffineExpr last =
      most < 0 && below.second < 0 ? a.number(-1) : inside(end, a.number(-1), lastOne);
  if (!first || !last)
    return failure();
  AffineExpr length = a.simplify(first - last);
  auto bounds = a.boundsOf(length);
  if (bounds.second <= 0)
    size = zero;
  else if (bounds.first < 0)
    return failure();
  else
    size = a.simplify(length.ceilDiv(-step));
  return success();
}

/// Declares the sizes of output 0 that are not known (null), and sets them from a vector.
static void completeShape(NodeImport &n, const Array &sizes, Shape &shape) {
  const OnnxValue *declared = n.declared(0);
  SmallVector<AffineExpr> computed;
  SmallVector<Array> given;
  for (auto [dim, size] : llvm::enumerate(shape)) {
    if (size)
      continue;
    bool told = declared && declared->shape.size() == shape.size();
    unsigned before = n.a.dimCount();
    size = n.graph.sizeOf(told ? declared->shape[dim] : OnnxDim(), n.node.outputs[0], dim);
    if (n.a.dimCount() == before)
      continue;
    computed.push_back(size);
    given.push_back(n.a.slice(sizes, int64_t(dim), n.a.number(1)));
  }
  if (!computed.empty())
    n.a.setDims(computed, n.a.concat(given, 0));
}

static void importSlice(NodeImport &n) {
  const Array &x = n.input(0);
  if (!x)
    return;
  ArrayBuilder &a = n.a;
  Array starts, ends, axes, steps;
  if (n.version < 10) {
    starts = a.integers(a.numbers(n.integers("starts")));
    ends = a.integers(a.numbers(n.integers("ends")));
    if (n.hasAttribute("axes"))
      axes = a.integers(a.numbers(n.integers("axes")));
  } else {
    starts = n.input(1);
    ends = n.input(2);
    axes = n.has(3) ? n.inputs[3] : Array();
    steps = n.has(4) ? n.inputs[4] : Array();
  }
  if (!starts || !ends)
    return;
  if (x.rank() == 0)
    return n.fail("a number has no axes to slice");
  for (const Array *given : {&starts, &ends, &axes, &steps})
    if (*given && (given->rank() != 1 || given->isFloat()))
      return n.fail("starts, ends, axes and steps of a slice are vectors of integers");
  const SmallVector<AffineExpr> *from = a.expressionsOf(starts), *to = a.expressionsOf(ends);
  std::optional<SmallVector<int64_t>> dims, strides;
  if (axes)
    dims = a.integersOf(axes);
  if (steps)
    strides = a.integersOf(steps);
  Shape shape = x.shape; // null: a size that is not known
  if (from && to && (!axes || dims) && (!steps || strides)) {
    SmallVector<AffineExpr> first(x.rank(), a.number(0));
    SmallVector<int64_t> stride(x.rank(), 1);
    if (from->size() != to->size())
      return n.fail(llvm::formatv("a slice of {0} starts and {1} ends", from->size(), to->size()));
    for (size_t i = 0; i < from->size(); ++i) {
      if ((axes && i >= dims->size()) || (steps && i >= strides->size()))
        return n.fail("a slice has fewer axes or steps than starts");
      std::optional<int64_t> dim = n.axis(axes ? (*dims)[i] : int64_t(i), x.rank());
      if (!dim)
        return;
      stride[*dim] = steps ? (*strides)[i] : 1;
      if (stride[*dim] == 0)
        return n.fail("a slice of step 0");
      if (failed(sliceDim(n, x.shape[*dim], (*from)[i], (*to)[i], stride[*dim], first[*dim],
                          shape[*dim])))
        shape[*dim] = {};
    }
    if (!llvm::is_contained(shape, AffineExpr()))
      return n.results.push_back(a.sliceAt(x, first, shape, stride));
  } else if (axes && dims) {
    for (int64_t given : *dims) {
      std::optional<int64_t> dim = n.axis(given, x.rank());
      if (!dim)
        return;
      shape[*dim] = {};
    }
  } else {
    shape.assign(x.rank(), AffineExpr());
  }
  // Bounds that are computed: for each dim its start, size and step, at run time.
  Type i64 = a.b.getI64Type();
  // Axes beyond the starts that are given are not looked at.
  if (!axes) {
    SmallVector<int64_t> order(x.rank());
    std::iota(order.begin(), order.end(), 0);
    axes = a.integers(a.numbers(order));
  }
  if (!steps)
    steps = a.integers(a.numbers(SmallVector<int64_t>(x.rank(), 1)));
  Array plan = a.compute("slice_plan",
                         {a.integers(x.shape), a.cast(starts, i64), a.cast(ends, i64),
                          a.cast(axes, i64), a.cast(steps, i64)},
                         i64, a.numbers({3, x.rank()}));
  auto row = [&](int64_t i) {
    return a.reshape(a.slice(plan, {i, 0}, a.numbers({1, x.rank()})), a.number(x.rank()));
  };
  completeShape(n, row(1), shape);
  n.results.push_back(a.compute("slice", {x, row(0), row(2)}, x.element, shape));
}

/// What each of `rank` dims gets of the pads [k] of axes [k] that a call gives.
static Array padsOfDims(ArrayBuilder &a, const Array &pads, const Array &axes, int64_t rank) {
  Type i64 = a.b.getI64Type(), truth = a.b.getI1Type();
  Array zero = a.scalar(i64, 0);
  Array fromEnd = a.add(axes, a.scalar(i64, double(rank)));
  Array places = a.map("where", {a.map("less", {axes, zero}, truth), fromEnd, axes}, i64);
  SmallVector<AffineExpr> numbers;
  for (int64_t dim = 0; dim < rank; ++dim)
    numbers.push_back(a.number(dim));
  Array dims = a.reshape(a.integers(numbers), a.numbers({rank, 1}));
  Array isHere = a.map("equal", {dims, places}, truth);
  return a.reduce("sum", a.map("where", {isHere, pads, zero}, i64), {1}, false);
}

static void importPad(NodeImport &n) {
  const Array &x = n.input(0);
  if (!x)
    return;
  ArrayBuilder &a = n.a;
  std::string mode = n.text("mode", "constant");
  Array value = a.scalar(x.element, n.version < 11 ? n.real("value", 0) : 0);
  if (n.version >= 11 && n.has(2))
    value = a.reshape(n.inputs[2], {});
  std::optional<SmallVector<int64_t>> axes;
  bool axesGiven = false; // by the call
  if (n.version >= 18 && n.has(3)) {
    axesGiven = !a.isConstant(n.inputs[3]);
    if (axesGiven && n.inputs[3].rank() != 1)
      return n.fail("axes are no vector");
    if (!axesGiven && !(axes = n.axes("", 3, x.rank())))
      return;
  }
  int64_t rank = x.rank();
  SmallVector<AffineExpr> pads;
  bool known = true;
  if (n.version < 11) {
    pads = a.numbers(n.integers(n.version < 2 ? "paddings" : "pads"));
  } else if (!n.input(1)) {
    return;
  } else if (const SmallVector<AffineExpr> *given = n.sizes(1)) {
    pads = *given;
  } else {
    known = false;
  }
  auto emit = [&](const Array &operandPads, ArrayRef<int64_t> before, ArrayRef<AffineExpr> shape) {
    SmallVector<Array> operands{x, value};
    if (operandPads)
      operands.push_back(operandPads);
    n.results.push_back(a.compute("pad", operands, x.element, shape,
                                  a.params({{"mode", a.attr(mode)},
                                            {"before", a.attr(before)},
                                            {"pads_given", a.attr(int64_t(bool(operandPads)))}})));
  };
  SmallVector<int64_t> zeros(rank, 0);
  if (!known || axesGiven) {
    Array given = a.cast(n.inputs[1], a.b.getI64Type());
    if (given.rank() != 1 || (axesGiven && n.inputs[3].rank() != 1))
      return n.fail("expected vectors of pads and axes");
    int64_t count = axes ? int64_t(axes->size()) : rank;
    Array before, after;
    if (axesGiven) {
      Array places = a.cast(n.inputs[3], a.b.getI64Type());
      AffineExpr half = places.shape[0];
      if (given.rank() != 1 || !a.sameOrRequired(given.shape[0], half * 2, "pads of each axis"))
        return n.fail("expected two pads for each axis");
      before = padsOfDims(a, a.sliceAt(given, a.number(0), half), places, rank);
      after = padsOfDims(a, a.sliceAt(given, half, half), places, rank);
    } else if (!axes) {
      before = a.slice(given, 0, a.number(rank));
      after = a.slice(given, rank, a.number(rank));
    } else {
      SmallVector<Array> befores(rank, a.integers(a.number(0))), afters(befores);
      for (auto [i, axis] : llvm::enumerate(*axes)) {
        befores[axis] = a.slice(given, int64_t(i), a.number(1));
        afters[axis] = a.slice(given, count + int64_t(i), a.number(1));
      }
      before = a.concat(befores, 0);
      after = a.concat(afters, 0);
    }
    std::optional<Shape> shape =
        n.runtimeShape(0, a.add(a.add(a.integers(x.shape), before), after));
    if (shape)
      emit(before, zeros, *shape);
    return;
  }
  size_t count = axes ? axes->size() : size_t(rank);
  if (pads.size() != 2 * count)
    return n.fail(llvm::formatv("{0} pads for {1} dims", pads.size(), count));
  SmallVector<AffineExpr> before(rank, a.number(0));
  Shape shape = x.shape;
  for (size_t i = 0; i < count; ++i) {
    int64_t dim = axes ? (*axes)[i] : int64_t(i);
    before[dim] = a.simplify(pads[i]);
    shape[dim] = a.simplify(shape[dim] + pads[i] + pads[i + count]);
  }
  if (llvm::all_of(before, llvm::IsaPred<AffineConstantExpr>)) {
    SmallVector<int64_t> fixed = llvm::map_to_vector(
        before, [](AffineExpr e) { return cast<AffineConstantExpr>(e).getValue(); });
    return emit({}, fixed, shape);
  }
  emit(a.integers(before), zeros, shape);
}

/// Crops around the centre where an axis is too long, pads where it is too short.
static void importCenterCropPad(NodeImport &n) {
  const Array &x = n.input(0);
  if (!x || !n.input(1))
    return;
  ArrayBuilder &a = n.a;
  SmallVector<int64_t> dims;
  if (std::optional<SmallVector<int64_t>> given = n.axes("axes", 99, x.rank()))
    dims = *given;
  else
    for (int64_t i = 0; i < x.rank(); ++i)
      dims.push_back(i);
  if (a.failed())
    return;
  const SmallVector<AffineExpr> *wanted = n.sizes(1);
  Shape shape = x.shape;
  if (wanted) {
    if (wanted->size() != dims.size())
      return n.fail("as many sizes as axes are needed");
    for (auto [dim, size] : llvm::zip(dims, *wanted))
      shape[dim] = size;
  } else {
    SmallVector<Array> sizes;
    for (int64_t i = 0; i < x.rank(); ++i)
      sizes.push_back(a.integers(x.shape[i]));
    Array given = a.cast(n.inputs[1], a.b.getI64Type());
    for (auto [i, dim] : llvm::enumerate(dims))
      sizes[dim] = a.slice(given, int64_t(i), a.number(1));
    std::optional<Shape> computed = n.runtimeShape(0, a.concat(sizes, 0));
    if (!computed)
      return;
    shape = *computed;
  }
  // Element i is element i + offset of the operand: half of what is cut away, or minus half of what
  // is added, both rounded down.
  SmallVector<AffineExpr> before;
  for (auto [have, want] : llvm::zip(x.shape, shape)) {
    auto [least, most] = a.boundsOf(a.simplify(have - want));
    if (least >= 0)
      before.push_back(a.simplify(-(have - want).floorDiv(2)));
    else if (most <= 0)
      before.push_back(a.simplify((want - have).floorDiv(2)));
    else
      return n.fail("whether an axis is cropped or padded is not known");
  }
  n.results.push_back(a.compute("pad", {x, a.scalar(x.element, 0), a.integers(before)}, x.element,
                                shape,
                                a.params({{"mode", a.attr("constant")},
                                          {"before", a.attr(SmallVector<int64_t>(x.rank(), 0))},
                                          {"pads_given", a.attr(1)}})));
}

ArrayRef<OnnxOperator> kiln::onnxSlices() {
  static const OnnxOperator table[] = {
      {"", "Slice", 1, importSlice},
      {"", "Pad", 2, importPad},
      {"", "CenterCropPad", 18, importCenterCropPad},
  };
  return table;
}
