// LSTM, GRU and RNN: the projections of all inputs by one matmul for each direction, then the cells
// (ir/Graph/Operators/Recurrent.cpp).
#include "compiler/import/onnx/NodeImport.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using namespace kiln;

namespace {

/// What the three operators differ in.
struct CellKind {
  StringRef record;
  int64_t gates;
  SmallVector<StringRef> activations; // of a direction, by default
  bool hasMemory;
};

/// An activation with the values of its parameters where the model gives none.
struct Activation {
  StringRef name;
  double alpha, beta;
  bool takesAlpha, takesBeta;
};
constexpr double kNone = 0;
const Activation activations[] = {
    {"sigmoid", kNone, kNone, false, false},  {"tanh", kNone, kNone, false, false},
    {"relu", kNone, kNone, false, false},     {"softsign", kNone, kNone, false, false},
    {"softplus", kNone, kNone, false, false}, {"affine", 1, 0, true, true},
    {"leakyrelu", 0.01, kNone, true, false},  {"thresholdedrelu", 1, kNone, true, false},
    {"scaledtanh", 1, 1, true, true},         {"hardsigmoid", 0.2, 0.5, true, true},
    {"elu", 1, kNone, true, false},
};

class RecurrentImport {
public:
  RecurrentImport(NodeImport &n, const CellKind &kind) : n(n), a(n.a), kind(kind) {}
  void run();

private:
  bool readShapes();
  /// The activations of all directions; alphas and betas are taken by those that have them, in
  /// order.
  bool readActivations();
  Array part(const Array &x, int64_t first, AffineExpr count) { return a.slice(x, first, count); }
  /// Element `direction` of dim 0.
  Array ofDirection(const Array &x, int64_t direction) {
    SmallVector<int64_t> starts(x.rank(), 0);
    starts[0] = direction;
    Shape one = x.shape;
    one[0] = a.number(1);
    return a.reshape(a.slice(x, starts, one), ArrayRef(x.shape).drop_front());
  }
  Array state(size_t input, int64_t direction);
  SmallVector<Array> cells(int64_t direction, bool reverse);

  NodeImport &n;
  ArrayBuilder &a;
  const CellKind &kind;
  Array x;
  bool batchFirst = false;
  int64_t directions = 1, hidden = 0;
  AffineExpr time, batch;
  SmallVector<StringRef> names;
  SmallVector<double> alphas, betas;
};

} // namespace

bool RecurrentImport::readShapes() {
  for (size_t i : {0, 1, 2})
    if (!n.input(i))
      return false;
  batchFirst = n.integer("layout", 0) != 0;
  x = n.inputs[0];
  Array &weight = n.inputs[1], &recurrent = n.inputs[2];
  std::string direction = n.text("direction", "forward");
  directions = direction == "bidirectional" ? 2 : 1;
  hidden = n.integer("hidden_size", recurrent.rank() == 3 ? recurrent.extent(2) : -1);
  bool fits = x.rank() == 3 && weight.rank() == 3 && hidden > 0 && hidden < 1 << 24 &&
              x.isFloat() && weight.element == x.element && recurrent.element == x.element;
  // The shapes of the others follow from the input's and from the attributes.
  auto check = [&](size_t input, ArrayRef<AffineExpr> shape) {
    if (!n.has(input) || !fits)
      return;
    Array &given = n.inputs[input];
    fits = given.rank() == int64_t(shape.size());
    for (auto [dim, size] : llvm::enumerate(shape))
      fits = fits && a.sameOrRequired(given.shape[dim], size,
                                      llvm::formatv("input {0} of a recurrent operator", input));
    if (fits && given.shape != Shape(shape))
      given = a.reshapeUnchecked(given, shape);
  };
  AffineExpr width = a.number(fits ? kind.gates * hidden : 0);
  if (fits)
    check(1, {a.number(directions), width, x.shape[2]});
  check(2, {a.number(directions), width, a.number(hidden)});
  if (fits) {
    if (batchFirst)
      x = a.transpose(x, {1, 0, 2});
    time = x.shape[0];
    batch = x.shape[1];
    AffineExpr d = a.number(directions), h = a.number(hidden);
    check(3, {d, a.number(2 * kind.gates * hidden)});
    check(4, batch);
    Shape states = batchFirst ? Shape{batch, d, h} : Shape{d, batch, h};
    check(5, states);
    if (kind.hasMemory) {
      check(6, states);
      check(7, {d, a.number(3 * hidden)});
    }
  }
  if (!fits)
    n.fail("the shapes or types of the inputs do not fit one another");
  if (direction != "forward" && direction != "reverse" && direction != "bidirectional") {
    n.fail("direction '" + direction + "' is unknown");
    return false;
  }
  return fits;
}

