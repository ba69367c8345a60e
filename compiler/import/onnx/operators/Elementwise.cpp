// Operators element by element: each is one map operator of the graph, or a few.
#include "compiler/import/onnx/NodeImport.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/xxhash.h"

using namespace mlir;
using namespace kiln;

/// One map operator of that name, of all inputs.
#define MAP(type, since, kind)                                                                     \
  OnnxOperator {                                                                                   \
    "", type, since, [](NodeImport &n) { addMap(n, kind); }                                        \
  }
/// One whose result is a truth value.
#define TRUTH(type, since, kind)                                                                   \
  OnnxOperator {                                                                                   \
    "", type, since, [](NodeImport &n) { addMap(n, kind, n.a.b.getI1Type()); }                     \
  }

static void addMap(NodeImport &n, StringRef kind, Type element = {}, DictionaryAttr params = {}) {
  for (size_t i = 0; i < n.inputs.size(); ++i)
    if (!n.input(i))
      return;
  n.results.push_back(n.a.map(kind, n.inputs, element, params));
}

/// A unary operator with one real attribute.
static void addWithReal(NodeImport &n, StringRef kind, StringRef name, double otherwise) {
  if (n.input(0))
    n.results.push_back(
        n.a.map(kind, n.inputs[0], {}, n.a.params({{name, n.a.attr(n.real(name, otherwise))}})));
}

/// Any number of operands, two at a time.
static void addChain(NodeImport &n, StringRef kind) {
  Array result = n.input(0);
  for (size_t i = 1; i < n.inputs.size() && result; ++i)
    result = n.a.map(kind, {result, n.input(i)});
  n.results.push_back(result);
}

/// Before opset 7 operand 1 is broadcast where `broadcast` says so, its dims from `axis` on; there
/// is no other broadcasting.
static void addOldBinary(NodeImport &n, StringRef kind, Type element = {}) {
  if (!n.input(0) || !n.input(1))
    return;
  Array y = n.inputs[1];
  if (n.integer("broadcast", 0) && n.hasAttribute("axis")) {
    std::optional<int64_t> axis = n.axis(n.integer("axis", 0), n.inputs[0].rank());
    if (!axis)
      return;
    Shape shape = y.shape;
    while (*axis + int64_t(shape.size()) < n.inputs[0].rank())
      shape.push_back(n.a.number(1));
    y = n.a.reshape(y, shape);
  }
  n.results.push_back(n.a.map(kind, {n.inputs[0], y}, element));
}

#define OLD(type, kind)                                                                            \
  OnnxOperator {                                                                                   \
    "", type, 1, [](NodeImport &n) { addOldBinary(n, kind); }                                      \
  }
#define OLD_TRUTH(type, kind)                                                                      \
  OnnxOperator {                                                                                   \
    "", type, 1, [](NodeImport &n) { addOldBinary(n, kind, n.a.b.getI1Type()); }                   \
  }

static void importMean(NodeImport &n) {
  addChain(n, "add");
  Array &sum = n.results[0];
  if (sum)
    sum = n.a.div(sum, n.a.scalar(sum.element, double(n.inputs.size())));
}

static void importMod(NodeImport &n) {
  addMap(n, "mod", {}, n.a.params({{"fmod", n.a.attr(n.integer("fmod", 0))}}));
}

static void importNot(NodeImport &n) { addMap(n, "not"); }

static void importIsInf(NodeImport &n) {
  addMap(n, "isinf", n.a.b.getI1Type(),
         n.a.params({{"positive", n.a.attr(n.integer("detect_positive", 1))},
                     {"negative", n.a.attr(n.integer("detect_negative", 1))}}));
}

/// What is too large for a float of 8 bits becomes the largest it has, unless told otherwise.
/// Powers of two, which have no mantissa, say how they are rounded.
static void addCast(NodeImport &n, const Array &x, Type element) {
  bool narrow = isa<FloatType>(element) && element.getIntOrFloatBitWidth() == 8;
  SmallVector<ArrayBuilder::Param> entries = {
      {"saturate", n.a.attr(int64_t(narrow && n.integer("saturate", 1)))}};
  if (isa<Float8E8M0FNUType>(element)) {
    std::string mode = n.text("round_mode", "up");
    if (mode != "up" && mode != "down" && mode != "nearest")
      return n.fail("round_mode: expected up, down or nearest, found " + mode);
    entries.push_back({"round", n.a.attr(StringRef(mode))});
  }
  DictionaryAttr params = n.a.params(entries);
  n.results.push_back(narrow ? n.a.map("cast", x, element, params) : n.a.cast(x, element));
}

