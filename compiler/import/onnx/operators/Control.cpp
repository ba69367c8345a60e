// If, Loop and Scan.
#include "compiler/import/onnx/operators/Loops.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using namespace kiln;

static const OnnxGraph *graphOf(NodeImport &n, StringRef name) {
  const OnnxAttribute *attribute = n.attribute(name);
  if (attribute && attribute->graph)
    return attribute->graph.get();
  n.fail("attribute " + name + " is no graph");
  return nullptr;
}

// ---- If -----------------------------------------------------------------------------------------

/// Sizes that the branches of an If have in common: the same ones, or a computed dim that each
/// sets.
static std::optional<Shape> joinShapes(NodeImport &n, const Array &left, const Array &right,
                                       size_t result, SmallVector<AffineExpr> (&sizes)[2],
                                       SmallVector<AffineExpr> &computed) {
  ArrayBuilder &a = n.a;
  if (left.element != right.element || left.rank() != right.rank()) {
    n.fail(llvm::formatv("result {0} has {1} dims in one branch and {2} in the other, or another "
                         "type; that can only be where the condition is known",
                         result, left.rank(), right.rank()));
    return std::nullopt;
  }
  Shape shape;
  for (auto [x, y] : llvm::zip(left.shape, right.shape)) {
    if (a.same(x, y) && !a.dependsOnComputed(x, 0)) {
      shape.push_back(x);
      continue;
    }
    auto [low, high] = a.boundsOf(x);
    auto [least, most] = a.boundsOf(y);
    shape.push_back(
        a.declareComputedDim(n.node.name + "_size", std::min(low, least), std::max(high, most)));
    computed.push_back(shape.back());
    sizes[0].push_back(x);
    sizes[1].push_back(y);
  }
  return shape;
}

static void importIf(NodeImport &n) {
  const Array &given = n.input(0);
  const OnnxGraph *graphs[] = {graphOf(n, "then_branch"), graphOf(n, "else_branch")};
  if (!given || !graphs[0] || !graphs[1])
    return;
  ArrayBuilder &a = n.a;
  if (std::optional<bool> known = truthOf(a, given)) {
    if (std::optional<Arrays> results = importSubGraph(n, *graphs[*known ? 0 : 1], {}))
      n.results = *results;
    return;
  }
  Array condition = n.scalarInput(0);
  if (!condition)
    return;
  Value flag = plainValue(a, a.cast(condition, a.b.getI1Type()));
  Block *blocks[2];
  Arrays results[2], values[2];
  Region regions[2];
  for (int side = 0; side < 2; ++side) {
    blocks[side] = new Block();
    regions[side].push_back(blocks[side]);
    OpBuilder::InsertionGuard guard(a.b);
    a.b.setInsertionPointToEnd(blocks[side]);
    if (std::optional<Arrays> made = importSubGraph(n, *graphs[side], {}))
      results[side] = *made;
    for (const Array &array : results[side])
      flatten(array, values[side]);
  }
  if (a.failed())
    return;
  if (results[0].size() != results[1].size() || values[0].size() != values[1].size())
    return n.fail(
        "the branches give lists of different lengths, or one an empty optional; that can "
        "only be where the condition is known");
  SmallVector<AffineExpr> sizes[2], computed;
  SmallVector<Shape> shapes;
  for (auto [i, left, right] : llvm::enumerate(values[0], values[1])) {
    std::optional<Shape> shape = joinShapes(n, left, right, i, sizes, computed);
    if (!shape)
      return;
    shapes.push_back(*shape);
  }
  SmallVector<Type> types;
  for (auto [value, shape] : llvm::zip(values[0], shapes))
    types.push_back(a.typeOf(value.element, shape));
  for (int side = 0; side < 2; ++side) {
    OpBuilder::InsertionGuard guard(a.b);
    a.b.setInsertionPointToEnd(blocks[side]);
    if (!computed.empty())
      a.setDims(computed, a.integers(sizes[side]));
    SmallVector<Value> yielded;
    for (auto [value, shape] : llvm::zip(values[side], shapes))
      yielded.push_back(plainValue(a, value.shape == shape ? value : renamed(a, value, shape)));
    graph::YieldOp::create(a.b, a.location, yielded);
  }
  auto op = graph::IfOp::create(a.b, a.location, types, flag);
  op.getThen().takeBody(regions[0]);
  op.getOtherwise().takeBody(regions[1]);
  Arrays joined;
  for (auto [i, shape] : llvm::enumerate(shapes)) {
    Array array;
    array.element = values[0][i].element;
    array.shape = shape;
    array.value = op.getResult(i);
    joined.push_back(array);
  }
  ArrayRef<Array> rest(joined);
  for (const Array &like : results[0])
    n.results.push_back(unflatten(like, rest));
}