bool RecurrentImport::readActivations() {
  std::vector<std::string> given;
  if (const OnnxAttribute *attribute = n.attribute("activations"))
    given = attribute->strings;
  auto floats = [&](StringRef name) {
    const OnnxAttribute *attribute = n.attribute(name);
    return attribute ? ArrayRef<double>(attribute->floats) : ArrayRef<double>();
  };
  ArrayRef<double> alpha = floats("activation_alpha"), beta = floats("activation_beta");
  size_t count = kind.activations.size() * size_t(directions);
  if (!given.empty() && given.size() != count) {
    n.fail(llvm::formatv("{0} activations where {1} are expected", given.size(), count));
    return false;
  }
  for (size_t i = 0; i < count; ++i) {
    std::string name = given.empty() ? kind.activations[i % kind.activations.size()].str()
                                     : StringRef(given[i]).lower();
    auto *found =
        llvm::find_if(activations, [&](const Activation &one) { return one.name == name; });
    if (found == std::end(activations)) {
      n.fail("activation '" + name + "' is unknown");
      return false;
    }
    auto take = [](ArrayRef<double> &values, bool wanted, double otherwise) {
      if (!wanted || values.empty())
        return otherwise;
      double value = values.front();
      values = values.drop_front();
      return value;
    };
    names.push_back(found->name);
    alphas.push_back(take(alpha, found->takesAlpha, found->alpha));
    betas.push_back(take(beta, found->takesBeta, found->beta));
  }
  return true;
}

/// An initial state [batch, hidden], 0 where none is given.
Array RecurrentImport::state(size_t input, int64_t direction) {
  if (!n.has(input))
    return a.broadcast(a.scalar(x.element, 0), {batch, a.number(hidden)});
  Array given = n.inputs[input];
  if (batchFirst)
    given = a.transpose(given, {1, 0, 2});
  return ofDirection(given, direction);
}

