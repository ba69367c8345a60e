// Sorting, counting and choosing. Results whose size follows from data are made in two kernels: one
// counts, a graph.set_dims gives the count to a dim, and another fills what then has that size.
#include "compiler/import/onnx/NodeImport.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/xxhash.h"

using namespace mlir;
using namespace kiln;

/// Dim `dim` of output `output`, of which `count` (a vector of one i64) tells the size: as the
/// graph declares it, or a computed dim with at most `most` elements (which the caller may narrow).
static AffineExpr countedSize(NodeImport &n, size_t output, size_t dim, const Array &count,
                              int64_t least, int64_t most) {
  ArrayBuilder &a = n.a;
  OnnxDim declared;
  if (const OnnxValue *value = n.declared(output); value && dim < value->shape.size())
    declared = value->shape[dim];
  if (declared.extent >= 0)
    return a.number(declared.extent);
  const std::string &value = n.node.outputs[output];
  std::string name = nameOfDim(declared, value, dim);
  if (!declared.param.empty())
    if (AffineExpr known = a.findDim(name))
      return known;
  DimBounds bounds = a.boundsOf(name, "dim " + Twine(dim) + " of " + value, least, most);
  AffineExpr size = a.declareComputedDim(name, bounds.min, bounds.max);
  a.setDims(size, count);
  return size;
}

// ---- Sorting ------------------------------------------------------------------------------------

static void importTopK(NodeImport &n) {
  const Array &x = n.input(0);
  if (!x)
    return;
  ArrayBuilder &a = n.a;
  std::optional<int64_t> axis = n.axis(n.integer("axis", -1), x.rank());
  if (!axis)
    return;
  if (x.rank() == 0)
    return n.fail("a scalar has no axis");
  AffineExpr wanted;
  if (n.version < 10) {
    wanted = a.number(n.integer("k", 0));
  } else {
    Array k = n.scalarInput(1);
    if (!k)
      return;
    const SmallVector<AffineExpr> *known = a.expressionsOf(k);
    wanted = known ? known->front()
                   : countedSize(n, 0, size_t(*axis),
                                 a.reshape(a.cast(k, a.b.getI64Type()), a.number(1)), 0,
                                 a.boundsOf(x.shape[*axis]).second);
  }
  if (a.boundsOf(wanted).first < 0 || a.boundsOf(wanted).first > a.boundsOf(x.shape[*axis]).second)
    return n.fail(llvm::formatv("the best {0} of {1}", a.boundsOf(wanted).first,
                                a.boundsOf(x.shape[*axis]).second));
  Shape shape = x.shape;
  shape[*axis] = wanted;
  n.results =
      a.compute("top_k", x, {x.element, a.b.getI64Type()}, {shape, shape},
                a.params({{"axis", a.attr(*axis)}, {"largest", a.attr(n.integer("largest", 1))}}));
}

static void importUnique(NodeImport &n) {
  const Array &x = n.input(0);
  if (!x)
    return;
  ArrayBuilder &a = n.a;
  Type i64 = a.b.getI64Type();
  Array data = x;
  int64_t axis = 0;
  if (n.hasAttribute("axis")) {
    std::optional<int64_t> given = n.axis(n.integer("axis", 0), x.rank());
    if (!given || x.rank() == 0)
      return;
    axis = *given;
  } else {
    data = a.reshape(x, a.product(x.shape));
  }
  AffineExpr count = data.shape[axis];
  ArrayRef<AffineExpr> shape(data.shape);
  Array slices = a.reshape(
      data, {a.product(shape.take_front(axis)), count, a.product(shape.drop_front(axis + 1))});
  SmallVector<Array> groups = a.compute("group_slices", slices, {i64, i64, i64, i64},
                                        {{count}, {count}, {count}, {a.number(1)}},
                                        a.params({{"sorted", a.attr(n.integer("sorted", 1))}}));
  auto [least, most] = a.boundsOf(count);
  AffineExpr found = countedSize(n, 0, size_t(axis), groups[3], std::min<int64_t>(least, 1), most);
  if (a.boundsOf(found).second > most)
    return n.fail("more distinct slices are declared than there can be");
  Array firsts = a.slice(groups[1], {0}, found), sizes = a.slice(groups[2], {0}, found);
  Shape result = data.shape;
  result[axis] = found;
  n.results = {
      a.compute("gather", {data, firsts}, x.element, result, a.params({{"axis", a.attr(axis)}})),
      firsts, groups[0], sizes};
}