static void importCast(NodeImport &n) {
  Type element = elementTypeOf(OnnxType(n.integer("to", 0)), n.a.b.getContext());
  if (!element)
    return n.fail("casts to strings or complex numbers are not supported");
  if (n.input(0))
    addCast(n, n.inputs[0], element);
}

static void importCastLike(NodeImport &n) {
  if (n.input(0) && n.input(1))
    addCast(n, n.inputs[0], n.inputs[1].element);
}

/// Bounds are attributes before opset 11, optional scalars since.
static void importClip(NodeImport &n) {
  Array x = n.input(0);
  if (!x)
    return;
  Array low, high;
  if (n.version < 11) {
    if (n.hasAttribute("min"))
      low = n.a.scalar(x.element, n.real("min", 0));
    if (n.hasAttribute("max"))
      high = n.a.scalar(x.element, n.real("max", 0));
  } else {
    low = n.has(1) ? n.inputs[1] : Array();
    high = n.has(2) ? n.inputs[2] : Array();
  }
  if (low)
    x = n.a.map("max", {x, low});
  if (high)
    x = n.a.map("min", {x, high});
  n.results.push_back(low || high ? x : n.a.map("identity", x));
}

static void importPow(NodeImport &n) {
  if (!n.input(0) || !n.input(1))
    return;
  const Array &x = n.inputs[0];
  // Powers that are products or roots are cheaper as such, and exact.
  auto exponent = n.a.valuesOf(n.inputs[1]);
  if (x.isFloat() && exponent && exponent->size() == 1 && n.inputs[1].rank() <= x.rank()) {
    double power = exponent->front();
    if (power == 2)
      return n.results.push_back(n.a.mul(x, x));
    if (power == 3)
      return n.results.push_back(n.a.mul(n.a.mul(x, x), x));
    if (power == 0.5)
      return n.results.push_back(n.a.unary("sqrt", x));
    if (power == -1)
      return n.results.push_back(n.a.unary("reciprocal", x));
  }
  n.results.push_back(n.a.map("pow", {x, n.inputs[1]}, x.element));
}

static void importPRelu(NodeImport &n) {
  if (!n.input(0) || !n.input(1))
    return;
  const Array &x = n.inputs[0];
  Array slope = n.inputs[1];
  if (n.version < 7 && slope.rank() == 1 && x.rank() > 1) { // one for each channel
    Shape shape = slope.shape;
    shape.resize(x.rank() - 1, n.a.number(1));
    slope = n.a.reshape(slope, shape);
  }
  Array zero = n.a.scalar(x.element, 0);
  Array isNegative = n.a.map("less", {x, zero}, n.a.b.getI1Type());
  n.results.push_back(n.a.map("where", {isNegative, n.a.mul(x, slope), x}, x.element));
}

static void importSelu(NodeImport &n) {
  const Array &x = n.input(0);
  if (!x)
    return;
  double alpha = n.real("alpha", 1.67326319217681884765625);
  double gamma = n.real("gamma", 1.05070102214813232421875);
  Array elu = n.a.map("elu", x, {}, n.a.params({{"alpha", n.a.attr(alpha)}}));
  n.results.push_back(n.a.mul(elu, n.a.scalar(x.element, gamma)));
}

static void importSoftsign(NodeImport &n) {
  const Array &x = n.input(0);
  if (x)
    n.results.push_back(n.a.div(x, n.a.add(n.a.unary("abs", x), n.a.scalar(x.element, 1))));
}

static void importThresholdedRelu(NodeImport &n) {
  const Array &x = n.input(0);
  if (!x)
    return;
  Array isAbove =
      n.a.map("greater", {x, n.a.scalar(x.element, n.real("alpha", 1))}, n.a.b.getI1Type());
  n.results.push_back(n.a.map("where", {isAbove, x, n.a.scalar(x.element, 0)}, x.element));
}

static void importShrink(NodeImport &n) {
  const Array &x = n.input(0);
  if (!x)
    return;
  double lambda = n.real("lambd", 0.5), bias = n.real("bias", 0);
  Type truth = n.a.b.getI1Type();
  Array isBelow = n.a.map("less", {x, n.a.scalar(x.element, -lambda)}, truth);
  Array isAbove = n.a.map("greater", {x, n.a.scalar(x.element, lambda)}, truth);
  Array offset = n.a.scalar(x.element, bias), zero = n.a.scalar(x.element, 0);
  Array inner = n.a.map("where", {isAbove, n.a.sub(x, offset), zero}, x.element);
  n.results.push_back(n.a.map("where", {isBelow, n.a.add(x, offset), inner}, x.element));
}

