// Reductions along axes, softmax and the norms.
#include "compiler/import/onnx/operators/ImageWindow.h"
#include "llvm/Support/FormatVariadic.h"
#include <cmath>

using namespace mlir;
using namespace kiln;

// ---- Reductions -------------------------------------------------------------------------------

/// The shape of a reduction whose axes are computed while the model runs: what the model declares,
/// or dims that are given then.
static std::optional<Shape> shapeOfComputedAxes(NodeImport &n, const Array &x, const Array &axes,
                                                bool keep, bool noop) {
  ArrayBuilder &a = n.a;
  int64_t rank = x.rank(), removed = keep || axes.rank() != 1 ? 0 : axes.extent(0);
  if (const OnnxValue *told = n.declared(0); removed < 0 && told) // as many as the rank tells
    removed = rank - int64_t(told->shape.size());
  if (axes.rank() != 1 || removed < 0 || removed > rank) {
    n.fail("the number of axes is not known");
    return std::nullopt;
  }
  const OnnxValue *declared = n.declared(0);
  auto isFixed = [](const OnnxDim &dim) { return dim.extent >= 0; };
  if (declared && int64_t(declared->shape.size()) == rank - removed &&
      llvm::all_of(declared->shape, isFixed))
    return n.declaredShape(0);
  // Sizes of all dims, and of each whether it is an axis.
  Type i64 = a.b.getI64Type(), truth = a.b.getI1Type();
  auto iota = [&](ArrayRef<int64_t> shape, int64_t axis) {
    return a.compute("iota", {}, i64, a.numbers(shape), a.params({{"axis", a.attr(axis)}}));
  };
  Array wide = a.cast(axes, i64), zero = a.scalar(i64, 0), count = a.scalar(i64, double(rank));
  wide = a.map("where", {a.map("less", {wide, zero}, truth), a.add(wide, count), wide}, i64);
  Array dims = iota({rank, 1}, 0);
  Array isAxis = a.cast(a.map("equal", {dims, wide}, truth), i64); // [dims, axes]
  isAxis = a.reduce("sum", isAxis, int64_t(1), /*keepDims=*/false);
  isAxis = a.map("greater", {isAxis, zero}, truth);
  if (!noop) // no axes are all of them
    isAxis = a.map("or", {isAxis, a.map("equal", {a.integer(axes.shape[0]), zero}, truth)}, truth);
  isAxis = a.cast(isAxis, i64);
  Array kept = a.sub(a.scalar(i64, 1), isAxis), sizes = a.integers(x.shape), values;
  if (keep) {
    values = a.add(a.mul(kept, sizes), isAxis);
  } else {
    // Dim i of the result is the dim with i kept ones in front of it.
    Array before = a.cast(a.map("less", {iota({1, rank}, 1), dims}, truth), i64);
    before = a.reduce("sum", a.mul(before, kept), int64_t(1), false);
    Array isSource = a.map("equal", {iota({rank - removed, 1}, 0), before}, truth);
    Array source = a.mul(a.cast(isSource, i64), a.mul(kept, sizes));
    values = a.reduce("sum", source, int64_t(1), false);
  }
  Shape shape;
  int64_t most = 1;
  for (AffineExpr size : x.shape)
    most = std::max(most, a.boundsOf(size).second);
  for (int64_t dim = 0; dim < rank - removed; ++dim)
    shape.push_back(
        a.declareComputedDim(n.node.outputs[0] + "_" + std::to_string(dim), 0,
                             keep ? std::max<int64_t>(a.boundsOf(x.shape[dim]).second, 1) : most));
  if (!shape.empty())
    a.setDims(shape, values);
  return shape;
}

