// f16 goes the way of codegen/HalfFloat. The others are told by their numbers of bits: exponent and
// mantissa are moved into place, and a multiplication by a power of two corrects the bias, exactly,
// subnormal numbers included. To narrow, a float addition aligns a subnormal's mantissa at the
// bottom and rounds it; a normal number is rounded by adding half of its last bit.
#include "codegen/array/NarrowFloat.h"
#include "codegen/HalfFloat.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/BuiltinTypes.h"
#include <cmath>

using namespace mlir;
using namespace kiln;

namespace {

/// How a format of 8 or 4 bits spends them.
struct Shape {
  unsigned bits, mantissa;
  int bias;
  bool hasInfinity;     // e5m2
  bool hasNegativeZero; // not the "fnuz" formats, whose one NaN is 0x80
  uint32_t nan;         // magnitude bits of NaN; where there is none, what stands for it
  uint32_t largest;     // magnitude bits of the largest finite number
};

Shape shapeOf(FloatType type) {
  if (isa<Float8E5M2Type>(type))
    return {8, 2, 15, true, true, 0x7f, 0x7b};
  if (isa<Float8E5M2FNUZType>(type))
    return {8, 2, 16, false, false, 0x80, 0x7f};
  if (isa<Float8E4M3FNUZType>(type))
    return {8, 3, 8, false, false, 0x80, 0x7f};
  if (isa<Float4E2M1FNType>(type))
    return {4, 1, 1, false, true, 0, 7};
  return {8, 3, 7, false, true, 0x7f, 0x7e}; // e4m3fn
}

struct Bits {
  ImplicitLocOpBuilder &b;
  Type i32() const { return b.getI32Type(); }
  Value constant(uint32_t value) const {
    return arith::ConstantOp::create(b, b.getI32IntegerAttr(int32_t(value)));
  }
  Value f32(double value) const {
    return arith::ConstantOp::create(b, b.getF32FloatAttr(float(value)));
  }
  Value add(Value x, Value y) const { return arith::AddIOp::create(b, x, y); }
  Value mask(Value x, uint32_t y) const { return arith::AndIOp::create(b, x, constant(y)); }
  Value either(Value x, Value y) const { return arith::OrIOp::create(b, x, y); }
  Value left(Value x, unsigned n) const { return arith::ShLIOp::create(b, x, constant(n)); }
  Value right(Value x, unsigned n) const { return arith::ShRUIOp::create(b, x, constant(n)); }
  Value is(arith::CmpIPredicate p, Value x, uint32_t y) const {
    return arith::CmpIOp::create(b, p, x, constant(y));
  }
  Value select(Value c, Value x, Value y) const { return arith::SelectOp::create(b, c, x, y); }
  Value asFloat(Value x) const { return arith::BitcastOp::create(b, b.getF32Type(), x); }
  Value asBits(Value x) const { return arith::BitcastOp::create(b, i32(), x); }
};

} // namespace

using I = arith::CmpIPredicate;

bool kiln::isNarrowFloat(Type type) {
  return isa<FloatType>(type) && type.getIntOrFloatBitWidth() < 32;
}

/// Powers of two from 2^-127 on and NaN, told by their exponents alone: those of f32.
static Value emitFromExponent(const Bits &l, Value code) {
  Value bits = l.select(l.is(I::eq, code, 0), l.constant(0x00400000), l.left(code, 23));
  return l.asFloat(l.select(l.is(I::eq, code, 0xff), l.constant(0x7fc00000), bits));
}
static Value emitToExponent(const Bits &l, Value value) {
  Value magnitude = l.mask(l.asBits(value), 0x7fffffff);
  Value nearest = l.right(l.add(magnitude, l.constant(0x00400000)), 23);
  Value code = l.select(l.is(I::ule, magnitude, 0x00600000), l.constant(0), nearest);
  return arith::TruncIOp::create(l.b, l.b.getI8Type(), l.mask(code, 0xff));
}

