// Activations in primitives:
//
//   %e = erf(%x / 1.41421)                  %y = gelu(%x)
//   %y = 0.5 * (%x * (%e + 1))        =>
//
// An activation is found from the op that bends it (erf, tanh, sigmoid, clamp): its operand must be
// the right polynomial in some x, and what its only users make of it, followed step by step, must
// become (factor * bent + summand) * x. How the steps are ordered does not matter.
#include "passes/recognize/Expression.h"
#include "passes/recognize/Recognize.h"
#include <cmath>

using namespace mlir;
using namespace kiln;
using namespace kiln::graph;
using namespace kiln::recognize;

static constexpr double kTanhSlope = M_2_SQRTPI * M_SQRT1_2, kCubic = 0.044715;

namespace {

/// (factor * bent + summand) * x, or without the x while `timesX` is not set.
struct Climb {
  Value value;
  double factor = 1, summand = 0;
  bool timesX = false;
};

/// What an activation is called, and the factor and summand it ends with.
struct Found {
  StringRef kind;
  double factor, summand;
  SmallVector<NamedAttribute> params = {};
};

} // namespace

/// Follows the value to its only user; false where that is no step of this kind.
static bool step(Climb &climb, Value x) {
  ComputeOp user = onlyUser(climb.value);
  if (!user || user.getNumOperands() < 1 || !sameShape(user.getResult(0).getType(), x.getType()))
    return false;
  StringRef kind = user.getKind();
  if (kind == "div" && user.getOperand(0) == climb.value) {
    std::optional<double> number = scalarOf(user.getOperand(1));
    if (!number || *number == 0)
      return false;
    climb.factor /= *number;
    climb.summand /= *number;
  } else if (Value other = otherOperand(user, "add", climb.value)) {
    std::optional<double> number = scalarOf(other);
    if (!number || climb.timesX)
      return false;
    climb.summand += *number;
  } else if (Value other = otherOperand(user, "mul", climb.value)) {
    std::optional<double> number = scalarOf(other);
    if (!number && !climb.timesX) {
      number = multipleOf(other, x);
      climb.timesX = number.has_value();
    }
    if (!number)
      return false;
    climb.factor *= *number;
    climb.summand *= *number;
  } else {
    return false;
  }
  climb.value = user.getResult(0);
  return true;
}

/// The value that equals what `found` says, or null.
static Value follow(Value bent, Value x, const Found &found) {
  Type element = tensorOf(x).getElementType();
  auto isReached = [&](double value, double wanted) {
    return wanted == 0 ? value == 0 : isNumber(value, wanted, element);
  };
  Climb climb{bent};
  for (unsigned steps = 0; steps < 6 && step(climb, x); ++steps)
    if (climb.timesX && isReached(climb.factor, found.factor) &&
        isReached(climb.summand, found.summand))
      return climb.value;
  return {};
}

/// What gives gelu_tanh where `scale` times the argument of its tanh is p.
static bool isTanhOfGelu(const Polynomial &p, double scale, Type element) {
  return p[0] == 0 && p[2] == 0 && isNumber(p[1], scale * kTanhSlope, element) &&
         isNumber(p[3], scale * kTanhSlope * kCubic, element);
}

/// What an op that bends p(x) may be part of.
static std::optional<Found> nameOf(ComputeOp op, const Polynomial &p, MLIRContext *context) {
  Type element = tensorOf(op.getResult(0)).getElementType();
  StringRef kind = op.getKind();
  bool isMultiple = p[0] == 0 && p[2] == 0 && p[3] == 0 && p[1] != 0;
  auto is = [&](double value, double wanted) { return isNumber(value, wanted, element); };
  if (kind == "erf" && isMultiple && is(p[1], M_SQRT1_2))
    return Found{"gelu", 0.5, 0.5};
  if (kind == "tanh" && isTanhOfGelu(p, 1, element))
    return Found{"gelu_tanh", 0.5, 0.5};
  if (kind == "sigmoid" && isTanhOfGelu(p, 2, element))
    return Found{"gelu_tanh", 1, 0};
  if (kind == "sigmoid" && isMultiple) {
    Builder b(context);
    return Found{"silu", 1, 0, {b.getNamedAttr("alpha", b.getF64FloatAttr(p[1]))}};
  }
  bool isLine = p[2] == 0 && p[3] == 0 && p[1] != 0;
  if (kind == "clamp" && isLine && floatParam(op, "low") == 0) {
    double high = floatParam(op, "high"); // (x + 3) / 6, some multiple of it
    if (high > 0 && is(p[0], high / 2) && is(p[1], high / 6))
      return Found{"hard_swish", 1 / high, 0};
  }
  if (kind == "hard_sigmoid" && isMultiple && is(p[1] * floatParam(op, "alpha"), 1.0 / 6) &&
      floatParam(op, "beta") == 0.5)
    return Found{"hard_swish", 1, 0};
  return std::nullopt;
}

