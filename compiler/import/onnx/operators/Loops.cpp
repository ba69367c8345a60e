// Loops over a node's graph. Where the number of rounds is known and small they are unrolled: lists
// may grow then and shapes may change freely. Others become a graph.loop. A carried value whose
// size changes from round to round gets a computed dim: each round ends with giving the dim its
// next value.
#include "compiler/import/onnx/operators/Loops.h"
#include "llvm/ADT/ScopeExit.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using namespace kiln;

/// Nodes that unrolling may make, and rounds where lists leave no other way.
static constexpr int64_t kMaxUnrolledNodes = 256, kMaxUnrolledRounds = 1024;
/// Rounds of a loop of which nothing is known, for the memory of what it collects.
static constexpr int64_t kMostRounds = 4096;

/// An output with the sizes that its graph declares, where they do not follow from what is known.
static Array asDeclared(ArrayBuilder &a, const OnnxValue &declared, const Array &output) {
  if (declared.kind != OnnxValue::Tensor || !declared.hasShape || output.isList ||
      output.contents || int64_t(declared.shape.size()) != output.rank())
    return output;
  Shape shape = output.shape;
  for (auto [size, dim] : llvm::zip(shape, declared.shape)) {
    auto [low, high] = a.boundsOf(size);
    if (dim.extent < 0 || isa<AffineConstantExpr>(size) || dim.extent < low || dim.extent > high)
      continue;
    // What is computed is taken as declared; elements that are not there would be 0.
    if (a.dependsOnComputed(size, 0) ||
        a.sameOrRequired(size, a.number(dim.extent), "a dim of an output of a node's graph"))
      size = a.number(dim.extent);
  }
  if (shape == output.shape)
    return output;
  SmallVector<int64_t> before(shape.size(), 0);
  return a.compute(
      "pad", {output, a.scalar(output.element, 0)}, output.element, shape,
      a.params(
          {{"before", a.attr(before)}, {"mode", a.attr("constant")}, {"pads_given", a.attr(0)}}));
}

std::optional<Arrays> kiln::importSubGraph(NodeImport &n, const OnnxGraph &graph,
                                           ArrayRef<Array> inputs) {
  if (graph.inputs.size() != inputs.size()) {
    n.fail(llvm::formatv("a graph of {0} inputs where {1} are expected", graph.inputs.size(),
                         inputs.size()));
    return std::nullopt;
  }
  ArrayBuilder &a = n.a;
  // Names of sizes inside mean something else the next time.
  auto names = a.modelDims;
  llvm::scope_exit restore([&] { a.modelDims = std::move(names); });
  GraphImport inner(a, n.graph.model, graph, &n.graph);
  for (auto [declared, array] : llvm::zip(graph.inputs, inputs))
    inner.values[declared.name] = array;
  inner.run();
  if (a.failed())
    return std::nullopt;
  Arrays outputs = inner.outputs();
  if (a.failed())
    return std::nullopt;
  for (auto [declared, output] : llvm::zip(graph.outputs, outputs))
    output = asDeclared(a, declared, output);
  return outputs;
}

std::optional<bool> kiln::truthOf(ArrayBuilder &a, const Array &condition) {
  const SmallVector<AffineExpr> *known = a.expressionsOf(condition);
  if (!known || known->size() != 1)
    return std::nullopt;
  auto [low, high] = a.boundsOf(known->front());
  if (low > 0 || high < 0)
    return true;
  if (low == 0 && high == 0)
    return false;
  return std::nullopt;
}

void kiln::flatten(const Array &array, Arrays &values) {
  if (!array.isList)
    return values.push_back(array);
  for (const Array &item : array.items)
    flatten(item, values);
}

Array kiln::unflatten(const Array &like, ArrayRef<Array> &values) {
  if (!like.isList) {
    Array value = values.front();
    values = values.drop_front();
    return value;
  }
  Array list;
  list.isList = true;
  for (const Array &item : like.items)
    list.items.push_back(unflatten(item, values));
  return list;
}

Value kiln::plainValue(ArrayBuilder &a, const Array &array) {
  if (array.value)
    return array.value;
  return a.compute("identity", array, array.element, array.shape).value;
}

Array kiln::renamed(ArrayBuilder &a, const Array &x, ArrayRef<AffineExpr> shape) {
  SmallVector<int64_t> starts(shape.size(), 0), steps(shape.size(), 1);
  return a.compute("slice", x, x.element, shape,
                   a.params({{"starts", a.attr(starts)}, {"steps", a.attr(steps)}}));
}