// ---- Loop ---------------------------------------------------------------------------------------

static void importLoopNode(NodeImport &n) {
  const OnnxGraph *graph = graphOf(n, "body");
  if (!graph)
    return;
  ArrayBuilder &a = n.a;
  Type i64 = a.b.getI64Type(), truth = a.b.getI1Type();
  LoopPlan plan;
  if (n.has(0)) {
    plan.trips = a.cast(n.scalarInput(0), i64);
    if (!plan.trips)
      return;
  }
  // A condition that is known to be true is none.
  if (n.has(1) && truthOf(a, n.inputs[1]) != true)
    plan.condition = a.cast(n.scalarInput(1), truth);
  for (size_t i = 2; i < n.inputs.size(); ++i) {
    if (!n.inputs[i])
      return n.fail(llvm::formatv("carried value {0} is missing", i - 2));
    plan.carried.push_back(n.inputs[i]);
  }
  size_t carried = plan.carried.size();
  if (graph->inputs.size() != carried + 2 || graph->outputs.size() < carried + 1)
    return n.fail("the body's inputs and outputs do not fit the loop");
  plan.fromEnd.assign(graph->outputs.size() - carried - 1, false);
  plan.nodes = std::max<size_t>(graph->nodes.size(), 1);
  // The body's condition may be what the body gets, or a constant.
  const std::string &conditionIn = graph->inputs[1].name, &conditionOut = graph->outputs[0].name;
  bool passes = conditionIn == conditionOut;
  for (const OnnxNode &node : graph->nodes)
    if (!node.outputs.empty() && node.outputs[0] == conditionOut)
      passes = passes || (node.type == "Identity" && node.inputs[0] == conditionIn) ||
               node.type == "Constant";
  plan.exact = passes && !plan.condition;
  auto round = [&](const Array &number, ArrayRef<Array> values) -> std::optional<LoopRound> {
    Arrays inputs{number, a.scalar(truth, 1)};
    llvm::append_range(inputs, values);
    std::optional<Arrays> outputs = importSubGraph(n, *graph, inputs);
    if (!outputs)
      return std::nullopt;
    LoopRound made;
    if (truthOf(a, outputs->front()) != true)
      made.condition = outputs->front();
    made.carried.assign(outputs->begin() + 1, outputs->begin() + 1 + carried);
    made.rows.assign(outputs->begin() + 1 + carried, outputs->end());
    return made;
  };
  if (std::optional<Arrays> results = importLoop(n, plan, round))
    n.results = *results;
}

// ---- Scan ---------------------------------------------------------------------------------------

namespace {

struct Scan {
  NodeImport &n;
  ArrayBuilder &a;
  const OnnxGraph &graph;
  size_t states, scanned, collected;
  SmallVector<int64_t> inputAxes, inputDirections, outputAxes, outputDirections;

  std::optional<Arrays> run(ArrayRef<Array> inputs);
};

} // namespace

/// The place `number` of x along an axis.
static Array pick(ArrayBuilder &a, const Array &x, int64_t axis, const Array &number) {
  Shape shape = x.shape;
  shape.erase(shape.begin() + axis);
  if (const SmallVector<AffineExpr> *known = a.expressionsOf(number)) {
    Shape one = x.shape;
    one[axis] = a.number(1);
    SmallVector<AffineExpr> starts(x.rank(), a.number(0));
    starts[axis] = known->front();
    return a.reshape(a.sliceAt(x, starts, one), shape);
  }
  return a.compute("gather", {x, number}, x.element, shape, a.params({{"axis", a.attr(axis)}}));
}

/// States, then scanned inputs; the states and collected results.
std::optional<Arrays> Scan::run(ArrayRef<Array> inputs) {
  LoopPlan plan;
  plan.carried.assign(inputs.begin(), inputs.begin() + states);
  ArrayRef<Array> sequences = inputs.drop_front(states);
  AffineExpr length;
  SmallVector<int64_t> axes;
  for (size_t i = 0; i < scanned; ++i) {
    std::optional<int64_t> axis = n.axis(inputAxes[i], sequences[i].rank());
    if (!axis)
      return std::nullopt;
    if (sequences[i].rank() == 0 ||
        (length && !a.sameOrRequired(length, sequences[i].shape[*axis], "a scanned length"))) {
      n.fail("the scanned inputs have different lengths");
      return std::nullopt;
    }
    length = sequences[i].shape[*axis];
    axes.push_back(*axis);
  }
  plan.trips = a.integer(length);
  plan.exact = true;
  plan.nodes = std::max<size_t>(graph.nodes.size(), 1);
  for (int64_t direction : outputDirections)
    plan.fromEnd.push_back(direction != 0);
  Array last = a.integer(a.simplify(length - 1));
  auto round = [&](const Array &number, ArrayRef<Array> values) -> std::optional<LoopRound> {
    Arrays given(values);
    for (size_t i = 0; i < scanned; ++i)
      given.push_back(
          pick(a, sequences[i], axes[i], inputDirections[i] ? a.sub(last, number) : number));
    std::optional<Arrays> outputs = importSubGraph(n, graph, given);
    if (!outputs)
      return std::nullopt;
    LoopRound made;
    made.carried.assign(outputs->begin(), outputs->begin() + states);
    made.rows.assign(outputs->begin() + states, outputs->end());
    return made;
  };
  std::optional<Arrays> results = importLoop(n, plan, round);
  if (!results)
    return std::nullopt;
  for (size_t i = 0; i < collected; ++i) {
    Array &result = (*results)[states + i];
    std::optional<int64_t> axis = n.axis(outputAxes[i], result.rank());
    if (!axis)
      return std::nullopt;
    SmallVector<int64_t> perm; // dim 0 goes to the axis
    for (int64_t dim = 1; dim < result.rank(); ++dim)
      perm.push_back(dim);
    perm.insert(perm.begin() + *axis, 0);
    if (*axis)
      result = a.transpose(result, perm);
  }
  return results;
}

