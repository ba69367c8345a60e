// Operators that make constants, tell sizes, and put elements into other shapes and places. What
// decides a shape is mostly known while the model is imported; where it is an input of the model,
// the sizes are computed in the graph and given to computed dims (NodeImport::runtimeShape).
#include "compiler/import/onnx/NodeImport.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using namespace kiln;

// ---- Constants and sizes ----------------------------------------------------------------------

static void importConstant(NodeImport &n) {
  Type f32 = n.a.b.getF32Type(), i64 = n.a.b.getI64Type();
  for (const OnnxAttribute &attribute : n.node.attributes) {
    if (attribute.name == "value" && attribute.tensor)
      return n.results.push_back(n.a.fromTensor(attribute.tensor));
    if (attribute.name == "sparse_value" && attribute.tensor)
      return n.results.push_back(n.a.fromTensor(attribute.tensor));
    if (attribute.name == "value_float")
      return n.results.push_back(n.a.scalar(f32, attribute.f));
    if (attribute.name == "value_int")
      return n.results.push_back(n.a.integer(n.a.number(attribute.i)));
    if (attribute.name == "value_floats")
      return n.results.push_back(
          n.a.constant(f32, int64_t(attribute.floats.size()), attribute.floats));
    if (attribute.name == "value_ints")
      return n.results.push_back(n.a.integers(n.a.numbers(attribute.ints), i64));
  }
  n.fail("a constant without a value, or one of strings, is not supported");
}

static void importShape(NodeImport &n) {
  const Array &x = n.input(0);
  if (!x)
    return;
  int64_t rank = x.rank();
  auto inside = [&](int64_t value) {
    return std::clamp<int64_t>(value < 0 ? value + rank : value, 0, rank);
  };
  int64_t start = inside(n.integer("start", 0)), end = inside(n.integer("end", rank));
  ArrayRef<AffineExpr> sizes(x.shape);
  n.results.push_back(n.a.integers(sizes.slice(start, std::max<int64_t>(end - start, 0))));
}

static void importSize(NodeImport &n) {
  if (n.input(0))
    n.results.push_back(n.a.integer(n.a.product(n.inputs[0].shape)));
}

/// The integers of an input as sizes; null where they are not known.
static const SmallVector<AffineExpr> *sizesOf(NodeImport &n, size_t input) {
  return n.a.expressionsOf(n.inputs[input]);
}

static void importConstantOfShape(NodeImport &n) {
  const Array &given = n.input(0);
  if (!given)
    return;
  Array value = n.a.scalar(n.a.b.getF32Type(), 0);
  if (const OnnxAttribute *attribute = n.attribute("value"); attribute && attribute->tensor)
    value = n.a.reshape(n.a.fromTensor(attribute->tensor), {});
  if (!value)
    return;
  if (const SmallVector<AffineExpr> *sizes = sizesOf(n, 0))
    return n.results.push_back(n.a.broadcast(value, *sizes));
  Array sizes = n.sizesInput(0);
  if (std::optional<Shape> shape = n.runtimeShape(0, sizes))
    n.results.push_back(n.a.broadcast(value, *shape));
}

// ---- Reshapes ---------------------------------------------------------------------------------