/// The axes are an attribute, and from some version on an input; with `noop_with_empty_axes` none
/// means no reduction, else all.
static void addReduction(NodeImport &n, StringRef kind) {
  Array x = n.input(0);
  if (!x)
    return;
  bool keep = n.integer("keepdims", 1) != 0, noop = n.integer("noop_with_empty_axes", 0) != 0;
  bool isNone = n.has(1) && n.inputs[1].rank() == 1 && n.inputs[1].extent(0) == 0;
  if (!n.hasAttribute("axes") && n.has(1) && !n.a.isConstant(n.inputs[1]) && !isNone) {
    std::optional<Shape> shape = shapeOfComputedAxes(n, x, n.inputs[1], keep, noop);
    if (!shape)
      return;
    SmallVector<ArrayBuilder::Param> params{{"keep_dims", n.a.attr(int64_t(keep))}};
    if (!noop)
      params.push_back({"none_is_all", n.a.attr(1)});
    return n.results.push_back(n.a.compute(("reduce_" + kind).str(), {x, n.inputs[1]}, x.element,
                                           *shape, n.a.params(params)));
  }
  SmallVector<int64_t> axes;
  if (isNone) {
    // no axes
  } else if (auto given = n.axes("axes", 1, x.rank())) {
    axes = *given;
  } else if (n.a.failed()) {
    return;
  }
  if (axes.empty() && !noop)
    axes = llvm::to_vector(llvm::seq<int64_t>(0, x.rank()));
  n.results.push_back(n.a.reduce(kind, x, axes, keep));
}

static void addExtreme(NodeImport &n, bool least) {
  const Array &x = n.input(0);
  if (!x)
    return;
  std::optional<int64_t> axis = n.axis(n.integer("axis", 0), x.rank());
  if (!axis)
    return;
  bool keep = n.integer("keepdims", 1) != 0;
  Shape shape;
  for (auto [dim, size] : llvm::enumerate(x.shape))
    if (int64_t(dim) != *axis)
      shape.push_back(size);
    else if (keep)
      shape.push_back(n.a.number(1));
  n.results.push_back(
      n.a.compute("arg_extreme", x, n.a.b.getI64Type(), shape,
                  n.a.params({{"axis", n.a.attr(*axis)},
                              {"keep_dims", n.a.attr(int64_t(keep))},
                              {"least", n.a.attr(int64_t(least))},
                              {"last", n.a.attr(n.integer("select_last_index", 0))}})));
}

// ---- Softmax ----------------------------------------------------------------------------------

static Array softmax(NodeImport &n, StringRef kind, const Array &x, int64_t axis) {
  return n.a.compute(kind, x, x.element, x.shape, n.a.params({{"axis", n.a.attr(axis)}}));
}

/// 1 at the first of the greatest elements along an axis, else 0.
static Array hardmax(NodeImport &n, const Array &x, int64_t axis) {
  ArrayBuilder &a = n.a;
  if (x.rank() == 0)
    return a.scalar(x.element, 1);
  Shape kept = x.shape;
  kept[axis] = a.number(1);
  Type i64 = a.b.getI64Type();
  Array place = a.compute("arg_extreme", x, i64, kept,
                          a.params({{"axis", a.attr(axis)},
                                    {"keep_dims", a.attr(int64_t(1))},
                                    {"least", a.attr(int64_t(0))},
                                    {"last", a.attr(int64_t(0))}}));
  Array number = a.compute("iota", {}, i64, x.shape, a.params({{"axis", a.attr(axis)}}));
  return a.cast(a.map("equal", {number, place}, a.b.getI1Type()), x.element);
}

/// Before opset 13 all dims from the axis on are one, and those before it another.
static void addSoftmax(NodeImport &n, StringRef kind) {
  Array x = n.input(0);
  if (!x)
    return;
  bool flattens = n.version < 13;
  std::optional<int64_t> axis = n.axis(n.integer("axis", flattens ? 1 : -1), x.rank());
  if (!axis)
    return;
  Shape shape = x.shape;
  if (flattens && *axis + 1 != x.rank()) {
    x = n.a.reshape(x, {n.a.product(ArrayRef(shape).take_front(*axis)),
                        n.a.product(ArrayRef(shape).drop_front(*axis))});
    axis = 1;
  }
  Array result = kind == "hardmax" ? hardmax(n, x, *axis) : softmax(n, kind, x, *axis);
  n.results.push_back(n.a.reshape(result, shape));
}

// ---- Norms ------------------------------------------------------------------------------------

