// exp takes whole powers of two away and sums a series of what is left, below ln(2)/2; log takes
// the exponent away and sums the series of artanh for a mantissa between sqrt(1/2) and sqrt(2).
// Kernels of f64 are few and need not be fast.
#include "codegen/DoubleMath.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/IR/TypeUtilities.h"
#include <cmath>
#include <limits>

using namespace mlir;
using namespace kiln;

static bool isDouble(Value value) { return getElementTypeOrSelf(value.getType()).isF64(); }

namespace {

/// Arithmetic on f64 or vectors of them.
struct Doubles {
  ImplicitLocOpBuilder b;
  Type type, bits;

  Doubles(Operation *op, PatternRewriter &rewriter)
      : b(op->getLoc(), rewriter), type(op->getResult(0).getType()), bits(b.getI64Type()) {
    if (auto vector = dyn_cast<VectorType>(type))
      bits = vector.clone(b.getI64Type());
  }

  Value constant(double value) {
    TypedAttr attribute = b.getF64FloatAttr(value);
    if (auto vector = dyn_cast<VectorType>(type))
      attribute = DenseElementsAttr::get(vector, value);
    return arith::ConstantOp::create(b, attribute);
  }
  Value integer(int64_t value) {
    TypedAttr attribute = b.getI64IntegerAttr(value);
    if (auto vector = dyn_cast<VectorType>(bits))
      attribute = DenseElementsAttr::get(vector, value);
    return arith::ConstantOp::create(b, attribute);
  }
  Value add(Value x, Value y) { return arith::AddFOp::create(b, x, y); }
  Value sub(Value x, Value y) { return arith::SubFOp::create(b, x, y); }
  Value mul(Value x, Value y) { return arith::MulFOp::create(b, x, y); }
  Value div(Value x, Value y) { return arith::DivFOp::create(b, x, y); }
  Value is(arith::CmpFPredicate predicate, Value x, double y) {
    return arith::CmpFOp::create(b, predicate, x, constant(y));
  }
  Value select(Value condition, Value x, Value y) {
    return arith::SelectOp::create(b, condition, x, y);
  }
  Value asBits(Value x) { return arith::BitcastOp::create(b, bits, x); }
  Value fromBits(Value x) { return arith::BitcastOp::create(b, type, x); }
  /// 2^n for whole n from -1022 to 1023.
  Value powerOfTwo(Value n) {
    Value biased = arith::AddIOp::create(b, n, integer(1023));
    return fromBits(arith::ShLIOp::create(b, biased, integer(52)));
  }
};

using P = arith::CmpFPredicate;

struct ExpandExp : OpRewritePattern<math::ExpOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(math::ExpOp op, PatternRewriter &rewriter) const override {
    if (!isDouble(op.getOperand()))
      return rewriter.notifyMatchFailure(op, "not of f64");
    Doubles d(op, rewriter);
    Value x = op.getOperand();
    // Beyond these bounds the result is 0 or infinite; inside, the power of two has two halves that
    // are normal numbers.
    Value inside = arith::MinimumFOp::create(
        d.b, arith::MaximumFOp::create(d.b, x, d.constant(-746)), d.constant(710));
    Value turns = math::RoundEvenOp::create(d.b, d.mul(inside, d.constant(M_LOG2E)));
    // ln(2) in two parts, the first with zeros at its end, so that its product is exact.
    Value rest = d.sub(inside, d.mul(turns, d.constant(0x1.62e42fee00000p-1)));
    rest = d.sub(rest, d.mul(turns, d.constant(0x1.a39ef35793c76p-33)));
    double factorial = 1;
    SmallVector<double> coefficients{1};
    for (int i = 1; i <= 13; ++i)
      coefficients.push_back(1 / (factorial *= i));
    Value sum = d.constant(coefficients.back());
    for (double coefficient : llvm::reverse(ArrayRef(coefficients).drop_back()))
      sum = d.add(d.mul(sum, rest), d.constant(coefficient));
    Value whole = arith::FPToSIOp::create(d.b, d.bits, turns);
    Value half = arith::ShRSIOp::create(d.b, whole, d.integer(1));
    Value other = arith::SubIOp::create(d.b, whole, half);
    Value result = d.mul(d.mul(sum, d.powerOfTwo(half)), d.powerOfTwo(other));
    rewriter.replaceOp(op, d.select(d.is(P::UNO, x, 0), x, result));
    return success();
  }
};