static Arrays flattened(ArrayRef<Array> arrays) {
  Arrays values;
  for (const Array &array : arrays)
    flatten(array, values);
  return values;
}

static Arrays unflattened(ArrayRef<Array> like, ArrayRef<Array> values) {
  Arrays arrays;
  for (const Array &array : like)
    arrays.push_back(unflatten(array, values));
  return arrays;
}

namespace {

class Loop {
public:
  Loop(NodeImport &n, const LoopPlan &plan, MakeRound makeRound)
      : n(n), a(n.a), plan(plan), makeRound(makeRound), truth(a.b.getI1Type()) {}
  std::optional<Arrays> build();

private:
  bool wantsUnrolling() const;
  /// gaveUp: a round's condition is not known; nothing is left of the attempt.
  std::optional<Arrays> unroll(bool &gaveUp);
  std::optional<Arrays> buildOp();
  /// Translates the body in a block; false where it has to be done again, with other shapes.
  bool makeBody(Block &body);
  bool adaptShapes(MutableArrayRef<Array> next);
  Array isAnother(const Array &condition, const Array &number);
  Array stacked(ArrayRef<Array> rows, bool fromEnd);
  std::optional<Arrays> fail(const llvm::Twine &message) {
    if (!a.failed())
      n.fail(message);
    return std::nullopt;
  }

  NodeImport &n;
  ArrayBuilder &a;
  const LoopPlan &plan;
  MakeRound makeRound;
  Type truth;

  // Of the op. Dims that change from round to round, what they are at first and after a round.
  Arrays inits; // flat
  SmallVector<Shape> shapes;
  SmallVector<AffineExpr> changing, first;
  LoopRound round;
  unsigned dimsBefore = 0;
  int64_t mostRounds = kMostRounds;
  AffineExpr rounds; // where their number is known as an expression
  SmallVector<Array> buffers;
};

} // namespace

bool Loop::wantsUnrolling() const {
  if (llvm::any_of(plan.carried, [](const Array &x) { return x.isList; }))
    return true;
  auto trips = plan.trips ? a.integersOf(plan.trips) : std::nullopt;
  return trips && trips->front() * int64_t(plan.nodes) <= kMaxUnrolledNodes;
}

/// Rows as one tensor, along a new dim 0.
Array Loop::stacked(ArrayRef<Array> rows, bool fromEnd) {
  Arrays parts;
  for (const Array &row : rows) {
    Shape shape = row.shape;
    shape.insert(shape.begin(), a.number(1));
    parts.push_back(a.reshape(row, shape));
  }
  if (fromEnd)
    std::reverse(parts.begin(), parts.end());
  return a.concat(parts, 0);
}

std::optional<Arrays> Loop::unroll(bool &gaveUp) {
  Block *block = a.b.getInsertionBlock();
  Operation *last = block->empty() ? nullptr : &block->back();
  size_t requirements = a.requirements.size();
  auto trips = plan.trips ? a.integersOf(plan.trips) : std::nullopt;
  Arrays carried = plan.carried;
  SmallVector<Arrays> rows(plan.fromEnd.size());
  std::optional<bool> goesOn = plan.condition ? truthOf(a, plan.condition) : true;
  gaveUp = plan.trips && !trips;
  for (int64_t i = 0; !gaveUp && (!trips || i < trips->front()); ++i) {
    gaveUp = !goesOn || i >= kMaxUnrolledRounds;
    if (gaveUp || !*goesOn)
      break;
    std::optional<LoopRound> next = makeRound(a.integer(a.number(i)), carried);
    if (!next)
      return std::nullopt;
    carried = next->carried;
    for (auto [all, row] : llvm::zip(rows, next->rows))
      all.push_back(row);
    goesOn = next->condition ? truthOf(a, next->condition) : true;
    // After the last round nobody looks at the condition.
    if (trips && i + 1 == trips->front())
      break;
  }
  if (gaveUp) {
    while (!block->empty() && &block->back() != last)
      block->back().erase();
    a.requirements.resize(requirements);
    return std::nullopt;
  }
  for (auto [all, fromEnd] : llvm::zip(rows, plan.fromEnd)) {
    if (all.empty())
      return fail("a loop of no rounds collects results");
    carried.push_back(stacked(all, fromEnd));
  }
  if (a.failed())
    return std::nullopt;
  return carried;
}

