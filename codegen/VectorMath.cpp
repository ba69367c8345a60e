// Maths functions in a few vector instructions, without tables, divisions or branches.
#include "codegen/VectorMath.h"
#include "codegen/EmitSupport.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include <cmath>

using namespace mlir;
using namespace kiln;
using namespace kiln::emit;

// Rounding to an integer by adding 1.5 * 2^23 leaves that integer in the low bits, to be shifted
// into the exponent; the polynomial for the rest, within half of zero, minimises its relative
// error.
Value emit::emitExp2(ImplicitLocOpBuilder &b, Value x, int64_t degree) {
  static constexpr double three[] = {0.6932829272228239, 0.24221095947020777, 0.05500893049241203};
  static constexpr double four[] = {0.6931241934031539, 0.24024098611602546, 0.055906424677930326,
                                    0.009582853038384943};
  static constexpr double five[] = {0.6931469775990046, 0.2402224208525933, 0.05550733743473888,
                                    0.009671512644963185, 0.0013264727131611731};
  ArrayRef<double> coefficients = degree == 3   ? ArrayRef<double>(three)
                                  : degree == 4 ? ArrayRef<double>(four)
                                                : ArrayRef<double>(five);
  auto type = cast<VectorType>(x.getType());
  VectorType bits = type.clone(b.getI32Type());
  Value magic = splatConstant(b, type, 0x1.8p23);
  Value shifted = arith::AddFOp::create(b, x, magic);
  Value rest = arith::SubFOp::create(b, x, arith::SubFOp::create(b, shifted, magic));
  Value sum = splatConstant(b, type, coefficients.back());
  for (double coefficient : llvm::reverse(coefficients.drop_back()))
    sum = math::FmaOp::create(b, sum, rest, splatConstant(b, type, coefficient));
  sum = math::FmaOp::create(b, sum, rest, splatConstant(b, type, 1));
  Value exponent = arith::ShLIOp::create(b, arith::BitcastOp::create(b, bits, shifted),
                                         splatConstant(b, bits, 23));
  Value scaled = arith::BitcastOp::create(
      b, type, arith::AddIOp::create(b, arith::BitcastOp::create(b, bits, sum), exponent));
  Value counts =
      arith::CmpFOp::create(b, arith::CmpFPredicate::OGT, x, splatConstant(b, type, -125));
  return arith::SelectOp::create(b, counts, scaled, splatConstant(b, type, 0));
}

// Subtracting the bits from a constant is a first guess within 12 %; Newton's step y (2 - x y)
// squares the error, and the third leaves 5e-8.
static Value emitReciprocal(ImplicitLocOpBuilder &b, Value x) {
  auto type = cast<VectorType>(x.getType());
  VectorType bits = type.clone(b.getI32Type());
  Value guess = arith::SubIOp::create(b, splatConstant(b, bits, 0x7ef311c7),
                                      arith::BitcastOp::create(b, bits, x));
  Value y = arith::BitcastOp::create(b, type, guess), two = splatConstant(b, type, 2);
  Value negated = arith::NegFOp::create(b, x);
  for (int step = 0; step < 3; ++step)
    y = arith::MulFOp::create(b, y, math::FmaOp::create(b, negated, y, two));
  return y;
}

/// x / (1 + 2^turns). Past 2^120 the quotient is zero as far as anybody can tell, and the guess
/// would be denormal.
static Value emitDividedBy(ImplicitLocOpBuilder &b, Value x, Value turns) {
  auto type = cast<VectorType>(x.getType());
  Value most = splatConstant(b, type, 120);
  Value isBelow = arith::CmpFOp::create(b, arith::CmpFPredicate::OLT, turns, most);
  Value power = emitExp2(b, arith::SelectOp::create(b, isBelow, turns, most), 5);
  Value sum = arith::AddFOp::create(b, power, splatConstant(b, type, 1));
  return arith::MulFOp::create(b, x, emitReciprocal(b, sum));
}