static void importHardSigmoid(NodeImport &n) {
  addMap(n, "hard_sigmoid", {},
         n.a.params(
             {{"alpha", n.a.attr(n.real("alpha", 0.2))}, {"beta", n.a.attr(n.real("beta", 0.5))}}));
}

static void importGelu(NodeImport &n) {
  addMap(n, n.text("approximate", "none") == "tanh" ? "gelu_tanh" : "gelu");
}

static void importSwish(NodeImport &n) { addWithReal(n, "silu", "alpha", 1); }

static void importWhere(NodeImport &n) {
  if (n.input(0) && n.input(1) && n.input(2))
    n.results.push_back(n.a.map("where", n.inputs, n.inputs[1].element));
}

static void importBitShift(NodeImport &n) {
  addMap(n, n.text("direction", "RIGHT") == "LEFT" ? "shift_left" : "shift_right");
}

static void importIdentity(NodeImport &n) {
  if (n.input(0))
    n.results.push_back(n.inputs[0]);
}

/// 1 beyond the threshold, else 0.
static void importBinarizer(NodeImport &n) {
  const Array &x = n.input(0);
  if (!x)
    return;
  Array threshold = n.a.scalar(x.element, n.real("threshold", 0));
  n.results.push_back(n.a.cast(n.a.map("greater", {x, threshold}, n.a.b.getI1Type()), x.element));
}

static void importBitCast(NodeImport &n) {
  const Array &x = n.input(0);
  if (!x)
    return;
  ArrayBuilder &a = n.a;
  int64_t told = n.integer("to", 0);
  Type to = told > 0 && told <= 26 ? elementTypeOf(OnnxType(told), a.b.getContext()) : Type();
  auto bits = [](Type type) { return type.isInteger(1) ? 8 : type.getIntOrFloatBitWidth(); };
  if (!to || bits(to) != bits(x.element))
    return n.fail(llvm::formatv("type {0} has not as many bits as the input's elements", told));
  if (to == x.element)
    return n.results.push_back(x);
  if (bits(to) < 8)
    return n.fail("bits of elements of fewer than 8 bits are not taken as others");
  // Truth values are bytes, 0 or 1.
  if (to.isInteger(1) || x.element.isInteger(1))
    return n.results.push_back(a.cast(x, to));
  n.results.push_back(a.map("bitcast", {x}, to));
}

/// In training a dropout takes the ratio of the elements away, at random, and makes up for them.
static void addTrainingDropout(NodeImport &n, const Array &x, const Array &training) {
  ArrayBuilder &a = n.a;
  Type real = x.element.isF64() ? x.element : Type(a.b.getF32Type()), truth = a.b.getI1Type();
  Array ratio = n.has(1) ? a.cast(n.scalarInput(1), real) : a.scalar(real, 0.5);
  if (a.failed())
    return;
  int64_t seed = n.integer("seed", int64_t(llvm::xxh3_64bits(n.node.name)));
  Array draw =
      a.compute("random", {}, real, x.shape,
                a.params({{"seed", a.attr(seed)}, {"low", a.attr(0.0)}, {"high", a.attr(1.0)}}));
  Array stays = a.map("greater_equal", {draw, ratio}, truth);
  Array mask = a.map("or", {stays, a.map("not", {training}, truth)}, truth);
  // Where all are taken away nothing is left to make up for.
  Array rest = a.sub(a.scalar(real, 1), ratio);
  Array isAll = a.map("less_equal", {rest, a.scalar(real, 0)}, truth);
  Array factor = a.div(a.scalar(real, 1), a.map("where", {isAll, a.scalar(real, 1), rest}, real));
  Array scale = a.map("where", {training, factor, a.scalar(real, 1)}, real);
  Array kept = a.mul(x, a.cast(scale, x.element));
  n.results.push_back(a.map("where", {mask, kept, a.scalar(x.element, 0)}, x.element));
  n.results.push_back(mask);
}

/// In inference a dropout is the identity, and its mask is all true.
static void importDropout(NodeImport &n) {
  const Array &x = n.input(0);
  if (!x)
    return;
  ArrayBuilder &a = n.a;
  if (n.has(2)) {
    auto training = a.integersOf(n.inputs[2]);
    if (!training || (training->size() == 1 && training->front()))
      return addTrainingDropout(n, x, n.scalarInput(2));
  }
  n.results.push_back(x);
  Type mask = n.version < 10 ? x.element : Type(a.b.getI1Type());
  n.results.push_back(a.broadcast(a.scalar(mask, 1), x.shape));
}

