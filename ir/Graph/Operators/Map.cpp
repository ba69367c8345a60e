// Operators element by element, with broadcasting: arithmetic, comparisons, choices, activations.
// Their meanings are those of numpy and of the ONNX operators of the same names. Integer division
// never traps: a quotient by zero is the dividend.
#include "ir/Graph/Operators.h"
#include "ir/Graph/Operators/MapOperands.h"
#include "llvm/ADT/StringSwitch.h"

using namespace mlir;
using namespace kiln;
using namespace kiln::graph;

namespace {

/// One element's arithmetic: scalars, or lanes of vectors.
struct Maker {
  ElementBuilder &e;
  mutable ComputeOp op;
  ImplicitLocOpBuilder &b;

  Maker(ElementBuilder &e, ComputeOp op) : e(e), op(op), b(e.b) {}

  Type typeOf(unsigned operand) const { return tensorOf(op.getOperand(operand)).getElementType(); }
  bool isFloat(unsigned operand = 0) const { return isa<FloatType>(typeOf(operand)); }
  bool isUnsigned(unsigned operand = 0) const {
    return typeOf(operand).isUnsignedInteger() || typeOf(operand).isInteger(1);
  }
  Value like(Value x, double value) const { return e.constant(x.getType(), value); }

  Value add(Value x, Value y) const { return arith::AddFOp::create(b, x, y); }
  Value sub(Value x, Value y) const { return arith::SubFOp::create(b, x, y); }
  Value mul(Value x, Value y) const { return arith::MulFOp::create(b, x, y); }
  Value div(Value x, Value y) const { return arith::DivFOp::create(b, x, y); }
  Value add(Value x, double y) const { return add(x, like(x, y)); }
  Value mul(Value x, double y) const { return mul(x, like(x, y)); }
  Value negate(Value x) const { return arith::NegFOp::create(b, x); }
  Value is(arith::CmpFPredicate predicate, Value x, Value y) const {
    return arith::CmpFOp::create(b, predicate, x, y);
  }
  Value is(arith::CmpFPredicate predicate, Value x, double y) const {
    return is(predicate, x, like(x, y));
  }
  Value select(Value condition, Value x, Value y) const {
    return arith::SelectOp::create(b, condition, x, y);
  }
  Value exp(Value x) const { return math::ExpOp::create(b, x); }
  Value log(Value x) const { return math::LogOp::create(b, x); }
  Value abs(Value x) const { return math::AbsFOp::create(b, x); }
  double param(StringRef name) const { return floatParam(op, name); }
};

} // namespace

using P = arith::CmpFPredicate;

/// The same operation on floats, signed and unsigned integers.
template <typename FloatOp, typename SignedOp, typename UnsignedOp>
static Value byType(ElementBuilder &e, ComputeOp op, ValueRange x) {
  Maker m(e, op);
  if (m.isFloat())
    return FloatOp::create(e.b, x[0], x[1]);
  if (m.isUnsigned())
    return UnsignedOp::create(e.b, x[0], x[1]);
  return SignedOp::create(e.b, x[0], x[1]);
}

template <P floats, arith::CmpIPredicate ints, arith::CmpIPredicate uints>
static Value compare(ElementBuilder &e, ComputeOp op, ValueRange x) {
  Maker m(e, op);
  if (m.isFloat())
    return m.is(floats, x[0], x[1]);
  return arith::CmpIOp::create(e.b, m.isUnsigned() ? uints : ints, x[0], x[1]);
}

/// The divisor, or 1 where a division would trap: by 0, and of signed integers by -1.
static Value safeDivisor(Maker &m, Value y) {
  Value bad = arith::CmpIOp::create(m.b, arith::CmpIPredicate::eq, y, m.like(y, 0));
  if (!m.isUnsigned())
    bad = arith::OrIOp::create(
        m.b, bad, arith::CmpIOp::create(m.b, arith::CmpIPredicate::eq, y, m.like(y, -1)));
  return m.select(bad, m.like(y, 1), y);
}

