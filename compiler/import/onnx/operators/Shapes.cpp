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

static void importConstantOfShape(NodeImport &n) {
  const Array &given = n.input(0);
  if (!given)
    return;
  Array value = n.a.scalar(n.a.b.getF32Type(), 0);
  if (const OnnxAttribute *attribute = n.attribute("value"); attribute && attribute->tensor)
    value = n.a.reshape(n.a.fromTensor(attribute->tensor), {});
  if (!value)
    return;
  if (const SmallVector<AffineExpr> *sizes = n.sizes(0))
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
  } else if (const SmallVector<AffineExpr> *known = n.sizes(1)) {
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
      int64_t added = n.inputs[1].rank() == 1 ? n.inputs[1].extent(0) : -1;
      int64_t rank = value ? int64_t(value->shape.size()) : added >= 0 ? x.rank() + added : -1;
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
    if (const SmallVector<AffineExpr> *known = n.sizes(1)) {
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

static void importExpand(NodeImport &n) {
  const Array &x = n.input(0);
  if (!x || !n.input(1))
    return;
  ArrayBuilder &a = n.a;
  if (const SmallVector<AffineExpr> *sizes = n.sizes(1)) {
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
  if (const SmallVector<AffineExpr> *repeats = n.sizes(1)) {
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

ArrayRef<OnnxOperator> kiln::onnxShapes() {
  static const OnnxOperator table[] = {
      {"", "Constant", 1, importConstant},   {"", "ConstantOfShape", 9, importConstantOfShape},
      {"", "Shape", 1, importShape},         {"", "Size", 1, importSize},
      {"", "Reshape", 1, importReshape},     {"", "Flatten", 1, importFlatten},
      {"", "Squeeze", 1, importSqueeze},     {"", "Unsqueeze", 1, importUnsqueeze},
      {"", "Transpose", 1, importTranspose}, {"", "Concat", 4, importConcat},
      {"", "Split", 2, importSplit},         {"", "Expand", 8, importExpand},
      {"", "Tile", 6, importTile},
  };
  return table;
}
