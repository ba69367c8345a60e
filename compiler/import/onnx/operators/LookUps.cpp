// Gather, scatter and what is made of them. What follows from shapes (Shape, then Gather) is looked
// up at once.
#include "compiler/import/onnx/NodeImport.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using namespace kiln;

/// Params of a lookup along dims of `data`: a note where a call may give one of them no elements.
/// False where one certainly has none although the result has elements.
static bool lookUpParams(NodeImport &n, const Array &data, ArrayRef<int64_t> dims,
                         ArrayRef<AffineExpr> result, SmallVector<ArrayBuilder::Param> &params) {
  for (int64_t dim : dims) {
    auto [least, most] = n.a.boundsOf(data.shape[dim]);
    if (most == 0 && n.a.boundsOf(n.a.product(result)).second > 0) {
      n.fail(llvm::formatv("elements are looked up along dim {0}, which has none", dim));
      return false;
    }
    if (least == 0 && (params.empty() || params.back().first != "maybe_empty"))
      params.push_back({"maybe_empty", n.a.b.getUnitAttr()});
  }
  return true;
}

/// Known elements of known data, at places that are known.
static std::optional<Array> gatherKnown(NodeImport &n, const Array &data, const Array &places,
                                        int64_t axis, ArrayRef<AffineExpr> shape) {
  auto indices = n.a.integersOf(places);
  if (!indices || !data.contents || !data.hasFixedShape())
    return std::nullopt;
  int64_t outer = 1, inner = 1, extent = data.extent(axis);
  for (int64_t dim = 0; dim < data.rank(); ++dim)
    if (dim != axis)
      (dim < axis ? outer : inner) *= data.extent(dim);
  Array result;
  result.element = data.element;
  result.shape.assign(shape.begin(), shape.end());
  if (result.count() > 4096)
    return std::nullopt;
  Contents contents;
  for (int64_t i = 0; i < outer; ++i)
    for (int64_t index : *indices) {
      int64_t place = index < 0 ? index + extent : index;
      if (place < 0 || place >= extent) {
        n.fail(llvm::formatv("index {0} of a dim of {1}", index, extent));
        return Array();
      }
      for (int64_t j = 0; j < inner; ++j) {
        int64_t from = (i * extent + place) * inner + j;
        if (data.contents->reals.empty())
          contents.integers.push_back(data.contents->integers[from]);
        else
          contents.reals.push_back(data.contents->reals[from]);
      }
    }
  result.contents = std::make_shared<Contents>(std::move(contents));
  return result;
}

static void importGather(NodeImport &n) {
  const Array &data = n.input(0), &places = n.input(1);
  if (!data || !places)
    return;
  if (data.rank() == 0)
    return n.fail("a scalar has no elements to gather");
  std::optional<int64_t> axis = n.axis(n.integer("axis", 0), data.rank());
  if (!axis)
    return;
  ArrayBuilder &a = n.a;
  Shape shape(ArrayRef(data.shape).take_front(*axis));
  llvm::append_range(shape, places.shape);
  llvm::append_range(shape, ArrayRef(data.shape).drop_front(*axis + 1));
  if (std::optional<Array> known = gatherKnown(n, data, places, *axis, shape))
    return n.results.push_back(*known);
  // One known place: a slice, which costs nothing.
  auto indices = a.integersOf(places);
  if (indices && indices->size() == 1) {
    int64_t index = indices->front();
    AffineExpr place = index < 0 ? a.simplify(data.shape[*axis] + index) : a.number(index);
    auto [low, high] = a.boundsOf(place);
    if (low >= 0 && a.boundsOf(a.simplify(data.shape[*axis] - place)).first > 0) {
      SmallVector<AffineExpr> starts(data.rank(), a.number(0));
      starts[*axis] = place;
      Shape one = data.shape;
      one[*axis] = a.number(1);
      return n.results.push_back(a.reshape(a.sliceAt(data, starts, one), shape));
    }
  }
  SmallVector<ArrayBuilder::Param> params{{"axis", a.attr(*axis)}};
  if (lookUpParams(n, data, *axis, shape, params))
    n.results.push_back(a.compute("gather", {data, places}, data.element, shape, a.params(params)));
}

