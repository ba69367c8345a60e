// Sine and cosine from f64 arithmetic alone. An angle of t turns lies q = round(4t) quarters from 0
// with a rest x = (4t - q) pi/2 in [-pi/4, pi/4]; there the Taylor series to x^11 and x^12 are good
// to 4e-12, far below half an ulp of f32. Rounding adds 1.5 * 2^52, after which the low bits of
// the sum are q in two's complement: no round instruction (which old x86 lacks) and no conversion.
#include "codegen/SinCos.h"
#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;

namespace {

/// Scalar or vector arithmetic of one shape.
struct Lanes {
  ImplicitLocOpBuilder &b;
  Type shape; // f64 or a vector of f64

  Type of(Type element) const {
    if (auto vector = dyn_cast<VectorType>(shape))
      return vector.clone(element);
    return element;
  }
  Value constant(TypedAttr value) const {
    if (auto vector = dyn_cast<VectorType>(of(value.getType())))
      return arith::ConstantOp::create(b, SplatElementsAttr::get(vector, Attribute(value)));
    return arith::ConstantOp::create(b, value);
  }
  Value constant(double value) const { return constant(b.getF64FloatAttr(value)); }
  Value add(Value x, Value y) const { return arith::AddFOp::create(b, x, y); }
  Value sub(Value x, Value y) const { return arith::SubFOp::create(b, x, y); }
  Value mul(Value x, Value y) const { return arith::MulFOp::create(b, x, y); }
  /// ((c[0] z + c[1]) z + ...) z + c[n-1]
  Value horner(Value z, ArrayRef<double> coefficients) const {
    Value sum = constant(coefficients.front());
    for (double coefficient : coefficients.drop_front())
      sum = add(mul(sum, z), constant(coefficient));
    return sum;
  }
  /// Whether a bit of an i64 is set.
  Value bit(Value value, int64_t mask) const {
    Value masked = arith::AndIOp::create(b, value, constant(b.getI64IntegerAttr(mask)));
    return arith::CmpIOp::create(b, arith::CmpIPredicate::ne, masked,
                                 constant(b.getI64IntegerAttr(0)));
  }
  Value select(Value condition, Value x, Value y) const {
    return arith::SelectOp::create(b, condition, x, y);
  }
  Value negateIf(Value condition, Value x) const {
    return select(condition, arith::NegFOp::create(b, x), x);
  }
};

} // namespace

std::pair<Value, Value> kiln::emitSinCos(ImplicitLocOpBuilder &b, Value angleInTurns) {
  Lanes l{b, angleInTurns.getType()};
  Value quarters = l.mul(angleInTurns, l.constant(4.0));
  Value magic = l.constant(0x1.8p52);
  Value shifted = l.add(quarters, magic);
  Value rest = l.sub(quarters, l.sub(shifted, magic)); // exact
  Value quadrant = arith::BitcastOp::create(b, l.of(b.getI64Type()), shifted);

  Value x = l.mul(rest, l.constant(0x1.921fb54442d18p0)); // pi / 2
  Value z = l.mul(x, x);
  Value sine =
      l.mul(x, l.horner(z, {-1.0 / 39916800, 1.0 / 362880, -1.0 / 5040, 1.0 / 120, -1.0 / 6, 1.0}));
  Value cosine = l.horner(
      z, {1.0 / 479001600, -1.0 / 3628800, 1.0 / 40320, -1.0 / 720, 1.0 / 24, -1.0 / 2, 1.0});
  Type single = l.of(b.getF32Type());
  sine = arith::TruncFOp::create(b, single, sine);
  cosine = arith::TruncFOp::create(b, single, cosine);

  // Quadrants 0..3: (s, c), (c, -s), (-s, -c), (-c, s).
  Value odd = l.bit(quadrant, 1), high = l.bit(quadrant, 2);
  Value outer = arith::XOrIOp::create(b, odd, high);
  return {l.negateIf(high, l.select(odd, cosine, sine)),
          l.negateIf(outer, l.select(odd, sine, cosine))};
}