/// Gives dims that a round changes a name. True where all shapes stay as they are.
bool Loop::adaptShapes(MutableArrayRef<Array> next) {
  bool fits = true;
  for (size_t i = 0; i < inits.size(); ++i) {
    bool isRenamed = false;
    for (int64_t dim = 0; dim < inits[i].rank(); ++dim) {
      AffineExpr &size = shapes[i][dim];
      AffineExpr following = next[i].shape[dim];
      if (a.same(size, following) || llvm::is_contained(changing, size))
        continue;
      // Sizes that no round changes must be equal.
      if (!a.dependsOnComputed(size, dimsBefore) && !a.dependsOnComputed(following, dimsBefore) &&
          a.sameOrRequired(size, following, "a size that a loop carries")) {
        next[i].shape[dim] = size;
        isRenamed = true;
        continue;
      }
      // What it grows by tells how large it gets.
      auto [low, high] = a.boundsOf(size);
      auto growth = dyn_cast<AffineConstantExpr>(a.simplify(next[i].shape[dim] - size));
      int64_t most = std::max(high, a.boundsOf(next[i].shape[dim]).second);
      const OnnxValue *declared = n.declared(i);
      int64_t final = declared && dim < int64_t(declared->shape.size())
                          ? declared->shape[dim].extent
                          : int64_t(-1);
      if (growth && growth.getValue() > 0)
        most = mostRounds < kMostRounds ? high + growth.getValue() * mostRounds
               : final >= 0             ? std::max(final, most)
                                        : high + growth.getValue() * kMostRounds;
      first.push_back(size);
      size = a.declareComputedDim(n.node.name + "_carried", 0, most);
      changing.push_back(size);
      fits = false;
    }
    if (isRenamed && fits)
      next[i] = renamed(a, next[i], next[i].shape);
  }
  return fits;
}

/// Whether there is another round behind round `number`, by the condition that it gave.
Array Loop::isAnother(const Array &condition, const Array &number) {
  Array more;
  if (plan.trips)
    more = a.map("less", {number, plan.trips}, truth);
  Array given = condition ? a.reshape(a.cast(condition, truth), {}) : Array();
  if (more && given)
    return a.map("and", {more, given}, truth);
  return more ? more : given ? given : a.scalar(truth, 1);
}

bool Loop::makeBody(Block &body) {
  OpBuilder::InsertionGuard guard(a.b);
  a.b.setInsertionPointToEnd(&body);
  auto argument = [&](Type element, ArrayRef<AffineExpr> shape) {
    Array array;
    array.element = element;
    array.shape.assign(shape.begin(), shape.end());
    array.value = body.addArgument(a.typeOf(element, shape), a.location);
    return array;
  };
  argument(truth, {});
  Array number = argument(a.b.getI64Type(), {});
  Arrays carried;
  for (auto [init, shape] : llvm::zip(inits, shapes))
    carried.push_back(argument(init.element, shape));
  std::optional<LoopRound> made = makeRound(number, unflattened(plan.carried, carried));
  if (!made) {
    fail("a loop's body cannot be translated");
    return true;
  }
  Arrays next = flattened(made->carried);
  if (next.size() != inits.size()) {
    fail("a list that a loop carries changes its length while the model runs");
    return true;
  }
  for (auto [init, value] : llvm::zip(inits, next))
    if (init.element != value.element || init.rank() != value.rank()) {
      fail("a value that a loop carries changes its type or rank");
      return true;
    }
  if (!adaptShapes(next))
    return false;
  round = *made;
  for (auto [i, row] : llvm::enumerate(round.rows)) {
    if (row.isList || llvm::any_of(row.shape, [&](AffineExpr size) {
          return a.dependsOnComputed(size, dimsBefore);
        })) {
      fail(llvm::formatv("what a loop collects as result {0} changes its size from round to round",
                         i));
      return true;
    }
    Shape shape = row.shape;
    shape.insert(shape.begin(), rounds ? rounds : a.number(mostRounds));
    Array buffer = argument(row.element, shape);
    Array place = number;
    if (plan.fromEnd[i])
      place = a.sub(a.sub(plan.trips, a.integer(a.number(1))), number);
    buffers.push_back(a.compute("update_row", {buffer, row, place}, row.element, shape));
  }
  // All next values are there before any of the dims changes.
  if (!changing.empty()) {
    SmallVector<AffineExpr> sizes(changing.size()), staged;
    for (auto [value, shape] : llvm::zip(next, shapes))
      for (auto [dim, size] : llvm::enumerate(shape))
        if (auto *found = llvm::find(changing, size); found != changing.end())
          sizes[found - changing.begin()] = value.shape[dim];
    for (AffineExpr dim : changing)
      staged.push_back(a.declareComputedDim(n.node.name + "_next", 0, a.boundsOf(dim).second));
    a.setDims(staged, a.integers(sizes));
    auto rename = [&](ArrayRef<AffineExpr> to) {
      for (auto [value, shape] : llvm::zip(next, shapes)) {
        Shape names(shape);
        for (AffineExpr &size : names)
          if (auto *found = llvm::find(changing, size); found != changing.end())
            size = to[found - changing.begin()];
        if (names != value.shape)
          value = renamed(a, value, names);
      }
    };
    rename(staged);
    a.setDims(changing, a.integers(staged));
    rename(changing);
  }
  Array following = a.add(number, a.integer(a.number(1)));
  SmallVector<Value> values{plainValue(a, isAnother(round.condition, following)),
                            plainValue(a, following)};
  for (const Array &value : next)
    values.push_back(plainValue(a, value));
  for (const Array &buffer : buffers)
    values.push_back(buffer.value);
  graph::YieldOp::create(a.b, a.location, values);
  return true;
}