static void importGatherElements(NodeImport &n) {
  const Array &data = n.input(0), &places = n.input(1);
  if (!data || !places)
    return;
  std::optional<int64_t> axis = n.axis(n.integer("axis", 0), data.rank());
  if (!axis)
    return;
  if (data.rank() != places.rank() || data.rank() == 0)
    return n.fail(llvm::formatv("indices of {0} dims for data of {1}", places.rank(), data.rank()));
  ArrayBuilder &a = n.a;
  SmallVector<int64_t> bounded, lookedInto{*axis};
  for (int64_t dim = 0; dim < data.rank(); ++dim) {
    auto [low, high] = a.boundsOf(a.simplify(places.shape[dim] - data.shape[dim]));
    if (dim != *axis && low > 0)
      return n.fail(llvm::formatv("dim {0} of the indices is larger than the data's", dim));
    if (dim != *axis && high > 0) {
      bounded.push_back(dim);
      lookedInto.push_back(dim);
    }
  }
  SmallVector<ArrayBuilder::Param> params{{"axis", a.attr(*axis)}, {"bounded", a.attr(bounded)}};
  if (lookUpParams(n, data, lookedInto, places.shape, params))
    n.results.push_back(
        a.compute("gather_elements", {data, places}, data.element, places.shape, a.params(params)));
}

/// Makes the last dim of indices, which tells how many there are for each place, a fixed one: where
/// it is not, `otherwise` follows from the ranks of other arrays.
static int64_t fixDepth(NodeImport &n, Array &places, int64_t otherwise) {
  if (places.rank() == 0)
    return -1;
  int64_t last = places.rank() - 1;
  if (places.extent(last) >= 0 || otherwise < 0)
    return places.extent(last);
  Shape shape = places.shape;
  shape[last] = n.a.number(otherwise);
  if (!n.a.sameOrRequired(places.shape[last], shape[last], "the number of indices of a place"))
    return -1;
  places = n.a.reshapeUnchecked(places, shape);
  return otherwise;
}

static void importGatherNd(NodeImport &n) {
  const Array &data = n.input(0);
  Array places = n.input(1);
  if (!data || !places)
    return;
  int64_t batch = n.integer("batch_dims", 0);
  const OnnxValue *declared = n.declared(0);
  int64_t depth = fixDepth(
      n, places,
      declared ? places.rank() - 1 + data.rank() - batch - int64_t(declared->shape.size()) : -1);
  if (batch < 0 || batch >= places.rank() || depth < 1 || batch + depth > data.rank())
    return n.fail(llvm::formatv("{0} indices each and {1} batch dims for data of {2} dims", depth,
                                batch, data.rank()));
  ArrayBuilder &a = n.a;
  for (int64_t dim = 0; dim < batch; ++dim)
    if (!a.sameOrRequired(places.shape[dim], data.shape[dim], "a batch dim of the indices"))
      return n.fail(llvm::formatv("batch dim {0} differs", dim));
  Shape shape(ArrayRef(places.shape).drop_back());
  llvm::append_range(shape, ArrayRef(data.shape).drop_front(batch + depth));
  SmallVector<int64_t> lookedInto;
  for (int64_t i = 0; i < depth; ++i)
    lookedInto.push_back(batch + i);
  SmallVector<ArrayBuilder::Param> params{{"batch_dims", a.attr(batch)}};
  if (lookUpParams(n, data, lookedInto, shape, params))
    n.results.push_back(
        a.compute("gather_nd", {data, places}, data.element, shape, a.params(params)));
}

// ---- Scatter ------------------------------------------------------------------------------------

static std::optional<std::string> reductionOf(NodeImport &n) {
  std::string reduction = n.text("reduction", "none");
  if (llvm::is_contained({"none", "add", "mul", "min", "max"}, reduction))
    return reduction;
  n.fail("reduction '" + reduction + "' is unknown");
  return std::nullopt;
}