Value kiln::emitFromBits(ImplicitLocOpBuilder &b, Value bits, FloatType type) {
  if (type.isF16())
    return emitHalfToFloat(b, bits);
  if (type.isBF16())
    return emitBrainToFloat(b, bits);
  Bits l{b};
  Shape shape = shapeOf(type);
  Value code = arith::ExtUIOp::create(b, l.i32(), bits);
  if (isa<Float8E8M0FNUType>(type))
    return emitFromExponent(l, code);
  uint32_t signBit = 1u << (shape.bits - 1);
  Value magnitude = l.mask(code, signBit - 1);
  Value moved = l.left(magnitude, 23 - shape.mantissa);
  Value value =
      arith::MulFOp::create(b, l.asFloat(moved), l.f32(std::ldexp(1.0, 127 - shape.bias)));
  Value result = l.asBits(value);
  if (shape.hasInfinity) {
    result = l.select(l.is(I::eq, magnitude, 0x7c), l.constant(0x7f800000), result);
    result = l.select(l.is(I::ugt, magnitude, 0x7c), l.constant(0x7fc00000), result);
  } else if (shape.hasNegativeZero && shape.nan) {
    result = l.select(l.is(I::eq, magnitude, shape.nan), l.constant(0x7fc00000), result);
  }
  result = l.either(result, l.left(l.mask(code, signBit), 32 - shape.bits));
  if (!shape.hasNegativeZero)
    result = l.select(l.is(I::eq, code, 0x80), l.constant(0x7fc00000), result);
  return l.asFloat(result);
}

static Value emitToBrain(const Bits &l, Value value) {
  Value bits = l.asBits(value);
  Value odd = l.mask(l.right(bits, 16), 1);
  Value rounded = l.right(l.add(l.add(bits, l.constant(0x7fff)), odd), 16);
  Value isNaN = l.is(I::ugt, l.mask(bits, 0x7fffffff), 0x7f800000);
  return l.select(isNaN, l.either(l.right(bits, 16), l.constant(0x40)), rounded);
}

Value kiln::emitToBits(ImplicitLocOpBuilder &b, Value value, FloatType type) {
  if (type.isF16())
    return emitFloatToHalf(b, value);
  Bits l{b};
  if (type.isBF16())
    return arith::TruncIOp::create(b, b.getI16Type(), emitToBrain(l, value));
  if (isa<Float8E8M0FNUType>(type))
    return emitToExponent(l, value);
  Shape shape = shapeOf(type);
  unsigned dropped = 23 - shape.mantissa;
  Value bits = l.asBits(value), magnitude = l.mask(bits, 0x7fffffff);
  // Subnormal: adding a power of two whose last bit is the format's smallest number.
  uint32_t aligner = uint32_t(127 + 24 - shape.bias - shape.mantissa) << 23;
  Value sum = arith::AddFOp::create(b, l.asFloat(magnitude), l.asFloat(l.constant(aligner)));
  Value subnormal = l.add(l.asBits(sum), l.constant(0u - aligner));
  Value odd = l.mask(l.right(magnitude, dropped), 1);
  uint32_t rebias = uint32_t(shape.bias - 127) << 23;
  Value normal = l.right(
      l.add(l.add(magnitude, l.constant(rebias + (1u << (dropped - 1)) - 1)), odd), dropped);
  uint32_t smallestNormal = uint32_t(127 + 1 - shape.bias) << 23;
  Value result = l.select(l.is(I::ult, magnitude, smallestNormal), subnormal, normal);
  uint32_t over = shape.hasInfinity ? 0x7c : shape.nan ? shape.nan : shape.largest;
  Value isOver = l.is(I::ugt, result, shape.largest);
  // Far beyond, the exponent would leave its field.
  Value isFar = l.is(I::uge, magnitude, uint32_t(127 + 20) << 23);
  isOver = arith::OrIOp::create(b, isOver, isFar);
  result = l.select(isOver, l.constant(over), result);
  result = l.select(l.is(I::ugt, magnitude, 0x7f800000), l.constant(shape.nan), result);
  Value sign = l.right(l.mask(bits, 0x80000000), 32 - shape.bits);
  if (!shape.hasNegativeZero) // no sign for zero, and NaN has it already
    sign = l.select(l.is(I::eq, result, 0), l.constant(0), sign);
  return arith::TruncIOp::create(b, b.getI8Type(), l.either(result, sign));
}
