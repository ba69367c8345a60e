// Sequences and optionals: lists of tensors whose lengths are known while the model is imported. An
// optional is a list of one item, or of none.
#include "compiler/import/onnx/operators/Loops.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using namespace kiln;

static Array listOf(ArrayRef<Array> items) {
  Array list;
  list.isList = true;
  list.items.assign(items.begin(), items.end());
  return list;
}

/// Input i, which must be a list; null where it is none.
static const Array *listInput(NodeImport &n, size_t i) {
  const Array &array = n.input(i);
  if (array.isList)
    return &array;
  if (!n.a.failed())
    n.fail(llvm::formatv("input {0} is no sequence", i));
  return nullptr;
}

/// A place in a list of `count`, negative ones counted from the end; `otherwise` where it is not
/// given.
static std::optional<int64_t> placeOf(NodeImport &n, size_t input, int64_t count, int64_t last,
                                      int64_t otherwise) {
  if (!n.has(input))
    return otherwise;
  auto known = n.a.integersOf(n.inputs[input]);
  if (!known || known->size() != 1) {
    n.fail("a position in a sequence that is computed while the model runs is not supported");
    return std::nullopt;
  }
  int64_t place = known->front() < 0 ? known->front() + count : known->front();
  if (place >= 0 && place <= last)
    return place;
  n.fail(llvm::formatv("position {0} of a sequence of {1}", known->front(), count));
  return std::nullopt;
}

static void importConstruct(NodeImport &n) {
  for (size_t i = 0; i < n.inputs.size(); ++i)
    if (!n.input(i))
      return;
  n.results.push_back(listOf(n.inputs));
}

static void importEmpty(NodeImport &n) { n.results.push_back(listOf({})); }

static void importAt(NodeImport &n) {
  const Array *list = listInput(n, 0);
  if (!list || !n.input(1))
    return;
  int64_t count = int64_t(list->items.size());
  if (std::optional<int64_t> place = placeOf(n, 1, count, count - 1, 0))
    n.results.push_back(list->items[*place]);
}

static void importInsert(NodeImport &n) {
  const Array *list = listInput(n, 0);
  if (!list || !n.input(1))
    return;
  int64_t count = int64_t(list->items.size());
  if (std::optional<int64_t> place = placeOf(n, 2, count, count, count)) {
    Array result = *list;
    result.items.insert(result.items.begin() + *place, n.inputs[1]);
    n.results.push_back(result);
  }
}

static void importErase(NodeImport &n) {
  const Array *list = listInput(n, 0);
  if (!list)
    return;
  int64_t count = int64_t(list->items.size());
  if (count == 0)
    return n.fail("an item of an empty sequence is removed");
  if (std::optional<int64_t> place = placeOf(n, 1, count, count - 1, count - 1)) {
    Array result = *list;
    result.items.erase(result.items.begin() + *place);
    n.results.push_back(result);
  }
}

static void importLength(NodeImport &n) {
  if (const Array *list = listInput(n, 0))
    n.results.push_back(n.a.integer(n.a.number(int64_t(list->items.size()))));
}

static void importConcatFromSequence(NodeImport &n) {
  const Array *list = listInput(n, 0);
  if (!list)
    return;
  if (list->items.empty() || list->items[0].isList)
    return n.fail("a sequence of one tensor at least is expected");
  ArrayBuilder &a = n.a;
  bool isNew = n.integer("new_axis", 0) != 0;
  std::optional<int64_t> axis = n.axis(n.integer("axis", 0), list->items[0].rank() + isNew);
  if (!axis)
    return;
  Arrays parts = Arrays(list->items.begin(), list->items.end());
  for (Array &part : parts) {
    if (part.rank() != list->items[0].rank() || (!isNew && part.rank() == 0))
      return n.fail("the tensors of the sequence do not fit");
    Shape shape = part.shape;
    if (isNew) {
      shape.insert(shape.begin() + *axis, a.number(1));
      part = a.reshape(part, shape);
    }
  }
  n.results.push_back(a.concat(parts, *axis));
}

/// A part of x along an axis.
static Array partOf(ArrayBuilder &a, const Array &x, int64_t axis, AffineExpr start,
                    AffineExpr size, bool keeps) {
  SmallVector<AffineExpr> starts(x.rank(), a.number(0));
  starts[axis] = start;
  Shape shape = x.shape;
  shape[axis] = size;
  Array part = a.sliceAt(x, starts, shape);
  if (keeps)
    return part;
  shape.erase(shape.begin() + axis);
  return a.reshape(part, shape);
}

/// Parts whose number is known, while their sizes are computed: each gets a dim.
static void splitByComputed(NodeImport &n, const Array &x, int64_t axis, const Array &given) {
  ArrayBuilder &a = n.a;
  Type i64 = a.b.getI64Type();
  Array sizes = a.cast(given, i64), start = a.integers(a.number(0));
  Array list;
  list.isList = true;
  for (int64_t i = 0; i < given.extent(0); ++i) {
    // No part ends outside, whatever the sizes are.
    Array left = a.sub(a.integers(x.shape[axis]), start);
    Array size = a.map("min", {a.slice(sizes, i, a.number(1)), left}, i64);
    size = a.map("max", {size, a.integers(a.number(0))}, i64);
    AffineExpr dim =
        a.declareComputedDim(n.node.name + "_part", 0, a.boundsOf(x.shape[axis]).second);
    a.setDims(dim, size);
    Shape shape = x.shape;
    shape[axis] = dim;
    SmallVector<Array> starts(x.rank(), a.integers(a.number(0)));
    starts[axis] = start;
    list.items.push_back(a.sliceAt(x, a.concat(starts, 0), shape));
    start = a.add(start, size);
  }
  n.results.push_back(list);
}

