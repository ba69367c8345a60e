// Maths functions of f64: arguments are reduced exactly, what is left is a series. Adding
// 1.5 * 2^52 rounds to an integer, which is then in the low bits of the sum.
#include "codegen/WideMath.h"
#include "codegen/Lanes.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/TypeUtilities.h"
#include <limits>

using namespace mlir;
using namespace kiln;
using P = arith::CmpFPredicate;

static constexpr double kMagic = 0x1.8p52;
static constexpr double kInfinity = std::numeric_limits<double>::infinity();
/// The first holds so many bits that multiples of it by exponents are exact.
static constexpr double kLn2[] = {0x1.62e42fefa3000p-1, 0x1.3de6af278ece6p-42};
static constexpr double kHalfPi[] = {0x1.921fb54400000p+0, 0x1.0b4611a600000p-34,
                                     0x1.3198a2e037073p-69};

/// 1/from!, …, 1/to! with steps and a sign for each second one: coefficients for Lanes::horner.
static SmallVector<double> reciprocalFactorials(int from, int to, int step, bool alternating) {
  SmallVector<double> coefficients;
  for (int n = to; n >= from; n -= step) {
    double factorial = 1;
    for (int i = 2; i <= n; ++i)
      factorial *= i;
    bool isNegative = alternating && (n - from) / step % 2;
    coefficients.push_back((isNegative ? -1 : 1) / factorial);
  }
  return coefficients;
}

/// 2^n for integers as i64 (n within [-1022, 1023]).
static Value powerOfTwo(Lanes l, Value n) {
  Value biased = arith::AddIOp::create(l.b, n, l.integer(1023));
  return l.fromBits(arith::ShLIOp::create(l.b, biased, l.integer(52)));
}

/// (e^r - 1) / r for |r| <= 0.35.
static Value emitExpRest(Lanes l, Value r) {
  return l.horner(r, reciprocalFactorials(1, 14, 1, false));
}

static Value emitExp(Lanes l, Value x) {
  x = l.select(l.is(P::OGT, x, 750), l.constant(750), x);
  x = l.select(l.is(P::OLT, x, -750), l.constant(-750), x);
  Value shifted = l.add(l.mul(x, l.constant(0x1.71547652b82fep+0)), l.constant(kMagic));
  Value n = l.sub(shifted, l.constant(kMagic));
  Value r = l.sub(l.sub(x, l.mul(n, l.constant(kLn2[0]))), l.mul(n, l.constant(kLn2[1])));
  Value power = l.add(l.mul(r, emitExpRest(l, r)), l.constant(1));
  // In two steps: 2^n alone may be too large or too small.
  Value whole = arith::SubIOp::create(l.b, l.bits(shifted), l.bits(l.constant(kMagic)));
  Value half = arith::ShRSIOp::create(l.b, whole, l.integer(1));
  Value other = arith::SubIOp::create(l.b, whole, half);
  return l.mul(l.mul(power, powerOfTwo(l, half)), powerOfTwo(l, other));
}

// With x = 2^n m, m within [1/sqrt 2, sqrt 2), ln m = 2 atanh s, s = (m - 1) / (m + 1).
static Value emitLog(Lanes l, Value x) {
  Value isDenormal = l.is(P::OLT, x, std::numeric_limits<double>::min());
  Value scaled = l.select(isDenormal, l.mul(x, l.constant(0x1p54)), x);
  // Counted from the bits of 1/sqrt 2, the exponent is that of m.
  Value offset =
      arith::SubIOp::create(l.b, l.bits(scaled), l.bits(l.constant(0x1.6a09e667f3bcdp-1)));
  Value exponent = arith::ShRSIOp::create(l.b, offset, l.integer(52));
  Value m = l.fromBits(arith::SubIOp::create(l.b, l.bits(scaled),
                                             arith::ShLIOp::create(l.b, exponent, l.integer(52))));
  Value n = arith::SIToFPOp::create(l.b, l.shape, exponent);
  n = l.sub(n, l.select(isDenormal, l.constant(54), l.constant(0)));
  Value f = l.sub(m, l.constant(1));
  Value s = l.div(f, l.add(m, l.constant(1)));
  SmallVector<double> coefficients;
  for (int k = 12; k >= 1; --k)
    coefficients.push_back(2.0 / (2 * k + 1));
  Value z = l.mul(s, s);
  // 2 s = f - s f: f is exact.
  Value rest = l.mul(s, l.sub(l.mul(z, l.horner(z, coefficients)), f));
  Value result =
      l.add(l.mul(n, l.constant(kLn2[0])), l.add(f, l.add(rest, l.mul(n, l.constant(kLn2[1])))));
  result = l.select(l.is(P::OEQ, x, 0), l.constant(-kInfinity), result);
  result =
      l.select(l.is(P::OLT, x, 0), l.constant(std::numeric_limits<double>::quiet_NaN()), result);
  return l.select(l.is(P::OLT, x, kInfinity), result, x); // infinity and NaN are their own
}

/// x ln(u) / (u - 1) with u = 1 + x (Kahan): what 1 + x rounds off is in both.
static Value emitLogOnePlus(Lanes l, Value x) {
  Value u = l.add(x, l.constant(1)), rest = l.sub(u, l.constant(1));
  Value result = l.div(l.mul(emitLog(l, u), x), rest);
  result = l.select(l.is(P::OEQ, rest, 0), x, result);
  return l.select(l.is(P::OEQ, x, kInfinity), x, result);
}