static Value divide(ElementBuilder &e, ComputeOp op, ValueRange x) {
  Maker m(e, op);
  if (m.isFloat())
    return m.div(x[0], x[1]);
  Value safe = safeDivisor(m, x[1]);
  if (m.isUnsigned())
    return arith::DivUIOp::create(e.b, x[0], safe);
  Value quotient = arith::DivSIOp::create(e.b, x[0], safe);
  Value isMinusOne = arith::CmpIOp::create(e.b, arith::CmpIPredicate::eq, x[1], m.like(x[1], -1));
  return m.select(isMinusOne, arith::SubIOp::create(e.b, m.like(x[0], 0), x[0]), quotient);
}

/// The remainder with the divisor's sign, as Python has it; with `fmod` the dividend's.
static Value remainder(ElementBuilder &e, ComputeOp op, ValueRange x) {
  Maker m(e, op);
  bool truncate = intParam(op, "fmod") != 0;
  if (m.isFloat()) {
    // In f64 the quotient of two f32 is exact enough that its whole part is off by one at most
    // where it is a whole number itself.
    Type wide = e.b.getF64Type();
    bool narrow = x[0].getType() != wide;
    auto widen = [&](Value v) {
      return narrow ? arith::ExtFOp::create(e.b, wide, v).getResult() : v;
    };
    Value a = widen(x[0]), d = widen(x[1]);
    Value quotient = m.div(a, d);
    Value whole = truncate ? math::TruncOp::create(e.b, quotient).getResult()
                           : math::FloorOp::create(e.b, quotient).getResult();
    Value rest = math::FmaOp::create(e.b, m.negate(whole), d, a);
    return narrow ? arith::TruncFOp::create(e.b, x[0].getType(), rest).getResult() : rest;
  }
  Value safe = safeDivisor(m, x[1]);
  if (m.isUnsigned())
    return arith::RemUIOp::create(e.b, x[0], safe);
  Value rest = arith::RemSIOp::create(e.b, x[0], safe);
  if (truncate)
    return rest;
  using I = arith::CmpIPredicate;
  Value zero = m.like(rest, 0);
  Value differ = arith::CmpIOp::create(e.b, I::slt, arith::XOrIOp::create(e.b, rest, x[1]), zero);
  Value some = arith::CmpIOp::create(e.b, I::ne, rest, zero);
  Value wrong = arith::AndIOp::create(e.b, differ, some);
  return m.select(wrong, arith::AddIOp::create(e.b, rest, x[1]), rest);
}

/// x^y of floats: the power of |x|, with the sign and the special cases of C's pow.
static Value floatPower(Maker &m, Value x, Value y) {
  Value size = m.exp(m.mul(y, m.log(m.abs(x))));
  Value half = m.mul(y, 0.5);
  Value isWhole = m.is(P::OEQ, y, math::FloorOp::create(m.b, y));
  Value isEven = m.is(P::OEQ, half, math::FloorOp::create(m.b, half));
  Value isNegative = m.is(P::OLT, x, 0);
  Value signedSize = m.select(isEven, size, m.negate(size));
  Value ofNegative = m.select(isWhole, signedSize, m.like(x, NAN));
  Value power = m.select(isNegative, ofNegative, size);
  power = m.select(m.is(P::OEQ, x, 0),
                   m.select(m.is(P::OLT, y, 0), m.like(x, INFINITY), m.like(x, 0)), power);
  power = m.select(m.is(P::OEQ, x, 1), m.like(x, 1), power);
  return m.select(m.is(P::OEQ, y, 0), m.like(x, 1), power);
}

/// Powers of integers by squaring; beyond 63 only 0, 1 and -1 have one.
static Value integerPower(Maker &m, Value x, Value y) {
  Type type = x.getType();
  Value result = m.like(x, 1), square = x;
  y = m.e.convert(y, m.typeOf(1), m.typeOf(0));
  unsigned bits = std::min(6u, type.getIntOrFloatBitWidth() - 1);
  for (unsigned bit = 0; bit < bits; ++bit) {
    Value shifted = arith::ShRUIOp::create(m.b, y, m.like(y, bit));
    Value odd = arith::TruncIOp::create(m.b, m.b.getI1Type(), shifted);
    result = m.select(odd, arith::MulIOp::create(m.b, result, square), result);
    square = arith::MulIOp::create(m.b, square, square);
  }
  return result;
}