static void importScatterElements(NodeImport &n) {
  const Array &data = n.input(0), &places = n.input(1), &updates = n.input(2);
  if (!data || !places || !updates)
    return;
  std::optional<int64_t> axis = n.axis(n.integer("axis", 0), data.rank());
  std::optional<std::string> reduction = reductionOf(n);
  if (!axis || !reduction)
    return;
  if (data.rank() == 0 || data.rank() != places.rank() || data.rank() != updates.rank())
    return n.fail(llvm::formatv("data of {0} dims, indices of {1}, updates of {2}", data.rank(),
                                places.rank(), updates.rank()));
  ArrayBuilder &a = n.a;
  for (int64_t dim = 0; dim < data.rank(); ++dim) {
    if (!a.sameOrRequired(places.shape[dim], updates.shape[dim], "the shape of the updates"))
      return n.fail(llvm::formatv("dim {0} of indices and updates differs", dim));
    if (dim != *axis && a.boundsOf(a.simplify(places.shape[dim] - data.shape[dim])).first > 0)
      return n.fail(llvm::formatv("dim {0} of the indices is larger than the data's", dim));
  }
  n.results.push_back(
      a.compute("scatter_elements", {data, places, updates}, data.element, data.shape,
                a.params({{"axis", a.attr(*axis)}, {"reduction", a.attr(*reduction)}})));
}

static void importScatterNd(NodeImport &n) {
  const Array &data = n.input(0), &updates = n.input(2);
  Array places = n.input(1);
  if (!data || !places || !updates)
    return;
  std::optional<std::string> reduction = reductionOf(n);
  if (!reduction)
    return;
  int64_t depth = fixDepth(n, places, places.rank() - 1 + data.rank() - updates.rank());
  if (depth < 0 || depth > data.rank())
    return n.fail(llvm::formatv("{0} indices each for data of {1} dims", depth, data.rank()));
  ArrayBuilder &a = n.a;
  Shape wanted(ArrayRef(places.shape).drop_back());
  llvm::append_range(wanted, ArrayRef(data.shape).drop_front(depth));
  if (wanted.size() != updates.shape.size())
    return n.fail(
        llvm::formatv("updates of {0} dims where {1} are expected", updates.rank(), wanted.size()));
  for (auto [dim, size] : llvm::enumerate(wanted))
    if (!a.sameOrRequired(updates.shape[dim], size, "the shape of the updates"))
      return n.fail(llvm::formatv("dim {0} of the updates does not fit", dim));
  n.results.push_back(a.compute("scatter_nd", {data, places, updates}, data.element, data.shape,
                                a.params({{"reduction", a.attr(*reduction)}})));
}

static void importTensorScatter(NodeImport &n) {
  const Array &past = n.input(0), &update = n.input(1);
  if (!past || !update)
    return;
  std::optional<int64_t> axis = n.axis(n.integer("axis", -2), past.rank());
  std::string mode = n.text("mode", "linear");
  if (!axis)
    return;
  if (*axis == 0 || past.rank() != update.rank() || past.element != update.element)
    return n.fail("past and update do not fit, or the axis is that of the batch");
  ArrayBuilder &a = n.a;
  for (int64_t dim = 0; dim < past.rank(); ++dim)
    if (dim != *axis && !a.sameOrRequired(past.shape[dim], update.shape[dim], "the update's shape"))
      return n.fail(llvm::formatv("dim {0} of past and update differs", dim));
  SmallVector<Array> operands{past, update};
  if (n.has(2)) {
    if (n.inputs[2].rank() != 1 ||
        !a.sameOrRequired(n.inputs[2].shape[0], past.shape[0], "the number of write indices"))
      return n.fail("one write index for each of the batch is expected");
    operands.push_back(n.inputs[2]);
  }
  SmallVector<ArrayBuilder::Param> params{{"axis", a.attr(*axis)}};
  if (mode == "circular")
    params.push_back({"circular", a.b.getUnitAttr()});
  else if (mode != "linear")
    return n.fail("mode '" + mode + "' is unknown");
  n.results.push_back(
      a.compute("tensor_scatter", operands, past.element, past.shape, a.params(params)));
}