template <bool cosine> static Value emitSineOrCosine(Lanes l, Value x) {
  Value shifted = l.add(l.mul(x, l.constant(0x1.45f306dc9c883p-1)), l.constant(kMagic));
  Value n = l.sub(shifted, l.constant(kMagic)), r = x;
  for (double part : kHalfPi)
    r = l.sub(r, l.mul(n, l.constant(part)));
  Value z = l.mul(r, r);
  Value sines = l.mul(r, l.horner(z, reciprocalFactorials(1, 19, 2, true)));
  Value cosines = l.horner(z, reciprocalFactorials(0, 18, 2, true));
  Value quadrant = l.bits(shifted);
  if (cosine)
    quadrant = arith::AddIOp::create(l.b, quadrant, l.integer(1));
  return l.negateIf(l.bit(quadrant, 2), l.select(l.bit(quadrant, 1), cosines, sines));
}

// atan x = 2 atan(x / (1 + sqrt(1 + x^2))), twice, of x or 1/x within 1.
static Value emitAtan(Lanes l, Value x) {
  Value size = math::AbsFOp::create(l.b, x), one = l.constant(1);
  Value isLarge = l.is(P::OGT, size, 1);
  Value z = l.select(isLarge, l.div(one, size), size);
  for (int step = 0; step < 2; ++step)
    z = l.div(z, l.add(one, math::SqrtOp::create(l.b, l.add(one, l.mul(z, z)))));
  SmallVector<double> coefficients;
  for (int k = 13; k >= 0; --k)
    coefficients.push_back((k % 2 ? -4.0 : 4.0) / (2 * k + 1));
  Value angle = l.mul(z, l.horner(l.mul(z, z), coefficients));
  angle =
      l.select(isLarge, l.sub(l.constant(kHalfPi[0]), l.sub(angle, l.constant(kHalfPi[1]))), angle);
  return math::CopySignOp::create(l.b, angle, x);
}

static Value emitAsin(Lanes l, Value x) {
  Value one = l.constant(1);
  Value other = math::SqrtOp::create(l.b, l.mul(l.sub(one, x), l.add(one, x)));
  return emitAtan(l, l.div(x, other));
}

static Value emitAcos(Lanes l, Value x) {
  Value one = l.constant(1);
  Value tangent = math::SqrtOp::create(l.b, l.div(l.sub(one, x), l.add(one, x)));
  return l.mul(l.constant(2), emitAtan(l, tangent));
}

// With q = e^(2|x|) - 1: q / (q + 2), from the series where x is small.
static Value emitTanh(Lanes l, Value x) {
  Value size = math::AbsFOp::create(l.b, x), two = l.constant(2);
  Value twice = l.mul(size, two);
  Value isSmall = l.is(P::OLT, twice, 0.34);
  Value near = l.select(isSmall, twice, l.constant(0));
  Value q =
      l.select(isSmall, l.mul(near, emitExpRest(l, near)), l.sub(emitExp(l, twice), l.constant(1)));
  Value result = l.div(q, l.add(q, two));
  result = l.select(l.is(P::OGT, size, 22), l.constant(1), result);
  return math::CopySignOp::create(l.b, result, x);
}

// Abramowitz and Stegun, "Handbook of Mathematical Functions" (1964), 7.1.6 near zero, the
// continued fraction 7.1.14 beyond 2.5.
static Value emitErf(Lanes l, Value x) {
  Value size = math::AbsFOp::create(l.b, x);
  Value isNear = l.is(P::OLT, size, 2.5), isFar = l.is(P::OGT, size, 6);
  Value bounded = l.select(isFar, l.constant(6), size);
  Value square = l.mul(bounded, bounded);
  Value gauss = emitExp(l, l.sub(l.constant(0), square));
  SmallVector<double> coefficients;          // 2^n / (1 * 3 * ... * (2n + 1))
  double coefficient = 0x1.20dd750429b6dp+0; // 2 / sqrt pi
  for (int n = 0; n <= 42; ++n) {
    coefficients.insert(coefficients.begin(), coefficient);
    coefficient *= 2.0 / (2 * n + 3);
  }
  Value near = l.mul(l.mul(gauss, bounded), l.horner(square, coefficients));
  Value fraction = bounded;
  for (int level = 32; level >= 1; --level)
    fraction = l.add(bounded, l.div(l.constant(0.5 * level), fraction));
  Value tail = l.div(l.mul(gauss, l.constant(0x1.20dd750429b6dp-1)), fraction);
  Value result = l.select(isNear, near, l.sub(l.constant(1), tail));
  result = math::CopySignOp::create(l.b, l.select(isFar, l.constant(1), result), x);
  return l.select(arith::CmpFOp::create(l.b, P::ORD, x, x), result, x);
}

namespace {

template <typename Op, Value (*emit)(Lanes, Value)> struct Expand : OpRewritePattern<Op> {
  using OpRewritePattern<Op>::OpRewritePattern;
  LogicalResult matchAndRewrite(Op op, PatternRewriter &rewriter) const override {
    if (!getElementTypeOrSelf(op.getType()).isF64())
      return failure();
    ImplicitLocOpBuilder b(op.getLoc(), rewriter);
    rewriter.replaceOp(op, emit(Lanes{b, op.getType()}, op.getOperand()));
    return success();
  }
};

} // namespace

void kiln::populateWideMathPatterns(RewritePatternSet &patterns) {
  patterns.add<Expand<math::ExpOp, emitExp>, Expand<math::LogOp, emitLog>,
               Expand<math::Log1pOp, emitLogOnePlus>, Expand<math::SinOp, emitSineOrCosine<false>>,
               Expand<math::CosOp, emitSineOrCosine<true>>, Expand<math::AtanOp, emitAtan>,
               Expand<math::AsinOp, emitAsin>, Expand<math::AcosOp, emitAcos>,
               Expand<math::TanhOp, emitTanh>, Expand<math::ErfOp, emitErf>>(patterns.getContext());
}
