// Casts between element types, with the ways of rounding that only some types have, and the bits of
// one type taken as another's.
#include "ir/Graph/Operators.h"
#include "ir/Graph/Operators/MapOperands.h"

using namespace mlir;
using namespace kiln;
using namespace kiln::graph;

/// A power of two: the one below, above or nearest to |x| ("round"). With `saturate` nothing finite
/// becomes infinite.
static Value roundToPower(ElementBuilder &e, ComputeOp op, Value x) {
  Type i32 = e.b.getI32Type();
  auto number = [&](uint32_t value) { return e.integer(i32, value); };
  auto is = [&](arith::CmpIPredicate p, Value a, uint32_t value) {
    return arith::CmpIOp::create(e.b, p, a, number(value)).getResult();
  };
  using I = arith::CmpIPredicate;
  Value bits = arith::BitcastOp::create(e.b, i32, x);
  Value exponent = arith::AndIOp::create(e.b, bits, number(0x7f800000));
  Value fraction = arith::AndIOp::create(e.b, bits, number(0x007fffff));
  StringRef mode = hasParam(op, "round") ? textParam(op, "round") : "nearest";
  Value up = e.integer(e.b.getI1Type(), mode == "up");
  if (mode == "up")
    up = is(I::ne, fraction, 0);
  else if (mode == "nearest") // from a half on; 2^-127 itself is not above it
    up = e.any(is(I::ugt, fraction, 0x00400000),
               e.all(is(I::eq, fraction, 0x00400000), is(I::ne, exponent, 0)));
  bool saturates = hasParam(op, "saturate") && intParam(op, "saturate") != 0;
  Value last = is(I::eq, exponent, saturates ? 0x7f000000 : 0x7f800000);
  last = e.any(last, is(I::eq, exponent, 0x7f800000));
  up = e.all(up, e.equal(last, e.integer(e.b.getI1Type(), 0)));
  Value power = e.add(exponent, e.select(up, number(0x00800000), number(0)));
  power = e.select(is(I::eq, power, 0), number(0x00400000), power);
  return arith::BitcastOp::create(e.b, e.b.getF32Type(), power);
}

Value graph::castElement(ElementBuilder &e, ComputeOp op, ValueRange x) {
  RankedTensorType to = tensorOf(op.getResult(0));
  Type from = tensorOf(op.getOperand(0)).getElementType();
  Value result = e.convert(x[0], from, to.getElementType());
  if (isa<Float8E8M0FNUType>(to.getElementType()))
    return roundToPower(e, op, result);
  if (!hasParam(op, "saturate") || intParam(op, "saturate") == 0)
    return result;
  const llvm::fltSemantics &format = cast<FloatType>(to.getElementType()).getFloatSemantics();
  double most = APFloat::getLargest(format).convertToDouble();
  Value clamped = arith::MinimumFOp::create(
      e.b, arith::MaximumFOp::create(e.b, result, e.constant(result.getType(), -most)),
      e.constant(result.getType(), most));
  return clamped;
}

/// The same bits as another type of as many; no truth value, and nothing of fewer than 8 bits.
Value graph::bitcastElement(ElementBuilder &e, ComputeOp op, ValueRange x) {
  Type from = tensorOf(op.getOperand(0)).getElementType();
  Type to = tensorOf(op.getResult(0)).getElementType();
  auto isNarrow = [](Type type) {
    return isa<FloatType>(type) && type.getIntOrFloatBitWidth() < 32;
  };
  Value bits = isNarrow(from) ? e.narrowToBits(x[0], cast<FloatType>(from)) : x[0];
  if (isNarrow(to))
    return e.narrowFromBits(bits, cast<FloatType>(to));
  Type wanted = ElementBuilder::codeType(to);
  if (auto vector = dyn_cast<VectorType>(bits.getType()))
    wanted = vector.clone(wanted);
  return wanted == bits.getType() ? bits : arith::BitcastOp::create(e.b, wanted, bits).getResult();
}