struct ExpandLog : OpRewritePattern<math::LogOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(math::LogOp op, PatternRewriter &rewriter) const override {
    if (!isDouble(op.getOperand()))
      return rewriter.notifyMatchFailure(op, "not of f64");
    Doubles d(op, rewriter);
    Value x = op.getOperand();
    Value isSmall = d.is(P::OLT, x, std::numeric_limits<double>::min());
    Value normal = d.select(isSmall, d.mul(x, d.constant(0x1p54)), x);
    // Adding what lies between 1 and sqrt(1/2) moves the cut between exponents to sqrt(1/2).
    constexpr int64_t one = 0x3ff0000000000000, root = 0x3fe6a09e667f3bcd;
    Value moved = arith::AddIOp::create(d.b, d.asBits(normal), d.integer(one - root));
    Value exponent = arith::SubIOp::create(d.b, arith::ShRSIOp::create(d.b, moved, d.integer(52)),
                                           d.integer(1023));
    Value fraction = arith::AndIOp::create(d.b, moved, d.integer((int64_t(1) << 52) - 1));
    Value mantissa = d.fromBits(arith::AddIOp::create(d.b, fraction, d.integer(root)));
    Value power = arith::SIToFPOp::create(d.b, d.type, exponent);
    power = d.select(isSmall, d.sub(power, d.constant(54)), power);
    Value less = d.sub(mantissa, d.constant(1));
    Value s = d.div(less, d.add(mantissa, d.constant(1))), square = d.mul(s, s);
    Value sum = d.constant(1.0 / 25);
    for (int i = 23; i >= 1; i -= 2)
      sum = d.add(d.mul(sum, square), d.constant(1.0 / i));
    Value result = d.add(d.mul(power, d.constant(M_LN2)), d.mul(d.mul(s, d.constant(2)), sum));
    result = d.select(d.is(P::OEQ, x, 0), d.constant(-INFINITY), result);
    result = d.select(d.is(P::OLT, x, 0), d.constant(NAN), result);
    Value isOdd = d.is(P::UEQ, x, INFINITY); // or no number
    rewriter.replaceOp(op, d.select(isOdd, x, result));
    return success();
  }
};

/// A function of f64 by way of f32.
template <typename Op> struct Narrow : OpRewritePattern<Op> {
  using OpRewritePattern<Op>::OpRewritePattern;
  LogicalResult matchAndRewrite(Op op, PatternRewriter &rewriter) const override {
    Type type = op.getOperand().getType();
    if (!isDouble(op.getOperand()))
      return rewriter.notifyMatchFailure(op, "not of f64");
    Type narrow = rewriter.getF32Type();
    if (auto vector = dyn_cast<VectorType>(type))
      narrow = vector.clone(narrow);
    Value x = arith::TruncFOp::create(rewriter, op.getLoc(), narrow, op.getOperand());
    Value y = Op::create(rewriter, op.getLoc(), x);
    rewriter.replaceOpWithNewOp<arith::ExtFOp>(op, type, y);
    return success();
  }
};

} // namespace

void kiln::populateDoubleMathPatterns(RewritePatternSet &patterns) {
  patterns
      .add<ExpandExp, ExpandLog, Narrow<math::SinOp>, Narrow<math::CosOp>, Narrow<math::TanhOp>,
           Narrow<math::ErfOp>, Narrow<math::AsinOp>, Narrow<math::AcosOp>, Narrow<math::AtanOp>>(
          patterns.getContext());
}