std::optional<Arrays> Loop::buildOp() {
  if (!plan.trips && !plan.condition)
    return fail("a loop that does not end");
  if (plan.trips) {
    if (const SmallVector<AffineExpr> *known = a.expressionsOf(plan.trips)) {
      if (plan.exact && a.boundsOf(known->front()).first >= 0)
        rounds = known->front();
      mostRounds = std::max<int64_t>(a.boundsOf(known->front()).second, 0);
    }
  }
  if (mostRounds >= kMostRounds && !rounds) {
    // A result that the graph declares tells how many rows are collected.
    for (size_t i = 0; i < plan.fromEnd.size(); ++i)
      if (const OnnxValue *declared = n.declared(plan.carried.size() + i))
        if (!declared->shape.empty() && declared->shape[0].extent >= 0)
          mostRounds = declared->shape[0].extent;
    mostRounds = std::min(mostRounds, kMostRounds);
  }
  inits = flattened(plan.carried);
  for (const Array &init : inits)
    shapes.push_back(init.shape);
  dimsBefore = a.dimCount();
  auto body = std::make_unique<Block>();
  size_t requirements = a.requirements.size();
  for (int attempt = 0; !makeBody(*body); ++attempt) {
    body->dropAllReferences();
    body = std::make_unique<Block>();
    a.requirements.resize(requirements);
    if (attempt == 8)
      return fail("the shapes of what a loop carries do not settle");
  }
  if (a.failed()) {
    body->dropAllReferences();
    return std::nullopt;
  }
  if (!changing.empty())
    a.setDims(changing, a.integers(first));
  Array zero = a.integer(a.number(0));
  SmallVector<Value> values{plainValue(a, isAnother(plan.condition, zero)), plainValue(a, zero)};
  for (auto [init, shape] : llvm::zip(inits, shapes))
    values.push_back(plainValue(a, init.shape == shape ? init : renamed(a, init, shape)));
  for (const Array &buffer : buffers)
    values.push_back(plainValue(a, a.broadcast(a.scalar(buffer.element, 0), buffer.shape)));
  auto op = graph::LoopOp::create(a.b, a.location, ValueRange(values).getTypes(), values);
  op.getBody().push_back(body.release());

  Arrays carried;
  for (auto [i, shape] : llvm::enumerate(shapes)) {
    Array result;
    result.element = inits[i].element;
    result.shape = shape;
    result.value = op.getResult(2 + i);
    carried.push_back(result);
  }
  Arrays results = unflattened(plan.carried, carried);
  AffineExpr count = rounds;
  if (!count && !buffers.empty()) {
    count = a.declareComputedDim(n.node.name + "_rounds", 0, mostRounds);
    a.setDims(count, a.reshape(a.fromValue(op.getResult(1)), a.number(1)));
  }
  for (auto [i, buffer] : llvm::enumerate(buffers)) {
    Array result = buffer;
    result.value = op.getResult(2 + inits.size() + i);
    Shape shape = buffer.shape;
    shape[0] = count;
    results.push_back(rounds ? result : renamed(a, result, shape));
  }
  return results;
}

std::optional<Arrays> Loop::build() {
  if (wantsUnrolling()) {
    bool gaveUp = false;
    std::optional<Arrays> results = unroll(gaveUp);
    if (results || a.failed() || !gaveUp)
      return results;
  }
  return buildOp();
}

std::optional<Arrays> kiln::importLoop(NodeImport &n, const LoopPlan &plan, MakeRound round) {
  return Loop(n, plan, round).build();
}