static void importSplitToSequence(NodeImport &n) {
  const Array &x = n.input(0);
  if (!x)
    return;
  ArrayBuilder &a = n.a;
  std::optional<int64_t> axis = n.axis(n.integer("axis", 0), x.rank());
  if (!axis)
    return;
  if (x.rank() == 0)
    return n.fail("a scalar cannot be split");
  AffineExpr extent = x.shape[*axis];
  int64_t fixed = x.extent(*axis);
  bool isOneSize = !n.has(1) || n.inputs[1].rank() == 0;
  auto known = n.has(1) ? a.integersOf(n.inputs[1]) : SmallVector<int64_t>{1};
  if (!known && !isOneSize && n.inputs[1].rank() == 1 && n.inputs[1].extent(0) >= 0)
    return splitByComputed(n, x, *axis, n.inputs[1]);
  if (!known || (isOneSize && fixed < 0))
    return n.fail("the number of parts is not known");
  SmallVector<int64_t> sizes = *known;
  if (isOneSize) {
    int64_t part = sizes.front();
    if (part < 1 || fixed / part > 1 << 16)
      return n.fail(llvm::formatv("parts of {0} elements of {1}", part, fixed));
    sizes.clear();
    for (int64_t start = 0; start < fixed; start += part)
      sizes.push_back(std::min(part, fixed - start));
  }
  Array list;
  list.isList = true;
  int64_t start = 0, most = a.boundsOf(extent).second;
  bool keeps = n.has(1) || n.integer("keepdims", 1) != 0;
  for (int64_t size : sizes) {
    if (size < 0 || size > most - start)
      return n.fail("the sizes do not add up to what is split");
    list.items.push_back(partOf(a, x, *axis, a.number(start), a.number(size), keeps));
    start += size;
  }
  if (!a.sameOrRequired(extent, a.number(start), "the sizes of a split"))
    return n.fail("the sizes do not add up to what is split");
  n.results.push_back(list);
}

/// The body for each item of the first sequence; other inputs are sequences as long, or the same
/// for all.
static void importMap(NodeImport &n) {
  const OnnxAttribute *body = n.attribute("body");
  const Array *list = listInput(n, 0);
  if (!list)
    return;
  if (!body || !body->graph)
    return n.fail("attribute body is no graph");
  SmallVector<Arrays> results(body->graph->outputs.size());
  for (size_t i = 0; i < list->items.size(); ++i) {
    Arrays inputs;
    for (size_t input = 0; input < n.inputs.size(); ++input) {
      const Array &given = n.input(input);
      if (given.isList && i >= given.items.size())
        return n.fail("sequences of different lengths");
      inputs.push_back(given.isList ? given.items[i] : given);
    }
    std::optional<Arrays> outputs = importSubGraph(n, *body->graph, inputs);
    if (!outputs)
      return;
    for (auto [all, output] : llvm::zip(results, *outputs))
      all.push_back(output);
  }
  for (const Arrays &all : results)
    n.results.push_back(listOf(all));
}

// ---- Optionals ----------------------------------------------------------------------------------

static void importOptional(NodeImport &n) {
  n.results.push_back(n.has(0) ? listOf(n.inputs[0]) : listOf({}));
}

/// Since 18 tensors and sequences are taken as optionals that are there.
static void importGetElement(NodeImport &n) {
  const Array &given = n.input(0);
  if (!given)
    return;
  const OnnxValue *declared = nullptr;
  for (const OnnxValue &value : n.graph.graph.inputs)
    if (value.name == n.node.inputs[0])
      declared = &value;
  bool isSequence = declared && declared->kind == OnnxValue::Sequence;
  if (!given.isList || isSequence)
    return n.results.push_back(given);
  if (given.items.size() != 1)
    return n.fail("the element of an empty optional");
  n.results.push_back(given.items[0]);
}

static void importHasElement(NodeImport &n) {
  bool has = n.has(0) && (!n.inputs[0].isList || !n.inputs[0].items.empty());
  n.results.push_back(n.a.integer(n.a.number(has), n.a.b.getI1Type()));
}

ArrayRef<OnnxOperator> kiln::onnxSequences() {
  static const OnnxOperator table[] = {
      {"", "SequenceConstruct", 11, importConstruct},
      {"", "SequenceEmpty", 11, importEmpty},
      {"", "SequenceAt", 11, importAt},
      {"", "SequenceInsert", 11, importInsert},
      {"", "SequenceErase", 11, importErase},
      {"", "SequenceLength", 11, importLength},
      {"", "ConcatFromSequence", 11, importConcatFromSequence},
      {"", "SplitToSequence", 11, importSplitToSequence},
      {"", "SequenceMap", 17, importMap},
      {"", "Optional", 15, importOptional},
      {"", "OptionalGetElement", 15, importGetElement},
      {"", "OptionalHasElement", 15, importHasElement},
  };
  return table;
}