SmallVector<Array> RecurrentImport::cells(int64_t direction, bool reverse) {
  int64_t width = kind.gates * hidden;
  Array rows = a.reshape(x, {a.product({time, batch}), x.shape[2]});
  Array gates = a.matmul(rows, a.transpose(ofDirection(n.inputs[1], direction), {1, 0}));
  bool resetsAfter = kind.record == "gru_cells" && n.integer("linear_before_reset", 0) != 0;
  Array recurrentBias = a.broadcast(a.scalar(x.element, 0), a.number(hidden));
  if (n.has(3)) {
    // Both biases are added at once, but for the one that a reset gate works on.
    Array both = ofDirection(n.inputs[3], direction);
    Array own = part(both, 0, a.number(width)), other = part(both, width, a.number(width));
    if (resetsAfter) {
      AffineExpr early = a.number(2 * hidden);
      recurrentBias = part(other, 2 * hidden, a.number(hidden));
      own = a.concat({a.add(part(own, 0, early), part(other, 0, early)),
                      part(own, 2 * hidden, a.number(hidden))},
                     0);
    } else {
      own = a.add(own, other);
    }
    gates = a.add(gates, own);
  }
  // Sequences that are computed together, where their number is known and all are as long.
  int64_t members = 1;
  if (auto fixed = dyn_cast<AffineConstantExpr>(batch); fixed && !n.has(4))
    while (members < 4 && fixed.getValue() > 0 && fixed.getValue() % (2 * members) == 0)
      members *= 2;
  AffineExpr groups = a.simplify(batch.floorDiv(members)), m = a.number(members);
  auto grouped = [&](const Array &x) { return a.reshape(x, {groups, m, x.shape.back()}); };
  SmallVector<Array> operands{a.reshape(gates, {time, groups, m, a.number(width)}),
                              a.transpose(ofDirection(n.inputs[2], direction), {1, 0}),
                              grouped(state(5, direction))};
  size_t first = size_t(direction) * kind.activations.size(), count = kind.activations.size();
  SmallVector<ArrayBuilder::Param> params{
      {"activations", a.attr(llvm::join(ArrayRef(names).slice(first, count), ","))},
      {"alphas", a.b.getDenseF64ArrayAttr(ArrayRef(alphas).slice(first, count))},
      {"betas", a.b.getDenseF64ArrayAttr(ArrayRef(betas).slice(first, count))},
      {"clip", a.attr(n.real("clip", 0))}};
  auto flag = [&](StringRef name) { params.push_back({name, a.b.getUnitAttr()}); };
  if (reverse)
    flag("reverse");
  AffineExpr h = a.number(hidden);
  SmallVector<Type> elements(2, x.element);
  SmallVector<Shape> shapes{{time, groups, m, h}, {groups, m, h}};
  if (kind.hasMemory) {
    operands.push_back(grouped(state(6, direction)));
    elements.push_back(x.element);
    shapes.push_back({groups, m, h});
    if (n.has(7)) {
      operands.push_back(ofDirection(n.inputs[7], direction));
      flag("peepholes");
    }
    if (n.integer("input_forget", 0))
      flag("input_forget");
  }
  if (resetsAfter) {
    operands.push_back(recurrentBias);
    flag("recurrent_bias");
  }
  if (n.has(4)) {
    operands.push_back(n.inputs[4]);
    flag("lengths");
  }
  if (a.failed())
    return {};
  return a.compute(kind.record, operands, elements, shapes, a.params(params));
}

void RecurrentImport::run() {
  if (!readShapes() || !readActivations())
    return;
  // [time, directions, batch, hidden], and the last states [directions, batch, hidden].
  SmallVector<SmallVector<Array>> parts;
  bool reverse = n.text("direction", "forward") == "reverse";
  AffineExpr one = a.number(1), h = a.number(hidden);
  for (int64_t direction = 0; direction < directions; ++direction) {
    SmallVector<Array> results = cells(direction, reverse || direction == 1);
    if (a.failed())
      return;
    parts.resize(results.size());
    for (auto [i, result] : llvm::enumerate(results))
      parts[i].push_back(
          a.reshape(result, i == 0 ? Shape{time, one, batch, h} : Shape{one, batch, h}));
  }
  for (auto [i, all] : llvm::enumerate(parts)) {
    Array result = a.concat(all, i == 0 ? 1 : 0);
    if (batchFirst)
      result = i == 0 ? a.transpose(result, {2, 0, 1, 3}) : a.transpose(result, {1, 0, 2});
    n.results.push_back(result);
  }
}

static void importLstm(NodeImport &n) {
  static const CellKind kind{"lstm_cells", 4, {"sigmoid", "tanh", "tanh"}, true};
  RecurrentImport(n, kind).run();
}
static void importGru(NodeImport &n) {
  static const CellKind kind{"gru_cells", 3, {"sigmoid", "tanh"}, false};
  RecurrentImport(n, kind).run();
}
static void importRnn(NodeImport &n) {
  static const CellKind kind{"rnn_cells", 1, {"tanh"}, false};
  RecurrentImport(n, kind).run();
}

ArrayRef<OnnxOperator> kiln::onnxRecurrent() {
  static const OnnxOperator table[] = {
      {"", "LSTM", 7, importLstm},
      {"", "GRU", 7, importGru},
      {"", "RNN", 7, importRnn},
  };
  return table;
}