// ---- Places -------------------------------------------------------------------------------------

/// The indices of the elements that are not zero [rank, count], where `output` has dim `dim` as the
/// count.
static Array placesOf(NodeImport &n, const Array &x, size_t output, size_t dim) {
  ArrayBuilder &a = n.a;
  Type i64 = a.b.getI64Type();
  Array flat = a.reshape(x, a.product(x.shape));
  Array isSome = a.map("cast", flat, a.b.getI1Type());
  Array count = a.reduce("sum", a.cast(isSome, i64), {0}, true);
  AffineExpr size = countedSize(n, output, dim, count, 0, a.boundsOf(a.product(x.shape)).second);
  return a.compute("nonzero", x, i64, {a.number(x.rank()), size});
}

static void importNonZero(NodeImport &n) {
  const Array &x = n.input(0);
  if (!x)
    return;
  // A scalar counts as a vector of one.
  n.results.push_back(placesOf(n, x.rank() ? x : n.a.reshape(x, n.a.number(1)), 0, 1));
}

static void importCompress(NodeImport &n) {
  const Array &x = n.input(0), &condition = n.input(1);
  if (!x || !condition)
    return;
  ArrayBuilder &a = n.a;
  Array data = x;
  int64_t axis = 0;
  if (n.hasAttribute("axis")) {
    std::optional<int64_t> given = n.axis(n.integer("axis", 0), x.rank());
    if (!given || x.rank() == 0)
      return;
    axis = *given;
  } else {
    data = a.reshape(x, a.product(x.shape));
  }
  if (condition.rank() != 1)
    return n.fail("a condition of one dim is expected");
  // It may be shorter than the axis; what is beyond the axis counts not.
  Array wanted = condition;
  if (a.boundsOf(a.simplify(condition.shape[0] - data.shape[axis])).first > 0)
    wanted = a.slice(condition, {0}, data.shape[axis]);
  Array places = placesOf(n, wanted, 0, size_t(axis));
  Shape shape = data.shape;
  shape[axis] = places.shape[1];
  n.results.push_back(a.compute("gather", {data, a.reshape(places, places.shape[1])}, x.element,
                                shape, a.params({{"axis", a.attr(axis)}})));
}

static void importNonMaxSuppression(NodeImport &n) {
  const Array &boxes = n.input(0), &scores = n.input(1);
  if (!boxes || !scores)
    return;
  ArrayBuilder &a = n.a;
  if (boxes.rank() != 3 || scores.rank() != 3 || !boxes.element.isF32() ||
      !scores.element.isF32() ||
      !a.sameOrRequired(boxes.shape[2], a.number(4), "coordinates of a box"))
    return n.fail("boxes [images, n, 4] and scores [images, classes, n] of f32 are expected");
  if (!a.sameOrRequired(boxes.shape[0], scores.shape[0], "the number of images") ||
      !a.sameOrRequired(boxes.shape[1], scores.shape[2], "the number of boxes"))
    return n.fail("boxes and scores do not fit");
  Type i64 = a.b.getI64Type(), real = a.b.getF32Type();
  auto scalar = [&](size_t input, double otherwise) {
    return n.has(input) ? n.scalarInput(input) : a.scalar(real, otherwise);
  };
  Array limit = n.has(2) ? a.cast(n.scalarInput(2), i64) : a.integer(a.number(0));
  if (!limit)
    return;
  AffineExpr room = boxes.shape[1];
  if (auto known = a.integersOf(limit)) {
    int64_t most = std::max<int64_t>(known->front(), 0);
    if (a.boundsOf(room).second > most)
      room = a.number(most);
  }
  SmallVector<ArrayBuilder::Param> params;
  if (n.integer("center_point_box", 0))
    params.push_back({"center", a.b.getUnitAttr()});
  Shape counts{scores.shape[0], scores.shape[1]}, lists = counts;
  lists.push_back(room);
  if (a.failed())
    return;
  if (a.boundsOf(room).second == 0)
    return n.results.push_back(a.broadcast(a.integer(a.number(0)), a.numbers({0, 3})));
  SmallVector<Array> chosen =
      a.compute("choose_boxes", {boxes, scores, limit, scalar(3, 0), scalar(4, -INFINITY)},
                {i64, i64}, {lists, counts}, a.params(params));
  Array total = a.reshape(a.reduce("sum", chosen[1], {0, 1}, false), a.number(1));
  AffineExpr size = countedSize(n, 0, 0, total, 0, a.boundsOf(a.product(lists)).second);
  n.results.push_back(a.compute("list_boxes", {chosen[0], chosen[1]}, i64, {size, a.number(3)}));
}