/// Rows from `axis` on without mean and with a variance of 1, and what they were; `kind` is
/// layer_norm or rms_norm.
static SmallVector<Array> normalize(ArrayBuilder &a, StringRef kind, ArrayRef<Array> operands,
                                    int64_t axis, double eps, unsigned results = 1,
                                    Type statistic = {}) {
  const Array &x = operands[0];
  SmallVector<Type> elements{x.element};
  SmallVector<Shape> shapes{x.shape};
  for (unsigned i = 1; i < results; ++i) {
    elements.push_back(statistic);
    shapes.push_back(x.shape);
    for (int64_t dim = axis; dim < x.rank(); ++dim)
      shapes.back()[dim] = a.number(1);
  }
  return a.compute(kind, operands, elements, shapes,
                   a.params({{"axis", a.attr(axis)}, {"eps", a.attr(eps)}}));
}

static void importLayerNormalization(NodeImport &n) {
  if (!n.input(0) || !n.input(1))
    return;
  const Array &x = n.inputs[0];
  std::optional<int64_t> axis = n.axis(n.integer("axis", -1), x.rank());
  if (!axis)
    return;
  SmallVector<Array> operands{x, n.inputs[1]};
  if (n.has(2))
    operands.push_back(n.inputs[2]);
  unsigned results = n.wants(2) ? 3 : n.wants(1) ? 2 : 1;
  Type statistic = elementTypeOf(OnnxType(n.integer("stash_type", 1)), n.a.b.getContext());
  if (!statistic || !isa<FloatType>(statistic))
    return n.fail("stash_type is no float type");
  n.results =
      normalize(n.a, "layer_norm", operands, *axis, n.real("epsilon", 1e-5), results, statistic);
}

static void importRmsNormalization(NodeImport &n) {
  if (!n.input(0) || !n.input(1))
    return;
  const Array &x = n.inputs[0];
  if (auto axis = n.axis(n.integer("axis", -1), x.rank()))
    n.results = normalize(n.a, "rms_norm", {x, n.inputs[1]}, *axis, n.real("epsilon", 1e-5));
}

/// A vector along dim `dim` of arrays of that rank.
static Array along(ArrayBuilder &a, const Array &vector, int64_t dim, int64_t rank) {
  if (vector.rank() != 1)
    return a.failed() ? Array() : a.fail("expected a scale and a bias of one dim");
  Shape shape(rank, a.number(1));
  shape[dim] = vector.shape[0];
  return a.reshape(vector, shape);
}

/// x [N, C, …] without mean and with a variance of 1 over runs of channels, `groups` of them, or
/// (0) over each channel.
static Array normalizeGroups(ArrayBuilder &a, const Array &x, int64_t groups, double eps) {
  ArrayRef<AffineExpr> shape = x.shape;
  AffineExpr inner = a.product(shape.drop_front(2));
  AffineExpr count = groups ? a.number(groups) : shape[1];
  AffineExpr run = groups ? a.simplify(shape[1].floorDiv(groups) * inner) : inner;
  Array flat = a.reshape(x, {shape[0], count, run});
  return a.reshape(normalize(a, "layer_norm", flat, 2, eps)[0], x.shape);
}

static void importInstanceNormalization(NodeImport &n) {
  if (!n.input(0) || !n.input(1) || !n.input(2))
    return;
  const Array &x = n.inputs[0];
  if (x.rank() < 3)
    return n.fail("takes [N, C, spatial dims]");
  Array y = normalizeGroups(n.a, x, 0, n.real("epsilon", 1e-5));
  y = n.a.mul(y, along(n.a, n.inputs[1], 1, x.rank()));
  n.results.push_back(n.a.add(y, along(n.a, n.inputs[2], 1, x.rank())));
}

/// Scale and bias are of each group in opset 18, of each channel since 21.
static void importGroupNormalization(NodeImport &n) {
  if (!n.input(0) || !n.input(1) || !n.input(2))
    return;
  const Array &x = n.inputs[0];
  int64_t groups = n.integer("num_groups", 0), channels = x.rank() > 1 ? x.extent(1) : -1;
  if (x.rank() < 3 || groups < 1 || channels < 0 || channels % groups)
    return n.fail(llvm::formatv("{0} groups of {1} channels", groups, channels));
  ArrayBuilder &a = n.a;
  Array y = normalizeGroups(a, x, groups, n.real("epsilon", 1e-5));
  auto parameter = [&](Array vector) {
    if (n.version < 21) {
      vector = a.broadcast(a.reshape(vector, a.numbers({groups, 1})),
                           a.numbers({groups, channels / groups}));
      vector = a.reshape(vector, a.numbers({channels}));
    }
    return along(a, vector, 1, x.rank());
  };
  n.results.push_back(a.add(a.mul(y, parameter(n.inputs[1])), parameter(n.inputs[2])));
}