/// 0 copies the operand's size, unless it is allowed as such; -1 is what is left.
static void importReshape(NodeImport &n) {
  const Array &x = n.input(0);
  if (!x)
    return;
  ArrayBuilder &a = n.a;
  bool allowZero = n.integer("allowzero", 0) != 0;
  SmallVector<AffineExpr> sizes;
  if (n.version < 5) {
    sizes = a.numbers(n.integers("shape"));
  } else if (!n.input(1)) {
    return;
  } else if (const SmallVector<AffineExpr> *known = sizesOf(n, 1)) {
    sizes = *known;
  } else {
    // Computed while the model runs: the same rules, on the vector of sizes.
    Array wanted = n.sizesInput(1);
    if (!wanted)
      return;
    int64_t rank = wanted.extent(0);
    if (!allowZero) {
      SmallVector<AffineExpr> own(rank, a.number(0));
      for (int64_t i = 0; i < std::min(rank, x.rank()); ++i)
        own[i] = x.shape[i];
      Array isZero = a.map("equal", {wanted, a.integers(a.numbers({0}))}, a.b.getI1Type());
      wanted = a.map("where", {isZero, a.integers(own), wanted}, wanted.element);
    }
    Array isRest = a.map("less", {wanted, a.integers(a.numbers({0}))}, a.b.getI1Type());
    Array given = a.map("where", {isRest, a.integers(a.numbers({1})), wanted}, wanted.element);
    Array rest = a.div(a.integer(a.product(x.shape)), a.reduce("prod", given, {0}, false));
    std::optional<Shape> shape =
        n.runtimeShape(0, a.map("where", {isRest, rest, wanted}, wanted.element));
    if (shape)
      n.results.push_back(a.reshapeUnchecked(x, *shape));
    return;
  }
  int64_t rest = -1;
  AffineExpr given = a.number(1);
  for (auto [i, size] : llvm::enumerate(sizes)) {
    auto constant = dyn_cast<AffineConstantExpr>(size);
    if (constant && constant.getValue() == -1) {
      if (rest >= 0)
        return n.fail("a reshape to two unknown sizes");
      rest = int64_t(i);
      continue;
    }
    if (constant && constant.getValue() == 0 && !allowZero) {
      if (int64_t(i) >= x.rank())
        return n.fail("a reshape copies a size that its operand does not have");
      size = x.shape[i];
    } else if (constant && constant.getValue() < 0) {
      return n.fail(llvm::formatv("a reshape to size {0}", constant.getValue()));
    }
    given = given * size;
  }
  if (rest >= 0) {
    // Sizes on both sides cancel; what is left is divided.
    SmallVector<AffineExpr> have(x.shape), others;
    for (auto [i, size] : llvm::enumerate(sizes)) {
      if (int64_t(i) == rest)
        continue;
      auto *same = llvm::find_if(have, [&, size = size](AffineExpr e) { return a.same(e, size); });
      auto constant = dyn_cast<AffineConstantExpr>(a.simplify(size));
      if (same != have.end() && !(constant && constant.getValue() == 0))
        have.erase(same);
      else
        others.push_back(size);
    }
    AffineExpr numerator = a.product(have), divisor = a.product(others);
    auto constant = dyn_cast<AffineConstantExpr>(divisor);
    if (constant && constant.getValue() == 0)
      sizes[rest] = a.number(0);
    else
      sizes[rest] = a.simplify(numerator.floorDiv(divisor));
  }
  n.results.push_back(a.reshape(x, sizes));
}

static void importFlatten(NodeImport &n) {
  const Array &x = n.input(0);
  if (!x)
    return;
  int64_t given = n.integer("axis", 1);
  int64_t axis = given < 0 ? given + x.rank() : given;
  if (axis < 0 || axis > x.rank())
    return n.fail(llvm::formatv("axis {0} of {1} dims", given, x.rank()));
  ArrayRef<AffineExpr> shape(x.shape);
  n.results.push_back(
      n.a.reshape(x, {n.a.product(shape.take_front(axis)), n.a.product(shape.drop_front(axis))}));
}

static void importSqueeze(NodeImport &n) {
  const Array &x = n.input(0);
  if (!x)
    return;
  if (!n.hasAttribute("axes") && n.has(1) && !n.a.integersOf(n.inputs[1])) {
    if (const OnnxValue *value = n.declared(0)) {
      Type i64 = n.a.b.getI64Type();
      Array sizes =
          n.a.compute("squeezed_sizes", {n.a.integers(x.shape), n.a.cast(n.inputs[1], i64)}, i64,
                      n.a.numbers({int64_t(value->shape.size())}));
      if (std::optional<Shape> shape = n.runtimeShape(0, sizes))
        n.results.push_back(n.a.reshapeUnchecked(x, *shape));
      return;
    }
    return n.fail("axes that are computed while the model runs need a declared output");
  }
  std::optional<SmallVector<int64_t>> axes = n.axes("axes", 1, x.rank());
  if (n.a.failed())
    return;
  Shape shape;
  for (auto [i, size] : llvm::enumerate(x.shape)) {
    bool one = x.extent(int64_t(i)) == 1;
    bool removed = axes ? llvm::is_contained(*axes, int64_t(i)) : one;
    if (removed && !one && !n.a.sameOrRequired(size, n.a.number(1), "a squeezed dim"))
      return n.fail(llvm::formatv("dim {0} cannot be squeezed: it has {1} elements", i,
                                  x.extent(int64_t(i))));
    if (!removed)
      shape.push_back(size);
  }
  n.results.push_back(n.a.reshapeUnchecked(x, shape));
}