// ---- Others -------------------------------------------------------------------------------------

static void importReverseSequence(NodeImport &n) {
  const Array &data = n.input(0), &lengths = n.input(1);
  if (!data || !lengths)
    return;
  int64_t time = n.integer("time_axis", 0), batch = n.integer("batch_axis", 1);
  if (data.rank() < 2 || lengths.rank() != 1 || time + batch != 1 || (time != 0 && time != 1))
    return n.fail("the first two dims are expected to be time and batch");
  ArrayBuilder &a = n.a;
  if (!a.sameOrRequired(lengths.shape[0], data.shape[batch], "the number of sequences"))
    return n.fail("one length for each of the batch is expected");
  n.results.push_back(
      a.compute("reverse_sequence", {data, lengths}, data.element, data.shape,
                a.params({{"time_axis", a.attr(time)}, {"batch_axis", a.attr(batch)}})));
}

/// The numbers along one dim of `rank`, which broadcast against the others.
static Array numbersAlong(ArrayBuilder &a, AffineExpr extent, int64_t axis, int64_t rank) {
  Array line = a.compute("iota", {}, a.b.getI64Type(), extent, a.params({{"axis", a.attr(0)}}));
  Shape shape(rank, a.number(1));
  shape[axis] = extent;
  return a.reshape(line, shape);
}

static void importOneHot(NodeImport &n) {
  const Array &places = n.input(0), &values = n.input(2);
  if (!places || !n.input(1) || !values)
    return;
  ArrayBuilder &a = n.a;
  Array depth = n.scalarInput(1);
  if (!depth)
    return;
  Type i64 = a.b.getI64Type();
  std::optional<int64_t> axis = n.axis(n.integer("axis", -1), places.rank() + 1);
  if (!axis)
    return;
  if (values.rank() != 1 || !a.sameOrRequired(values.shape[0], a.number(2), "values of a OneHot"))
    return n.fail("two values are expected, off and on");
  Shape shape = places.shape;
  AffineExpr extent;
  // The depth may be a float.
  if (depth.contents) {
    extent = depth.contents->reals.empty() ? depth.contents->integers[0]
                                           : a.number(int64_t(depth.contents->reals[0]));
  } else {
    SmallVector<AffineExpr> own(places.shape);
    Array sizes = a.reshape(a.cast(depth, i64), a.number(1));
    SmallVector<Array> parts;
    if (*axis > 0)
      parts.push_back(a.integers(ArrayRef(own).take_front(*axis)));
    parts.push_back(sizes);
    if (*axis < places.rank())
      parts.push_back(a.integers(ArrayRef(own).drop_front(*axis)));
    std::optional<Shape> whole = n.runtimeShape(0, a.concat(parts, 0));
    if (!whole)
      return;
    extent = (*whole)[*axis];
  }
  if (a.boundsOf(extent).first < 0)
    return n.fail("a negative depth");
  shape.insert(shape.begin() + *axis, extent);
  Shape column = places.shape;
  column.insert(column.begin() + *axis, a.number(1));
  Array index = a.reshape(a.cast(places, i64), column);
  Array isNegative = a.map("less", {index, a.integer(a.number(0))}, a.b.getI1Type());
  index = a.map("where", {isNegative, a.add(index, a.integer(extent)), index}, i64);
  Array isHot = a.map("equal", {index, numbersAlong(a, extent, *axis, int64_t(shape.size()))},
                      a.b.getI1Type());
  auto value = [&](int64_t i) { return a.reshape(a.slice(values, i, a.number(1)), {}); };
  n.results.push_back(
      a.broadcast(a.map("where", {isHot, value(1), value(0)}, values.element), shape));
}

/// Columns less rows, of the last two dims.
static Array diagonals(ArrayBuilder &a, ArrayRef<AffineExpr> shape) {
  int64_t rank = int64_t(shape.size());
  return a.sub(numbersAlong(a, shape[rank - 1], 1, 2), numbersAlong(a, shape[rank - 2], 0, 2));
}