namespace {

struct OfCompute : OpRewritePattern<ComputeOp> {
  using OpRewritePattern::OpRewritePattern;
};

/// erf, tanh, sigmoid and clamps as parts of an activation.
struct NameActivation : OfCompute {
  using OfCompute::OfCompute;
  LogicalResult matchAndRewrite(ComputeOp op, PatternRewriter &b) const override {
    if (!llvm::is_contained({"erf", "tanh", "sigmoid", "clamp", "hard_sigmoid"}, op.getKind()) ||
        !isFloat(op.getResult(0)))
      return failure();
    if (ComputeOp inner = definedBy(op.getOperand(0), "softplus"); inner && op.getKind() == "tanh")
      return name(op, inner.getOperand(0), {"mish", 1, 0}, b);
    for (Value x : basesOf(op.getOperand(0)))
      if (std::optional<Polynomial> p = polynomialIn(op.getOperand(0), x))
        if (std::optional<Found> found = nameOf(op, *p, b.getContext()))
          if (succeeded(name(op, x, *found, b)))
            return success();
    return failure();
  }

private:
  static LogicalResult name(ComputeOp bent, Value x, const Found &found, PatternRewriter &b) {
    Value whole = follow(bent.getResult(0), x, found);
    if (!whole)
      return failure();
    Operation *last = whole.getDefiningOp();
    b.setInsertionPoint(last);
    b.replaceOp(last, makeCompute(b, last->getLoc(), found.kind, x, tensorOf(whole), found.params));
    return success();
  }
};

/// d = 1 + exp(u): 1 / d is a sigmoid, v / d with u = -a v a silu, log d a softplus.
struct NameExponential : OfCompute {
  using OfCompute::OfCompute;
  LogicalResult matchAndRewrite(ComputeOp op, PatternRewriter &b) const override {
    StringRef kind = op.getKind();
    if (kind != "div" && kind != "reciprocal" && kind != "log")
      return failure();
    ComputeOp sum = definedBy(op->getOperands().back(), "add");
    if (!sum || !isFloat(op.getResult(0)))
      return failure();
    ComputeOp power;
    for (auto [one, other] : {std::pair(0, 1), std::pair(1, 0)})
      if (scalarOf(sum.getOperand(one)) == 1.0)
        power = definedBy(sum.getOperand(other), "exp");
    if (!power || !sameShape(power.getResult(0).getType(), op.getResult(0).getType()))
      return failure();
    Value u = power.getOperand(0);
    RankedTensorType type = tensorOf(op.getResult(0));
    if (kind == "log") {
      b.replaceOp(op, makeCompute(b, op.getLoc(), "softplus", u, type));
      return success();
    }
    bool isInverse = kind == "reciprocal" || scalarOf(op.getOperand(0)) == 1.0;
    for (Value x : basesOf(u)) {
      std::optional<double> slope = multipleOf(u, x);
      if (!slope)
        continue;
      if (isInverse && *slope == -1) {
        b.replaceOp(op, makeCompute(b, op.getLoc(), "sigmoid", x, type));
        return success();
      }
      if (!isInverse && op.getOperand(0) == x) {
        auto alpha = b.getNamedAttr("alpha", b.getF64FloatAttr(-*slope));
        b.replaceOp(op, makeCompute(b, op.getLoc(), "silu", x, type, alpha));
        return success();
      }
    }
    return failure();
  }
};

} // namespace

void recognize::populateActivations(RewritePatternSet &patterns) {
  patterns.add<NameActivation, NameExponential>(patterns.getContext());
}