// ---- Cumulative sums and determinants -----------------------------------------------------------

template <bool product> static void importCumulate(NodeImport &n) {
  const Array &x = n.input(0);
  Array given = n.scalarInput(1);
  if (!x || !given)
    return;
  ArrayBuilder &a = n.a;
  if (x.rank() == 0)
    return n.fail("an array of one dim at least is expected");
  auto along = [&](int64_t axis) {
    SmallVector<ArrayBuilder::Param> params{{"axis", a.attr(axis)}};
    for (StringRef flag : {"exclusive", "reverse"})
      if (n.integer(flag, 0))
        params.push_back({flag, a.b.getUnitAttr()});
    if (product)
      params.push_back({"product", a.b.getUnitAttr()});
    return a.compute("cumulate", x, x.element, x.shape, a.params(params));
  };
  if (auto known = a.integersOf(given)) {
    if (std::optional<int64_t> axis = n.axis(known->front(), x.rank()))
      n.results.push_back(along(*axis));
    return;
  }
  // An axis that is an input: the sums along it are picked from those along all axes.
  Type i64 = a.b.getI64Type();
  Array axis = a.cast(given, i64), result = along(0);
  Array isNegative = a.map("less", {axis, a.integer(a.number(0))}, a.b.getI1Type());
  axis = a.map("where", {isNegative, a.add(axis, a.integer(a.number(x.rank()))), axis}, i64);
  for (int64_t dim = 1; dim < x.rank(); ++dim) {
    Array isIt = a.map("equal", {axis, a.integer(a.number(dim))}, a.b.getI1Type());
    result = a.map("where", {isIt, along(dim), result}, x.element);
  }
  n.results.push_back(result);
}

static void importDet(NodeImport &n) {
  const Array &x = n.input(0);
  if (!x)
    return;
  if (x.rank() < 2 || !x.isFloat() ||
      !n.a.sameOrRequired(x.shape[x.rank() - 1], x.shape[x.rank() - 2], "a determinant's matrix"))
    return n.fail("square matrices of floats are expected");
  n.results.push_back(n.a.compute("determinant", x, x.element, ArrayRef(x.shape).drop_back(2)));
}

// ---- Random numbers -----------------------------------------------------------------------------

/// Of the attribute, or of the node's name: nodes without one get numbers of their own.
static int64_t seedOf(NodeImport &n) {
  if (n.hasAttribute("seed"))
    return int64_t(llvm::bit_cast<uint64_t>(n.real("seed", 0)));
  return int64_t(llvm::xxh3_64bits(n.node.name + "/" + n.node.outputs.front()));
}

static Array uniform(NodeImport &n, Type element, ArrayRef<AffineExpr> shape, double low,
                     double high) {
  ArrayBuilder &a = n.a;
  return a.compute(
      "random", {}, element, shape,
      a.params({{"seed", a.attr(seedOf(n))}, {"low", a.attr(low)}, {"high", a.attr(high)}}));
}

/// The type that `dtype` names, or else `otherwise`; fails where numbers of it cannot be made.
static Type randomType(NodeImport &n, Type otherwise, bool wantsFloat) {
  Type element = otherwise;
  if (n.hasAttribute("dtype"))
    element = elementTypeOf(OnnxType(n.integer("dtype", 1)), n.a.b.getContext());
  if (element && (!wantsFloat || isa<FloatType>(element)))
    return element;
  n.fail("random numbers of that type are not supported");
  return {};
}