static Value power(ElementBuilder &e, ComputeOp op, ValueRange x) {
  Maker m(e, op);
  if (!m.isFloat(0) && !m.isFloat(1))
    return integerPower(m, x[0], x[1]);
  if (m.isFloat(0) && m.isFloat(1) && x[0].getType() == x[1].getType())
    return floatPower(m, x[0], x[1]);
  Type wide = e.b.getF32Type();
  if (x[0].getType().isF64() || x[1].getType().isF64())
    wide = e.b.getF64Type();
  Value result =
      floatPower(m, e.convert(x[0], m.typeOf(0), wide), e.convert(x[1], m.typeOf(1), wide));
  if (m.isFloat(0))
    return e.convert(result, wide, m.typeOf(0));
  // Of an integer: what rounding took from a whole number comes back.
  return e.convert(math::RoundEvenOp::create(e.b, result), wide, m.typeOf(0));
}

static Value minimum(ElementBuilder &e, ComputeOp op, ValueRange x) {
  return byType<arith::MinimumFOp, arith::MinSIOp, arith::MinUIOp>(e, op, x);
}
static Value maximum(ElementBuilder &e, ComputeOp op, ValueRange x) {
  return byType<arith::MaximumFOp, arith::MaxSIOp, arith::MaxUIOp>(e, op, x);
}

template <bool left> static Value shift(ElementBuilder &e, ComputeOp op, ValueRange x) {
  Maker m(e, op);
  Value shifted = left ? arith::ShLIOp::create(e.b, x[0], x[1]).getResult()
                       : arith::ShRUIOp::create(e.b, x[0], x[1]).getResult();
  Value all = arith::CmpIOp::create(e.b, arith::CmpIPredicate::uge, x[1],
                                    m.like(x[1], x[0].getType().getIntOrFloatBitWidth()));
  return m.select(all, m.like(x[0], 0), shifted);
}

static Value absolute(ElementBuilder &e, ComputeOp op, ValueRange x) {
  Maker m(e, op);
  if (m.isFloat())
    return m.abs(x[0]);
  if (m.isUnsigned())
    return x[0];
  return math::AbsIOp::create(e.b, x[0]);
}

static Value negative(ElementBuilder &e, ComputeOp op, ValueRange x) {
  Maker m(e, op);
  if (m.isFloat())
    return m.negate(x[0]);
  return arith::SubIOp::create(e.b, m.like(x[0], 0), x[0]);
}

static Value signOf(ElementBuilder &e, ComputeOp op, ValueRange x) {
  Maker m(e, op);
  if (m.isFloat()) {
    Value one = m.select(m.is(P::OLT, x[0], 0), m.like(x[0], -1), x[0]);
    return m.select(m.is(P::OGT, x[0], 0), m.like(x[0], 1), one);
  }
  using I = arith::CmpIPredicate;
  auto is = [&](I predicate) {
    return arith::CmpIOp::create(e.b, predicate, x[0], m.like(x[0], 0)).getResult();
  };
  if (m.isUnsigned())
    return m.select(is(I::ne), m.like(x[0], 1), m.like(x[0], 0));
  Value one = m.select(is(I::sgt), m.like(x[0], 1), m.like(x[0], 0));
  return m.select(is(I::slt), m.like(x[0], -1), one);
}

/// e^x - 1 without losing what is small: (u - 1) x / ln u with u = e^x (Kahan).
static Value expMinusOne(Maker &m, Value x) {
  Value u = m.exp(x), less = m.add(u, -1);
  Value exact = m.div(m.mul(less, x), m.log(u));
  Value isSmall = m.is(P::OLT, m.abs(x), 0.5);
  Value result = m.select(isSmall, exact, less);
  return m.select(m.is(P::OEQ, u, 1), x, result);
}

/// ln(1 + x): x ln(u) / (u - 1) with u = 1 + x (Kahan).
static Value logOnePlus(Maker &m, Value x) {
  Value u = m.add(x, 1), rest = m.add(u, -1);
  Value exact = m.div(m.mul(m.log(u), x), rest);
  Value result = m.select(m.is(P::OEQ, rest, 0), x, exact);
  return m.select(m.is(P::OEQ, x, INFINITY), x, result);
}

