// Sine and cosine from f64 arithmetic alone. An angle of t turns lies q = round(4t) quarters from 0
// with a rest x = (4t - q) pi/2 in [-pi/4, pi/4]; there the Taylor series to x^11 and x^12 are good
// to 4e-12, far below half an ulp of f32. Rounding adds 1.5 * 2^52, after which the low bits of
// the sum are q in two's complement: no round instruction (which old x86 lacks) and no conversion.
#include "codegen/SinCos.h"
#include "codegen/Lanes.h"

using namespace mlir;
using namespace kiln;

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