static void importUnsqueeze(NodeImport &n) {
  const Array &x = n.input(0);
  if (!x)
    return;
  SmallVector<int64_t> given = n.integers("axes");
  if (!n.hasAttribute("axes")) {
    if (!n.input(1))
      return;
    std::optional<SmallVector<int64_t>> known = n.a.integersOf(n.inputs[1]);
    if (!known) {
      const OnnxValue *value = n.declared(0);
      int64_t rank = value                        ? int64_t(value->shape.size())
                     : n.inputs[1].extent(0) >= 0 ? x.rank() + n.inputs[1].extent(0)
                                                  : -1;
      if (rank >= 0) {
        Type i64 = n.a.b.getI64Type();
        Array sizes =
            n.a.compute("unsqueezed_sizes", {n.a.integers(x.shape), n.a.cast(n.inputs[1], i64)},
                        i64, n.a.numbers({rank}));
        if (std::optional<Shape> shape = n.runtimeShape(0, sizes))
          n.results.push_back(n.a.reshapeUnchecked(x, *shape));
        return;
      }
      return n.fail("axes that are computed while the model runs need a declared output");
    }
    given = *known;
  }
  int64_t rank = x.rank() + int64_t(given.size());
  SmallVector<AffineExpr> shape(rank);
  for (int64_t value : given) {
    std::optional<int64_t> axis = n.axis(value, rank);
    if (!axis)
      return;
    if (shape[*axis])
      return n.fail(llvm::formatv("axis {0} is given twice", *axis));
    shape[*axis] = n.a.number(1);
  }
  size_t next = 0;
  for (AffineExpr &size : shape)
    if (!size)
      size = x.shape[next++];
  n.results.push_back(n.a.reshape(x, shape));
}

// ---- Other places -----------------------------------------------------------------------------

static void importTranspose(NodeImport &n) {
  const Array &x = n.input(0);
  if (!x)
    return;
  SmallVector<int64_t> perm = n.integers("perm");
  if (!n.hasAttribute("perm"))
    for (int64_t dim = x.rank(); dim-- > 0;)
      perm.push_back(dim);
  llvm::SmallBitVector seen(x.rank());
  for (int64_t dim : perm)
    if (dim >= 0 && dim < x.rank())
      seen.set(dim);
  if (int64_t(perm.size()) != x.rank() || !seen.all())
    return n.fail(llvm::formatv("perm is no permutation of {0} dims", x.rank()));
  n.results.push_back(n.a.transpose(x, perm));
}

static void importConcat(NodeImport &n) {
  SmallVector<Array> parts;
  for (size_t i = 0; i < n.inputs.size(); ++i)
    if (n.input(i))
      parts.push_back(n.inputs[i]);
  if (parts.empty() || parts.size() != n.inputs.size())
    return;
  std::optional<int64_t> axis = n.axis(n.integer("axis", 1), parts[0].rank());
  if (!axis)
    return;
  if (parts[0].rank() == 0)
    return n.fail("scalars cannot be concatenated");
  n.results.push_back(n.a.concat(parts, *axis));
}