static Value hyperbolicSine(ElementBuilder &e, ComputeOp op, ValueRange x) {
  Maker m(e, op);
  Value part = expMinusOne(m, m.abs(x[0])); // (p + p / (p + 1)) / 2
  Value sum = m.add(part, m.div(part, m.add(part, 1)));
  sum = m.select(m.is(P::OEQ, part, INFINITY), part, sum);
  return math::CopySignOp::create(e.b, m.mul(sum, 0.5), x[0]);
}
static Value hyperbolicCosine(ElementBuilder &e, ComputeOp op, ValueRange x) {
  Maker m(e, op);
  Value part = m.exp(m.abs(x[0]));
  return m.mul(m.add(part, m.div(m.like(part, 1), part)), 0.5);
}
static Value inverseHyperbolicSine(ElementBuilder &e, ComputeOp op, ValueRange x) {
  Maker m(e, op);
  Value size = m.abs(x[0]), square = m.mul(size, size);
  Value root = math::SqrtOp::create(e.b, m.add(square, 1));
  Value inner = m.add(size, m.div(square, m.add(root, 1)));
  Value result =
      m.select(m.is(P::OGT, size, 1e18), m.add(m.log(size), M_LN2), logOnePlus(m, inner));
  return math::CopySignOp::create(e.b, result, x[0]);
}
static Value inverseHyperbolicCosine(ElementBuilder &e, ComputeOp op, ValueRange x) {
  Maker m(e, op);
  Value less = m.add(x[0], -1);
  Value root = math::SqrtOp::create(e.b, m.mul(less, m.add(x[0], 1)));
  return logOnePlus(m, m.add(less, root));
}
static Value inverseHyperbolicTangent(ElementBuilder &e, ComputeOp op, ValueRange x) {
  Maker m(e, op);
  Value twice = m.mul(x[0], 2);
  return m.mul(logOnePlus(m, m.div(twice, m.sub(m.like(x[0], 1), x[0]))), 0.5);
}

static Value sigmoid(Maker &m, Value x) {
  return m.div(m.like(x, 1), m.add(m.exp(m.negate(x)), 1));
}
/// max(x, 0) + ln(1 + e^-|x|)
static Value softplus(Maker &m, Value x) {
  Value rest = logOnePlus(m, m.exp(m.negate(m.abs(x))));
  return m.add(arith::MaximumFOp::create(m.b, x, m.like(x, 0)), rest);
}
static Value clamp(Maker &m, Value x, double low, double high) {
  return arith::MinimumFOp::create(m.b, arith::MaximumFOp::create(m.b, x, m.like(x, low)),
                                   m.like(x, high));
}

unsigned graph::mapOperands(StringRef kind) {
  return llvm::StringSwitch<unsigned>(kind)
      .Cases({"add", "sub", "mul", "div", "mod", "pow", "min", "max", "quantize"}, 2)
      .Cases({"and", "or", "xor", "shift_left", "shift_right"}, 2)
      .Cases({"equal", "less", "less_equal", "greater", "greater_equal"}, 2)
      .Case("where", 3)
      .Default(1);
}

/// Operands are of one type; the choice of `where` stands before two such.
static LogicalResult verifyTypes(ComputeOp op) {
  StringRef kind = op.getKind();
  unsigned first = kind == "where" ? 1 : 0;
  Type element = tensorOf(op.getOperand(first)).getElementType();
  if (first && !tensorOf(op.getOperand(0)).getElementType().isInteger(1))
    return op.emitOpError() << kind << " chooses by truth values, found "
                            << tensorOf(op.getOperand(0)).getElementType();
  for (Value operand : op.getOperands().drop_front(first + 1))
    if (tensorOf(operand).getElementType() != element && kind != "pow")
      return op.emitOpError() << kind << " takes operands of one type, found " << element << " and "
                              << tensorOf(operand).getElementType();
  bool bits = llvm::StringSwitch<bool>(kind)
                  .Cases({"and", "or", "xor", "not", "shift_left", "shift_right"}, true)
                  .Default(false);
  bool any = mapOperands(kind) > 1 ||
             llvm::StringSwitch<bool>(kind)
                 .Cases({"identity", "cast", "bitcast", "abs", "neg", "sign"}, true)
                 .Cases({"relu", "not"}, true)
                 .Default(false);
  if (bits ? isa<FloatType>(element) : !any && !isa<FloatType>(element))
    return op.emitOpError() << kind << " takes " << (bits ? "integers" : "floats") << ", found "
                            << element;
  return success();
}