static void importTrilu(NodeImport &n) {
  const Array &x = n.input(0);
  if (!x)
    return;
  if (x.rank() < 2)
    return n.fail("a matrix is expected");
  ArrayBuilder &a = n.a;
  Array k = n.has(1) ? a.cast(n.scalarInput(1), a.b.getI64Type()) : a.integer(a.number(0));
  if (!k)
    return;
  bool upper = n.integer("upper", 1) != 0;
  Array keep =
      a.map(upper ? "greater_equal" : "less_equal", {diagonals(a, x.shape), k}, a.b.getI1Type());
  Array zero = a.scalar(x.element, 0);
  n.results.push_back(a.map("where", {keep, x, zero}, x.element));
}

static void importEyeLike(NodeImport &n) {
  const Array &x = n.input(0);
  if (!x)
    return;
  if (x.rank() != 2)
    return n.fail("a matrix is expected");
  ArrayBuilder &a = n.a;
  Type element = x.element;
  if (n.hasAttribute("dtype"))
    element = elementTypeOf(OnnxType(n.integer("dtype", 1)), a.b.getContext());
  if (!element)
    return n.fail("the type asked for is not supported");
  Array k = a.integer(a.number(n.integer("k", 0)));
  Array isOne = a.map("equal", {diagonals(a, x.shape), k}, a.b.getI1Type());
  n.results.push_back(a.cast(isOne, element));
}

/// start + i * delta, i < max(ceil((limit - start) / delta), 0).
static void importRange(NodeImport &n) {
  Array start = n.scalarInput(0), limit = n.scalarInput(1), delta = n.scalarInput(2);
  if (!start || !limit || !delta)
    return;
  ArrayBuilder &a = n.a;
  for (const Array *x : {&start, &limit, &delta})
    if (x->element != start.element)
      return n.fail("scalars of one type are expected");
  Type element = start.element;
  AffineExpr length;
  auto first = a.valuesOf(start), last = a.valuesOf(limit), step = a.valuesOf(delta);
  const SmallVector<AffineExpr> *from = a.expressionsOf(start), *to = a.expressionsOf(limit);
  if (step && step->front() == 0)
    return n.fail("a range with steps of 0");
  if (first && last && step) {
    double count = std::ceil((last->front() - first->front()) / step->front());
    if (!(count <= double(int64_t(1) << 40)))
      return n.fail("a range that does not end");
    length = a.number(int64_t(std::max(count, 0.0)));
  } else if (from && to && step && isa<IntegerType>(element)) {
    auto by = int64_t(step->front());
    AffineExpr span = by > 0 ? to->front() - from->front() : from->front() - to->front();
    AffineExpr count = a.simplify(a.simplify(span).ceilDiv(std::abs(by)));
    if (a.boundsOf(count).first >= 0)
      length = count;
    else if (a.boundsOf(count).second <= 0)
      length = a.number(0);
  }
  if (length) {
    int64_t fixed =
        isa<AffineConstantExpr>(length) ? cast<AffineConstantExpr>(length).getValue() : -1;
    if (from && step && isa<IntegerType>(element) && fixed >= 0 && fixed <= 4096) {
      SmallVector<AffineExpr> values;
      for (int64_t i = 0; i < fixed; ++i)
        values.push_back(a.simplify(from->front() + i * int64_t(step->front())));
      return n.results.push_back(a.integers(values, element));
    }
  } else {
    // Counted in f64, which has all sizes that can be.
    Type wide = a.b.getF64Type();
    Array span = a.sub(a.cast(limit, wide), a.cast(start, wide));
    Array count = a.unary("ceil", a.div(span, a.cast(delta, wide)));
    count = a.map("max", {count, a.scalar(wide, 0)});
    std::optional<Shape> shape =
        n.runtimeShape(0, a.reshape(a.cast(count, a.b.getI64Type()), a.number(1)));
    if (!shape)
      return;
    length = shape->front();
  }
  n.results.push_back(
      a.compute("iota", {start, delta}, element, length, a.params({{"axis", a.attr(0)}})));
}