Value emit::emitSilu(ImplicitLocOpBuilder &b, Value x) {
  auto type = cast<VectorType>(x.getType());
  Value turns = arith::MulFOp::create(b, x, splatConstant(b, type, -1.4426950408889634));
  return emitDividedBy(b, x, turns);
}

// 1/2 (1 + tanh u) = 1 / (1 + e^(-2u)).
Value emit::emitGeluTanh(ImplicitLocOpBuilder &b, Value x) {
  auto type = cast<VectorType>(x.getType());
  constexpr double unit = -2 * 0.7978845608028654 * 1.4426950408889634; // sqrt(2/pi), log2 e
  Value square = arith::MulFOp::create(b, x, x);
  Value factor = math::FmaOp::create(b, square, splatConstant(b, type, unit * 0.044715),
                                     splatConstant(b, type, unit));
  return emitDividedBy(b, x, arith::MulFOp::create(b, x, factor));
}

// The tail of the normal distribution, 1/2 erfc(|x| / sqrt 2), by Abramowitz and Stegun, "Handbook
// of Mathematical Functions" (1964), 7.1.26: a polynomial in t = 1 / (1 + p |x| / sqrt 2) times
// e^(-x^2 / 2), within 0.75e-7. It is the factor of a negative x, and what a positive one's lacks
// of 1.
Value emit::emitGelu(ImplicitLocOpBuilder &b, Value x) {
  static constexpr double coefficients[] = {0.254829592, -0.284496736, 1.421413741, -1.453152027,
                                            1.061405429};
  constexpr double p = 0.3275911;
  auto type = cast<VectorType>(x.getType());
  Value zero = splatConstant(b, type, 0), one = splatConstant(b, type, 1);
  Value most = splatConstant(b, type, 16); // nothing is left of the tail
  Value size = math::AbsFOp::create(b, x);
  Value isBelow = arith::CmpFOp::create(b, arith::CmpFPredicate::OLT, size, most);
  size = arith::SelectOp::create(b, isBelow, size, most);
  Value t =
      emitReciprocal(b, math::FmaOp::create(b, size, splatConstant(b, type, p * M_SQRT1_2), one));
  Value sum = splatConstant(b, type, 0.5 * coefficients[4]);
  for (int i = 3; i >= 0; --i)
    sum = math::FmaOp::create(b, sum, t, splatConstant(b, type, 0.5 * coefficients[i]));
  Value turns = arith::MulFOp::create(b, arith::MulFOp::create(b, size, size),
                                      splatConstant(b, type, -0.5 * 1.4426950408889634));
  Value tail = arith::MulFOp::create(b, arith::MulFOp::create(b, sum, t), emitExp2(b, turns, 5));
  Value isNegative = arith::CmpFOp::create(b, arith::CmpFPredicate::OLT, x, zero);
  Value factor = arith::SelectOp::create(b, isNegative, tail, arith::SubFOp::create(b, one, tail));
  return arith::MulFOp::create(b, x, factor);
}

// (1 - e) / (1 + e) with e = e^(-2|x|), which is small where it matters, and the sign of x.
Value emit::emitTanh(ImplicitLocOpBuilder &b, Value x) {
  auto type = cast<VectorType>(x.getType());
  Value one = splatConstant(b, type, 1);
  Value turns = arith::MulFOp::create(b, math::AbsFOp::create(b, x),
                                      splatConstant(b, type, -2 * 1.4426950408889634));
  Value power = emitExp2(b, turns, 5);
  Value size = arith::MulFOp::create(b, arith::SubFOp::create(b, one, power),
                                     emitReciprocal(b, arith::AddFOp::create(b, one, power)));
  Value result = math::CopySignOp::create(b, size, x);
  Value isNumber = arith::CmpFOp::create(b, arith::CmpFPredicate::ORD, x, x);
  return arith::SelectOp::create(b, isNumber, result, x);
}