static void importLpNormalization(NodeImport &n) {
  const Array &x = n.input(0);
  if (!x)
    return;
  std::optional<int64_t> axis = n.axis(n.integer("axis", -1), x.rank());
  if (!axis)
    return;
  ArrayBuilder &a = n.a;
  int64_t p = n.integer("p", 2);
  if (p != 1 && p != 2)
    return n.fail(llvm::formatv("p is 1 or 2, found {0}", p));
  Array norm = a.reduce(p == 1 ? "l1" : "l2", x, *axis, /*keepDims=*/true);
  Array zero = a.scalar(x.element, 0);
  Array isZero = a.map("equal", {norm, zero}, a.b.getI1Type());
  Array safe = a.map("where", {isZero, a.scalar(x.element, 1), norm}, x.element);
  n.results.push_back(a.div(x, safe));
}

static void importMeanVarianceNormalization(NodeImport &n) {
  const Array &x = n.input(0);
  if (!x)
    return;
  ArrayBuilder &a = n.a;
  SmallVector<int64_t> axes;
  for (int64_t value : n.integers("axes", {0, 2, 3})) {
    std::optional<int64_t> axis = n.axis(value, x.rank());
    if (!axis)
      return;
    axes.push_back(*axis);
  }
  Array mean = a.reduce("mean", x, axes, true);
  Array centred = a.sub(x, mean);
  Array deviation = a.unary("sqrt", a.reduce("mean", a.mul(centred, centred), axes, true));
  n.results.push_back(a.div(centred, a.add(deviation, a.scalar(x.element, 1e-9))));
}

static void importLrn(NodeImport &n) {
  const Array &x = n.input(0);
  if (!x)
    return;
  if (x.rank() < 2)
    return n.fail("takes [N, C, spatial dims]");
  n.results.push_back(n.a.compute("lrn", x, x.element, x.shape,
                                  n.a.params({{"axis", n.a.attr(int64_t(1))},
                                              {"size", n.a.attr(n.integer("size", 1))},
                                              {"alpha", n.a.attr(n.real("alpha", 1e-4))},
                                              {"beta", n.a.attr(n.real("beta", 0.75))},
                                              {"bias", n.a.attr(n.real("bias", 1))}})));
}

/// y = x * scale / sqrt(variance + eps) + (bias - mean * that): a factor and a summand of each
/// channel, known at once where the parameters are.
static Array applyBatchNorm(NodeImport &n, const Array &x, ArrayRef<Array> parameters, double eps) {
  ArrayBuilder &a = n.a;
  SmallVector<std::vector<double>> known;
  for (const Array &parameter : parameters)
    if (auto values = a.valuesOf(parameter))
      known.push_back(std::move(*values));
  const Array &scale = parameters[0];
  int64_t channels = scale.rank() == 1 ? scale.extent(0) : -1;
  Array factor, summand;
  if (known.size() == 4 && channels >= 0) {
    std::vector<double> factors, summands;
    for (int64_t i = 0; i < channels; ++i) {
      factors.push_back(known[0][i] / std::sqrt(known[3][i] + eps));
      summands.push_back(known[1][i] - known[2][i] * factors.back());
    }
    factor = a.constant(x.element, channels, factors);
    summand = a.constant(x.element, channels, summands);
  } else {
    Type type = parameters[3].element;
    Array root = a.unary("sqrt", a.add(parameters[3], a.scalar(type, eps)));
    factor = a.div(a.cast(scale, type), root);
    summand = a.sub(a.cast(parameters[1], type), a.mul(parameters[2], factor));
    factor = a.cast(factor, x.element);
    summand = a.cast(summand, x.element);
  }
  return a.add(a.mul(x, along(a, factor, 1, x.rank())), along(a, summand, 1, x.rank()));
}