static std::optional<Scan> readScan(NodeImport &n, size_t inputs, StringRef directions) {
  const OnnxGraph *graph = graphOf(n, "body");
  int64_t scanned = n.integer("num_scan_inputs", 0);
  if (!graph)
    return std::nullopt;
  if (scanned < 1 || scanned > int64_t(inputs) || graph->inputs.size() != inputs ||
      graph->outputs.size() + scanned < inputs) {
    n.fail("the body's inputs and outputs do not fit the scan");
    return std::nullopt;
  }
  Scan scan{n, n.a, *graph, inputs - size_t(scanned), size_t(scanned), 0, {}, {}, {}, {}};
  scan.collected = graph->outputs.size() - scan.states;
  auto read = [&](StringRef name, size_t count) {
    SmallVector<int64_t> values = n.integers(name, SmallVector<int64_t>(count, 0));
    if (values.size() != count)
      n.fail(llvm::formatv("{0}: {1} values where {2} are expected", name, values.size(), count));
    values.resize(count);
    return values;
  };
  scan.inputDirections = read(directions, scan.scanned);
  scan.inputAxes = read("scan_input_axes", scan.scanned);
  scan.outputAxes = read("scan_output_axes", scan.collected);
  scan.outputDirections = read("scan_output_directions", scan.collected);
  if (n.a.failed())
    return std::nullopt;
  return scan;
}

static void importScan(NodeImport &n) {
  for (size_t i = 0; i < n.inputs.size(); ++i)
    if (!n.input(i))
      return;
  std::optional<Scan> scan = readScan(n, n.inputs.size(), "scan_input_directions");
  if (!scan)
    return;
  if (std::optional<Arrays> results = scan->run(n.inputs))
    n.results = *results;
}

/// The first version: everything has a batch dim in front, and sequences of the batch are scanned
/// one after the other.
static void importBatchedScan(NodeImport &n) {
  ArrayBuilder &a = n.a;
  if (n.has(0))
    return n.fail("sequences of different lengths (sequence_lens) are not supported");
  ArrayRef<Array> inputs = ArrayRef(n.inputs).drop_front();
  for (size_t i = 1; i < n.inputs.size(); ++i)
    if (!n.input(i))
      return;
  std::optional<Scan> scan = readScan(n, inputs.size(), "directions");
  if (!scan)
    return;
  AffineExpr batch;
  for (const Array &input : inputs) {
    if (input.rank() == 0 ||
        (batch && !a.sameOrRequired(batch, input.shape[0], "the batch of a scan")))
      return n.fail("inputs of different batches");
    batch = batch ? batch : input.shape[0];
  }
  LoopPlan plan;
  plan.trips = a.integer(batch);
  plan.exact = true;
  plan.nodes = scan->graph.nodes.size() + 4;
  plan.fromEnd.assign(scan->graph.outputs.size(), false);
  auto one = [&](const Array &number, ArrayRef<Array>) -> std::optional<LoopRound> {
    Arrays own;
    for (const Array &input : inputs)
      own.push_back(pick(a, input, 0, number));
    std::optional<Arrays> results = scan->run(own);
    if (!results)
      return std::nullopt;
    return LoopRound{{}, {}, *results};
  };
  if (std::optional<Arrays> results = importLoop(n, plan, one))
    n.results = *results;
}

ArrayRef<OnnxOperator> kiln::onnxControl() {
  static const OnnxOperator table[] = {
      {"", "If", 1, importIf},
      {"", "Loop", 1, importLoopNode},
      {"", "Scan", 8, importBatchedScan},
      {"", "Scan", 9, importScan},
  };
  return table;
}