template <bool normal, bool like> static void importRandom(NodeImport &n) {
  ArrayBuilder &a = n.a;
  Type element = a.b.getF32Type();
  Shape shape = a.numbers(n.integers("shape"));
  if (like) {
    if (!n.input(0))
      return;
    element = n.inputs[0].element;
    shape = n.inputs[0].shape;
  }
  element = randomType(n, element, true);
  if (!element)
    return;
  for (AffineExpr size : shape)
    if (a.boundsOf(size).first < 0)
      return n.fail("a negative size");
  if (!normal)
    return n.results.push_back(uniform(n, element, shape, n.real("low", 0), n.real("high", 1)));
  n.results.push_back(a.compute("random", {}, element, shape,
                                a.params({{"seed", a.attr(seedOf(n))},
                                          {"normal", a.b.getUnitAttr()},
                                          {"mean", a.attr(n.real("mean", 0))},
                                          {"scale", a.attr(n.real("scale", 1))}})));
}

static void importBernoulli(NodeImport &n) {
  const Array &x = n.input(0);
  if (!x)
    return;
  Type element = randomType(n, x.element, false);
  if (!element || !x.isFloat())
    return;
  ArrayBuilder &a = n.a;
  Array isOne = a.map("less", {uniform(n, x.element, x.shape, 0, 1), x}, a.b.getI1Type());
  n.results.push_back(a.cast(isOne, element));
}

/// Classes by their logarithmic weights [batch, classes]: the number of classes whose weights add
/// up to less than a random part of all.
static void importMultinomial(NodeImport &n) {
  const Array &x = n.input(0);
  if (!x)
    return;
  ArrayBuilder &a = n.a;
  int64_t samples = n.integer("sample_size", 1);
  Type element = randomType(n, a.b.getI32Type(), false);
  if (!element)
    return;
  if (x.rank() != 2 || !x.isFloat() || samples < 1 || !isa<IntegerType>(element))
    return n.fail("weights [batch, classes] of floats are expected, and one sample at least");
  AffineExpr batch = x.shape[0], classes = x.shape[1];
  Array weights = a.unary("exp", a.sub(x, a.reduce("max", x, {1}, true)));
  Array sums = a.compute("cumulate", weights, x.element, x.shape, a.params({{"axis", a.attr(1)}}));
  Array total = a.reduce("sum", weights, {1}, true);
  Array part = a.mul(uniform(n, x.element, {batch, a.number(samples)}, 0, 1), total);
  Array isBelow = a.map("less_equal",
                        {a.reshape(sums, {batch, a.number(1), classes}),
                         a.reshape(part, {batch, a.number(samples), a.number(1)})},
                        a.b.getI1Type());
  Type i64 = a.b.getI64Type();
  Array chosen = a.reduce("sum", a.cast(isBelow, i64), {2}, false);
  Array last = a.integer(a.simplify(classes - 1));
  n.results.push_back(a.cast(a.map("min", {chosen, last}, i64), element));
}

ArrayRef<OnnxOperator> kiln::onnxOrder() {
  static const OnnxOperator table[] = {
      {"", "TopK", 1, importTopK},
      {"", "Unique", 11, importUnique},
      {"", "NonZero", 9, importNonZero},
      {"", "Compress", 9, importCompress},
      {"", "NonMaxSuppression", 10, importNonMaxSuppression},
      {"", "CumSum", 11, importCumulate<false>},
      {"", "CumProd", 26, importCumulate<true>},
      {"", "Det", 11, importDet},
      {"", "RandomUniform", 1, importRandom<false, false>},
      {"", "RandomUniformLike", 1, importRandom<false, true>},
      {"", "RandomNormal", 1, importRandom<true, false>},
      {"", "RandomNormalLike", 1, importRandom<true, true>},
      {"", "Bernoulli", 15, importBernoulli},
      {"", "Multinomial", 7, importMultinomial},
  };
  return table;
}