static LogicalResult verifyMap(ComputeOp op) {
  if (op.getNumResults() != 1)
    return op.emitOpError() << "has one result";
  if (op.getNumOperands() != mapOperands(op.getKind()))
    return op.emitOpError() << op.getKind() << " takes " << mapOperands(op.getKind())
                            << " operands, found " << op.getNumOperands();
  if (failed(verifyTypes(op)))
    return failure();
  int64_t rank = tensorOf(op.getResult(0)).getRank();
  for (Value operand : op.getOperands())
    if (tensorOf(operand).getRank() > rank)
      return op.emitOpError() << "an operand has more dims than the result";
  return success();
}

#define MAP(name, ...)                                                                             \
  Operator {                                                                                       \
    name, Cost::Map,                                                                               \
        [](ElementBuilder &e, ComputeOp op, ValueRange x) -> Value {                               \
          Maker m(e, op);                                                                          \
          __VA_ARGS__;                                                                             \
        },                                                                                         \
        mapElement, nullptr, nullptr, nullptr, false, false, verifyMap                             \
  }
#define MAP_FUNCTION(name, function)                                                               \
  Operator {                                                                                       \
    name, Cost::Map, function, mapElement, nullptr, nullptr, nullptr, false, false, verifyMap      \
  }

ArrayRef<Operator> graph::mapOperators() {
  using I = arith::CmpIPredicate;
  static const Operator table[] = {
      MAP("identity", return x[0]),
      MAP_FUNCTION("cast", castElement),
      MAP_FUNCTION("bitcast", bitcastElement),
      MAP("where", return m.select(x[0], x[1], x[2])),
      // Arithmetic
      MAP_FUNCTION("add", (byType<arith::AddFOp, arith::AddIOp, arith::AddIOp>)),
      MAP_FUNCTION("sub", (byType<arith::SubFOp, arith::SubIOp, arith::SubIOp>)),
      MAP_FUNCTION("mul", (byType<arith::MulFOp, arith::MulIOp, arith::MulIOp>)),
      MAP_FUNCTION("div", divide),
      MAP_FUNCTION("mod", remainder),
      MAP_FUNCTION("pow", power),
      MAP_FUNCTION("min", minimum),
      MAP_FUNCTION("max", maximum),
      MAP_FUNCTION("abs", absolute),
      MAP_FUNCTION("neg", negative),
      MAP_FUNCTION("sign", signOf),
      MAP("reciprocal", return m.div(m.like(x[0], 1), x[0])),
      MAP("sqrt", return math::SqrtOp::create(e.b, x[0])),
      MAP("floor", return math::FloorOp::create(e.b, x[0])),
      MAP("ceil", return math::CeilOp::create(e.b, x[0])),
      MAP("round", return math::RoundEvenOp::create(e.b, x[0])),
      // Logic and bits
      MAP_FUNCTION("and", (byType<arith::AddFOp, arith::AndIOp, arith::AndIOp>)),
      MAP_FUNCTION("or", (byType<arith::AddFOp, arith::OrIOp, arith::OrIOp>)),
      MAP_FUNCTION("xor", (byType<arith::AddFOp, arith::XOrIOp, arith::XOrIOp>)),
      MAP("not", return arith::XOrIOp::create(e.b, x[0], m.like(x[0], -1))),
      MAP_FUNCTION("shift_left", shift<true>),
      MAP_FUNCTION("shift_right", shift<false>),
      // Comparisons
      MAP_FUNCTION("equal", (compare<P::OEQ, I::eq, I::eq>)),
      MAP_FUNCTION("less", (compare<P::OLT, I::slt, I::ult>)),
      MAP_FUNCTION("less_equal", (compare<P::OLE, I::sle, I::ule>)),
      MAP_FUNCTION("greater", (compare<P::OGT, I::sgt, I::ugt>)),
      MAP_FUNCTION("greater_equal", (compare<P::OGE, I::sge, I::uge>)),
      MAP("isnan", return m.is(P::UNO, x[0], x[0])),
      MAP("isinf",
          {
            Value above = m.is(P::OEQ, x[0], INFINITY), below = m.is(P::OEQ, x[0], -INFINITY);
            if (intParam(op, "positive") && intParam(op, "negative"))
              return arith::OrIOp::create(e.b, above, below);
            if (intParam(op, "positive"))
              return above;
            if (intParam(op, "negative"))
              return below;
            return arith::AndIOp::create(e.b, above, below);
          }),
      // Transcendental
      MAP("exp", return m.exp(x[0])),
      MAP("log", return m.log(x[0])),
      MAP("sin", return math::SinOp::create(e.b, x[0])),
      MAP("cos", return math::CosOp::create(e.b, x[0])),
      MAP("tan", return m.div(math::SinOp::create(e.b, x[0]), math::CosOp::create(e.b, x[0]))),
      MAP("asin", return math::AsinOp::create(e.b, x[0])),
      MAP("acos", return math::AcosOp::create(e.b, x[0])),
      MAP("atan", return math::AtanOp::create(e.b, x[0])),
      MAP_FUNCTION("sinh", hyperbolicSine),
      MAP_FUNCTION("cosh", hyperbolicCosine),
      MAP("tanh", return math::TanhOp::create(e.b, x[0])),
      MAP_FUNCTION("asinh", inverseHyperbolicSine),
      MAP_FUNCTION("acosh", inverseHyperbolicCosine),
      MAP_FUNCTION("atanh", inverseHyperbolicTangent),
      MAP("erf", return math::ErfOp::create(e.b, x[0])),
      // Activations
      MAP("relu",
          {
            if (!m.isFloat())
              return arith::MaxSIOp::create(e.b, x[0], m.like(x[0], 0));
            return arith::MaximumFOp::create(e.b, x[0], m.like(x[0], 0));
          }),
      MAP("sigmoid", return sigmoid(m, x[0])),
      MAP("silu", return m.mul(x[0], sigmoid(m, m.mul(x[0], m.param("alpha"))))),
      MAP("softplus", return softplus(m, x[0])),
      MAP("mish", return m.mul(x[0], math::TanhOp::create(e.b, softplus(m, x[0])))),
      MAP("clamp", return clamp(m, x[0], m.param("low"), m.param("high"))),
      MAP("leaky_relu",
          return m.select(m.is(P::OLT, x[0], 0), m.mul(x[0], m.param("alpha")), x[0])),
      MAP("elu", return m.select(m.is(P::OLT, x[0], 0),
                                 m.mul(expMinusOne(m, x[0]), m.param("alpha")), x[0])),
      MAP("celu",
          {
            double alpha = m.param("alpha");
            Value below = m.mul(expMinusOne(m, m.mul(x[0], 1 / alpha)), alpha);
            return m.select(m.is(P::OLT, x[0], 0), below, x[0]);
          }),
      MAP("gelu",
          {
            Value tail = math::ErfOp::create(e.b, m.mul(x[0], M_SQRT1_2));
            return m.mul(m.mul(x[0], 0.5), m.add(tail, 1));
          }),
      MAP("gelu_tanh",
          {
            Value cube = m.mul(m.mul(x[0], x[0]), x[0]);
            Value inner = m.mul(m.add(x[0], m.mul(cube, 0.044715)), M_2_SQRTPI * M_SQRT1_2);
            return m.mul(m.mul(x[0], 0.5), m.add(math::TanhOp::create(e.b, inner), 1));
          }),
      MAP("hard_sigmoid",
          return clamp(m, m.add(m.mul(x[0], m.param("alpha")), m.param("beta")), 0, 1)),
      MAP("hard_swish", return m.mul(x[0], clamp(m, m.add(m.mul(x[0], 1.0 / 6), 0.5), 0, 1))),
      MAP("softcap", return m.mul(math::TanhOp::create(e.b, m.mul(x[0], 1 / m.param("limit"))),
                                  m.param("limit"))),
  };
  return table;
}