static void importSplit(NodeImport &n) {
  const Array &x = n.input(0);
  if (!x)
    return;
  std::optional<int64_t> axis = n.axis(n.integer("axis", 0), x.rank());
  if (!axis || x.rank() == 0)
    return;
  ArrayBuilder &a = n.a;
  size_t count = n.node.outputs.size();
  SmallVector<AffineExpr> sizes;
  if (n.hasAttribute("split")) {
    sizes = a.numbers(n.integers("split"));
  } else if (n.has(1)) {
    if (n.inputs[1].rank() != 1 || n.inputs[1].isFloat())
      return n.fail("sizes of a split are a vector of integers");
    if (const SmallVector<AffineExpr> *known = sizesOf(n, 1)) {
      sizes = *known;
    } else { // sizes that are computed: each output's is an element of them
      Array given = a.cast(n.inputs[1], a.b.getI64Type()), start;
      for (size_t i = 0; i < count; ++i) {
        Array size = a.slice(given, int64_t(i), a.number(1));
        SmallVector<Array> whole;
        SmallVector<Array> starts;
        for (int64_t dim = 0; dim < x.rank(); ++dim) {
          whole.push_back(dim == *axis ? size : a.integers(x.shape[dim]));
          starts.push_back(dim == *axis && start ? start : a.integers(a.number(0)));
        }
        std::optional<Shape> shape = n.runtimeShape(i, a.concat(whole, 0));
        if (!shape)
          return;
        n.results.push_back(a.sliceAt(x, a.concat(starts, 0), *shape));
        start = start ? a.add(start, size) : size;
      }
      return;
    }
  } else {
    int64_t parts = n.version >= 18 ? n.integer("num_outputs", int64_t(count)) : int64_t(count);
    if (parts < 1 || parts > int64_t(count))
      return n.fail(llvm::formatv("a split in {0} for {1} outputs", parts, count));
    AffineExpr whole = x.shape[*axis], part = a.simplify(whole.ceilDiv(parts));
    for (int64_t i = 0; i + 1 < parts; ++i)
      sizes.push_back(part);
    sizes.push_back(a.simplify(whole - part * (parts - 1)));
  }
  if (sizes.size() < count)
    return n.fail(llvm::formatv("{0} sizes for {1} outputs", sizes.size(), count));
  AffineExpr end = a.number(0);
  for (AffineExpr size : sizes)
    end = end + size;
  if (!a.sameOrRequired(a.simplify(end), x.shape[*axis], "the sizes of a split"))
    return n.fail("the sizes of a split do not add up to what is split");
  AffineExpr start = a.number(0);
  for (AffineExpr size : sizes) {
    Shape shape = x.shape;
    shape[*axis] = size;
    SmallVector<AffineExpr> starts(x.rank(), a.number(0));
    starts[*axis] = a.simplify(start);
    n.results.push_back(a.sliceAt(x, starts, shape));
    start = start + size;
  }
}