ArrayRef<OnnxOperator> kiln::onnxElementwise() {
  static const OnnxOperator table[] = {
      MAP("Abs", 1, "abs"),
      MAP("Neg", 1, "neg"),
      MAP("Sign", 9, "sign"),
      MAP("Ceil", 1, "ceil"),
      MAP("Floor", 1, "floor"),
      MAP("Round", 11, "round"),
      MAP("Sqrt", 1, "sqrt"),
      MAP("Reciprocal", 1, "reciprocal"),
      MAP("Exp", 1, "exp"),
      MAP("Log", 1, "log"),
      MAP("Sin", 7, "sin"),
      MAP("Cos", 7, "cos"),
      MAP("Tan", 7, "tan"),
      MAP("Asin", 7, "asin"),
      MAP("Acos", 7, "acos"),
      MAP("Atan", 7, "atan"),
      MAP("Sinh", 9, "sinh"),
      MAP("Cosh", 9, "cosh"),
      MAP("Tanh", 1, "tanh"),
      MAP("Asinh", 9, "asinh"),
      MAP("Acosh", 9, "acosh"),
      MAP("Atanh", 9, "atanh"),
      MAP("Erf", 9, "erf"),
      MAP("Relu", 1, "relu"),
      MAP("Sigmoid", 1, "sigmoid"),
      MAP("Softplus", 1, "softplus"),
      MAP("Mish", 18, "mish"),
      MAP("HardSwish", 14, "hard_swish"),
      MAP("Add", 7, "add"),
      MAP("Sub", 7, "sub"),
      MAP("Mul", 7, "mul"),
      MAP("Div", 7, "div"),
      OLD("Add", "add"),
      OLD("Sub", "sub"),
      OLD("Mul", "mul"),
      OLD("Div", "div"),
      OLD("Pow", "pow"),
      OLD("And", "and"),
      OLD("Or", "or"),
      OLD("Xor", "xor"),
      OLD_TRUTH("Equal", "equal"),
      OLD_TRUTH("Less", "less"),
      OLD_TRUTH("Greater", "greater"),
      MAP("And", 7, "and"),
      MAP("Or", 7, "or"),
      MAP("Xor", 7, "xor"),
      MAP("BitwiseAnd", 18, "and"),
      MAP("BitwiseOr", 18, "or"),
      MAP("BitwiseXor", 18, "xor"),
      {"", "BitwiseNot", 18, importNot},
      {"", "Not", 1, importNot},
      TRUTH("Equal", 7, "equal"),
      TRUTH("Less", 7, "less"),
      TRUTH("Greater", 7, "greater"),
      TRUTH("LessOrEqual", 12, "less_equal"),
      TRUTH("GreaterOrEqual", 12, "greater_equal"),
      TRUTH("IsNaN", 9, "isnan"),
      {"", "IsInf", 10, importIsInf},
      {"", "Max", 6, [](NodeImport &n) { addChain(n, "max"); }},
      {"", "Min", 6, [](NodeImport &n) { addChain(n, "min"); }},
      {"", "Sum", 6, [](NodeImport &n) { addChain(n, "add"); }},
      {"", "Mean", 6, importMean},
      {"", "Mod", 10, importMod},
      {"", "Pow", 7, importPow},
      {"", "BitShift", 11, importBitShift},
      {"", "Cast", 6, importCast},
      {"", "CastLike", 15, importCastLike},
      {"", "Clip", 6, importClip},
      {"", "PRelu", 6, importPRelu},
      {"", "LeakyRelu", 6, [](NodeImport &n) { addWithReal(n, "leaky_relu", "alpha", 0.01); }},
      {"", "Elu", 6, [](NodeImport &n) { addWithReal(n, "elu", "alpha", 1); }},
      {"", "Celu", 12, [](NodeImport &n) { addWithReal(n, "celu", "alpha", 1); }},
      {"", "Selu", 6, importSelu},
      {"", "Softsign", 1, importSoftsign},
      {"", "ThresholdedRelu", 10, importThresholdedRelu},
      {"", "Shrink", 9, importShrink},
      {"", "HardSigmoid", 6, importHardSigmoid},
      {"", "Gelu", 20, importGelu},
      {"", "Swish", 24, importSwish},
      {"", "Where", 9, importWhere},
      {"", "Identity", 1, importIdentity},
      {"", "BitCast", 26, importBitCast},
      {"ai.onnx.ml", "Binarizer", 1, importBinarizer},
      {"", "Dropout", 6, importDropout},
  };
  return table;
}
