// 16-bit floats by integer arithmetic, after Fabian Giesen's "half_to_float_fast" and
// "float_to_half_fast3_rtne": move exponent and mantissa into place, correct the bias, and let one
// float addition normalise what is subnormal.
#include "codegen/HalfFloat.h"
#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;

namespace {

/// i32 arithmetic on a scalar or on every lane of a vector.
struct Bits {
  ImplicitLocOpBuilder &b;
  Type shape;

  Type of(Type element) const {
    if (auto vector = dyn_cast<VectorType>(shape))
      return vector.clone(element);
    return element;
  }
  Value constant(uint32_t value) const {
    IntegerAttr scalar = b.getI32IntegerAttr(int32_t(value));
    if (auto vector = dyn_cast<VectorType>(of(b.getI32Type())))
      return arith::ConstantOp::create(b, SplatElementsAttr::get(vector, Attribute(scalar)));
    return arith::ConstantOp::create(b, scalar);
  }
  Value add(Value x, Value y) const { return arith::AddIOp::create(b, x, y); }
  Value add(Value x, uint32_t y) const { return add(x, constant(y)); }
  Value mask(Value x, uint32_t y) const { return arith::AndIOp::create(b, x, constant(y)); }
  Value either(Value x, Value y) const { return arith::OrIOp::create(b, x, y); }
  Value left(Value x, unsigned bits) const { return arith::ShLIOp::create(b, x, constant(bits)); }
  Value right(Value x, unsigned bits) const { return arith::ShRUIOp::create(b, x, constant(bits)); }
  Value is(arith::CmpIPredicate predicate, Value x, uint32_t y) const {
    return arith::CmpIOp::create(b, predicate, x, constant(y));
  }
  Value select(Value condition, Value x, Value y) const {
    return arith::SelectOp::create(b, condition, x, y);
  }
  Value asFloat(Value x) const { return arith::BitcastOp::create(b, of(b.getF32Type()), x); }
  Value asBits(Value x) const { return arith::BitcastOp::create(b, of(b.getI32Type()), x); }
  Value widen(Value x) const { return arith::ExtUIOp::create(b, of(b.getI32Type()), x); }
};

} // namespace

Value kiln::emitHalfToFloat(ImplicitLocOpBuilder &b, Value bits) {
  Bits l{b, bits.getType()};
  Value half = l.widen(bits);
  Value magnitude = l.left(l.mask(half, 0x7fff), 13);
  Value exponent = l.mask(magnitude, 0x7c00u << 13);
  Value normal = l.add(magnitude, (127 - 15) << 23);
  Value special = l.add(normal, (128 - 16) << 23);
  // Subnormal: 2^-14 (1 + mantissa) - 2^-14.
  Value subnormal = l.asBits(arith::SubFOp::create(b, l.asFloat(l.add(normal, 1 << 23)),
                                                   l.asFloat(l.constant(113u << 23))));
  Value result = l.select(l.is(arith::CmpIPredicate::eq, exponent, 0x7c00u << 13), special, normal);
  result = l.select(l.is(arith::CmpIPredicate::eq, exponent, 0), subnormal, result);
  return l.asFloat(l.either(result, l.left(l.mask(half, 0x8000), 16)));
}

Value kiln::emitFloatToHalf(ImplicitLocOpBuilder &b, Value value) {
  Bits l{b, value.getType()};
  Value bits = l.asBits(value);
  Value magnitude = l.mask(bits, 0x7fffffff);
  // Too large for a half: infinity, or NaN where it was one.
  Value special = l.select(l.is(arith::CmpIPredicate::ugt, magnitude, 0x7f800000),
                           l.constant(0x7e00), l.constant(0x7c00));
  // Subnormal: adding 0.5 aligns the mantissa at the bottom and rounds it.
  uint32_t half = 126u << 23;
  Value subnormal =
      l.add(l.asBits(arith::AddFOp::create(b, l.asFloat(magnitude), l.asFloat(l.constant(half)))),
            0u - half);
  // Normal: rebias and round to nearest, ties to even.
  Value odd = l.mask(l.right(magnitude, 13), 1);
  Value normal = l.right(l.add(l.add(magnitude, uint32_t(15 - 127) * (1u << 23) + 0xfff), odd), 13);
  Value result =
      l.select(l.is(arith::CmpIPredicate::ult, magnitude, 113u << 23), subnormal, normal);
  result = l.select(l.is(arith::CmpIPredicate::uge, magnitude, (127u + 16) << 23), special, result);
  result = l.either(result, l.right(l.mask(bits, 0x80000000), 16));
  return arith::TruncIOp::create(b, l.of(b.getI16Type()), result);
}

Value kiln::emitBrainToFloat(ImplicitLocOpBuilder &b, Value bits) {
  Bits l{b, bits.getType()};
  return l.asFloat(l.left(l.widen(bits), 16));
}