/// One dim of a slice, where its bounds are known.
static LogicalResult sliceDim(NodeImport &n, AffineExpr extent, AffineExpr start, AffineExpr end,
                              int64_t step, AffineExpr &first, AffineExpr &size) {
  ArrayBuilder &a = n.a;
  // A table that is cut to a size holds that size.
  if (auto whole = dyn_cast<AffineConstantExpr>(a.simplify(extent)))
    a.limit(end, whole.getValue());
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
    size = n.graph.sizeOf(told ? declared->shape[dim] : OnnxDim(),
                          n.node.outputs[0] + "_" + std::to_string(dim));
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

static void importExpand(NodeImport &n) {
  const Array &x = n.input(0);
  if (!x || !n.input(1))
    return;
  ArrayBuilder &a = n.a;
  if (const SmallVector<AffineExpr> *sizes = sizesOf(n, 1)) {
    std::optional<Shape> shape = a.broadcastShapes(x.shape, *sizes);
    if (!shape)
      return n.fail("shapes do not broadcast");
    return n.results.push_back(a.broadcast(x, *shape));
  }
  // A vector of unknown length has no more elements than the result has dims.
  if (n.inputs[1].rank() == 1 && n.inputs[1].extent(0) < 0) {
    const OnnxValue *declared = n.declared(0);
    if (!declared)
      return n.fail("the number of dims of an expand is not known");
    int64_t most = int64_t(declared->shape.size());
    SmallVector<AffineExpr> own(most, a.number(1));
    for (int64_t i = 0; i < x.rank() && i < most; ++i)
      own[most - x.rank() + i] = x.shape[i];
    Array sizes =
        a.compute("expanded_sizes", {a.integers(own), a.cast(n.inputs[1], a.b.getI64Type())},
                  a.b.getI64Type(), a.numbers({most}));
    if (std::optional<Shape> shape = n.runtimeShape(0, sizes))
      n.results.push_back(a.broadcast(x, *shape));
    return;
  }
  Array wanted = n.sizesInput(1);
  if (!wanted)
    return;
  int64_t rank = wanted.extent(0);
  // Aligned at the end; a size of 1 is stretched.
  int64_t most = std::max(rank, x.rank());
  SmallVector<AffineExpr> own(most, a.number(1));
  for (int64_t i = 0; i < x.rank(); ++i)
    own[most - x.rank() + i] = x.shape[i];
  if (rank < most)
    wanted = a.concat({a.integers(SmallVector<AffineExpr>(most - rank, a.number(1))), wanted}, 0);
  Array sizes = a.map("max", {wanted, a.integers(own)});
  if (std::optional<Shape> shape = n.runtimeShape(0, sizes))
    n.results.push_back(a.broadcast(x, *shape));
}

static void importTile(NodeImport &n) {
  const Array &x = n.input(0);
  if (!x || !n.input(1))
    return;
  ArrayBuilder &a = n.a;
  Shape shape = x.shape;
  if (const SmallVector<AffineExpr> *repeats = sizesOf(n, 1)) {
    if (int64_t(repeats->size()) != x.rank())
      return n.fail(llvm::formatv("{0} repeats of {1} dims", repeats->size(), x.rank()));
    for (auto [size, times] : llvm::zip(shape, *repeats))
      size = a.simplify(size * times);
  } else {
    Array times = n.sizesInput(1);
    if (!times)
      return;
    Array sizes = a.mul(times, a.integers(x.shape));
    std::optional<Shape> computed = n.runtimeShape(0, sizes);
    if (!computed)
      return;
    shape = *computed;
  }
  n.results.push_back(a.compute("tile", x, x.element, shape));
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
  if (n.version >= 18 && n.has(3)) {
    axes = n.axes("", 3, x.rank());
    if (!axes)
      return;
  }
  int64_t rank = x.rank();
  SmallVector<AffineExpr> pads;
  bool known = true;
  if (n.version < 11) {
    pads = a.numbers(n.integers(n.version < 2 ? "paddings" : "pads"));
  } else if (!n.input(1)) {
    return;
  } else if (const SmallVector<AffineExpr> *given = sizesOf(n, 1)) {
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
  if (!known) {
    Array given = a.cast(n.inputs[1], a.b.getI64Type());
    int64_t count = axes ? int64_t(axes->size()) : rank;
    Array before, after;
    if (!axes) {
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
  const SmallVector<AffineExpr> *wanted = sizesOf(n, 1);
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

ArrayRef<OnnxOperator> kiln::onnxShapes() {
  static const OnnxOperator table[] = {
      {"", "Constant", 1, importConstant},
      {"", "ConstantOfShape", 9, importConstantOfShape},
      {"", "Shape", 1, importShape},
      {"", "Size", 1, importSize},
      {"", "Reshape", 1, importReshape},
      {"", "Flatten", 1, importFlatten},
      {"", "Squeeze", 1, importSqueeze},
      {"", "Unsqueeze", 1, importUnsqueeze},
      {"", "Transpose", 1, importTranspose},
      {"", "Concat", 4, importConcat},
      {"", "Split", 2, importSplit},
      {"", "Slice", 1, importSlice},
      {"", "Expand", 8, importExpand},
      {"", "Tile", 6, importTile},
      {"", "Pad", 2, importPad},
      {"", "CenterCropPad", 18, importCenterCropPad},
  };
  return table;
}