/// Tokens that are integers; see the record count_ngrams.
static void importTfIdf(NodeImport &n) {
  const Array &tokens = n.input(0);
  if (!tokens)
    return;
  ArrayBuilder &a = n.a;
  if (n.hasAttribute("pool_strings"))
    return n.fail("n-grams of strings are not supported");
  if (!isa<IntegerType>(tokens.element) || tokens.rank() < 1 || tokens.rank() > 2)
    return n.fail("one or two dims of integers are expected");
  SmallVector<int64_t> pool = n.integers("pool_int64s"), counts = n.integers("ngram_counts");
  SmallVector<int64_t> columns = n.integers("ngram_indexes");
  int64_t least = n.integer("min_gram_length", 1), most = n.integer("max_gram_length", 1);
  int64_t skips = n.integer("max_skip_count", 0);
  std::string mode = StringRef(n.text("mode", "TF")).lower();
  const OnnxAttribute *weights = n.attribute("weights");
  if (!llvm::is_contained({"tf", "idf", "tfidf"}, mode) || skips < 0 || skips > 1 << 20)
    return n.fail("the mode or the number of tokens to skip is not valid");
  // counts[i] is where the n-grams of i + 1 tokens start.
  SmallVector<int64_t> starts, lengths, used;
  SmallVector<double> factors;
  size_t gram = 0;
  for (auto [i, begin] : llvm::enumerate(counts)) {
    int64_t length = int64_t(i) + 1;
    int64_t end = i + 1 < counts.size() ? counts[i + 1] : int64_t(pool.size());
    if (begin < 0 || end < begin || end > int64_t(pool.size()) || (end - begin) % length)
      return n.fail("ngram_counts and pool_int64s do not fit");
    for (int64_t at = begin; at < end; at += length, ++gram) {
      if (gram >= columns.size() || columns[gram] < 0 ||
          (weights && gram >= weights->floats.size()))
        return n.fail("ngram_indexes or weights do not fit the n-grams");
      if (length < least || length > most)
        continue;
      starts.push_back(at);
      lengths.push_back(length);
      used.push_back(columns[gram]);
      factors.push_back(weights ? weights->floats[gram] : 1);
    }
  }
  if (gram != columns.size() || columns.empty() || starts.empty())
    return n.fail("there are no n-grams, or more columns than n-grams");
  int64_t width = *llvm::max_element(columns) + 1;
  if (width > int64_t(1) << 32)
    return n.fail(llvm::formatv("a result of {0} columns", width));
  AffineExpr rows = tokens.rank() == 2 ? tokens.shape[0] : a.number(1);
  Type real = a.b.getF32Type();
  auto numbers = [&](ArrayRef<int64_t> values) { return a.integers(a.numbers(values)); };
  Array result = a.compute(
      "count_ngrams",
      {a.reshape(tokens, {rows, tokens.shape.back()}), numbers(pool), numbers(starts),
       numbers(lengths), numbers(used), a.constant(real, int64_t(factors.size()), factors)},
      real, {rows, a.number(width)},
      a.params({{"mode", a.attr(StringRef(mode))}, {"max_skip", a.attr(skips)}}));
  n.results.push_back(tokens.rank() == 2 ? result : a.reshape(result, a.number(width)));
}

ArrayRef<OnnxOperator> kiln::onnxLookUps() {
  static const OnnxOperator table[] = {
      {"", "Gather", 1, importGather},
      {"", "GatherElements", 11, importGatherElements},
      {"", "GatherND", 11, importGatherNd},
      {"", "Scatter", 9, importScatterElements},
      {"", "ScatterElements", 11, importScatterElements},
      {"", "ScatterND", 11, importScatterNd},
      {"", "TensorScatter", 24, importTensorScatter},
      {"", "ReverseSequence", 10, importReverseSequence},
      {"", "OneHot", 9, importOneHot},
      {"", "Trilu", 14, importTrilu},
      {"", "EyeLike", 9, importEyeLike},
      {"", "Range", 11, importRange},
      {"", "TfIdfVectorizer", 9, importTfIdf},
  };
  return table;
}