/// With training_mode the statistics are those of x, and the running ones follow them.
static void importBatchNormalization(NodeImport &n) {
  for (size_t i = 0; i < 5; ++i)
    if (!n.input(i))
      return;
  ArrayBuilder &a = n.a;
  const Array &x = n.inputs[0];
  for (const OnnxNode &node : n.graph.graph.nodes)
    if (llvm::is_contained(node.outputs, n.node.inputs[0]) &&
        findFoldedNorm(n.graph, node) == &n.node)
      return n.results.push_back(x); // the convolution before it has it in its weights
  if (x.rank() < 2 || n.integer("spatial", 1) != 1)
    return n.fail("takes [N, C, spatial dims] and statistics of each channel");
  for (size_t i = 1; i < 5; ++i)
    if (n.inputs[i].rank() != 1 ||
        !a.sameOrRequired(n.inputs[i].shape[0], x.shape[1], "the channels of a batch norm"))
      return n.fail(llvm::formatv("input {0} has not one element for each channel", i));
  double eps = n.real("epsilon", 1e-5), momentum = n.real("momentum", 0.9);
  bool training = n.version >= 14  ? n.integer("training_mode", 0) != 0
                  : n.version >= 7 ? n.wants(1)
                                   : n.integer("is_test", 0) == 0;
  SmallVector<Array> parameters{n.inputs[1], n.inputs[2], n.inputs[3], n.inputs[4]};
  if (!training) {
    n.results.push_back(applyBatchNorm(n, x, parameters, eps));
    return;
  }
  SmallVector<int64_t> axes{0};
  for (int64_t dim = 2; dim < x.rank(); ++dim)
    axes.push_back(dim);
  Type type = n.inputs[3].element;
  Array mean = a.reduce("mean", x, axes, false);
  Array centred = a.sub(x, along(a, mean, 1, x.rank()));
  Array variance = a.cast(a.reduce("mean", a.mul(centred, centred), axes, false), type);
  mean = a.cast(mean, type);
  parameters[2] = mean;
  parameters[3] = variance;
  n.results.push_back(applyBatchNorm(n, x, parameters, eps));
  auto follow = [&](const Array &running, const Array &now) {
    return a.add(a.mul(running, a.scalar(type, momentum)),
                 a.mul(now, a.scalar(type, 1 - momentum)));
  };
  n.results.push_back(follow(n.inputs[3], mean));
  n.results.push_back(follow(n.inputs[4], variance));
  n.results.push_back(mean); // saved_mean and saved_var, before opset 14
  n.results.push_back(variance);
}

ArrayRef<OnnxOperator> kiln::onnxReductions() {
#define REDUCE(type, kind)                                                                         \
  OnnxOperator {                                                                                   \
    "", type, 1, [](NodeImport &n) { addReduction(n, kind); }                                      \
  }
  static const OnnxOperator table[] = {
      REDUCE("ReduceSum", "sum"),
      REDUCE("ReduceMean", "mean"),
      REDUCE("ReduceProd", "prod"),
      REDUCE("ReduceMax", "max"),
      REDUCE("ReduceMin", "min"),
      REDUCE("ReduceL1", "l1"),
      REDUCE("ReduceL2", "l2"),
      REDUCE("ReduceLogSum", "log_sum"),
      REDUCE("ReduceLogSumExp", "log_sum_exp"),
      REDUCE("ReduceSumSquare", "sum_square"),
      {"", "ArgMax", 1, [](NodeImport &n) { addExtreme(n, false); }},
      {"", "ArgMin", 1, [](NodeImport &n) { addExtreme(n, true); }},
      {"", "Softmax", 1, [](NodeImport &n) { addSoftmax(n, "softmax"); }},
      {"", "LogSoftmax", 1, [](NodeImport &n) { addSoftmax(n, "log_softmax"); }},
      {"", "Hardmax", 1, [](NodeImport &n) { addSoftmax(n, "hardmax"); }},
      {"", "LayerNormalization", 17, importLayerNormalization},
      {"", "RMSNormalization", 23, importRmsNormalization},
      {"", "InstanceNormalization", 6, importInstanceNormalization},
      {"", "GroupNormalization", 18, importGroupNormalization},
      {"", "LpNormalization", 1, importLpNormalization},
      {"", "MeanVarianceNormalization", 9, importMeanVarianceNormalization},
      {"", "LRN", 1, importLrn},
      {"", "BatchNormalization", 1, importBatchNormalization},
  };
  return table;
#undef REDUCE
}
