// Conversions between element types, as code has them: of numbers, and of vectors lane by lane.
#include "ir/Graph/Operators.h"

using namespace mlir;
using namespace kiln;
using namespace kiln::graph;

static bool isUnsigned(Type type) { return type.isUnsignedInteger() || type.isInteger(1); }

/// A type for as many lanes as `x` has.
static Type lanesOf(Value x, Type type) {
  auto vector = dyn_cast<VectorType>(x.getType());
  return vector ? Type(vector.clone(type)) : type;
}

/// Towards zero; through 64 bits, so that what does not fit keeps its low bits.
static Value floatToInteger(ImplicitLocOpBuilder &b, Value x, Type to) {
  Type wide = lanesOf(x, b.getI64Type()), target = lanesOf(x, ElementBuilder::codeType(to));
  Value whole = to.isUnsignedInteger(64) ? arith::FPToUIOp::create(b, wide, x).getResult()
                                         : arith::FPToSIOp::create(b, wide, x).getResult();
  return target == wide ? whole : arith::TruncIOp::create(b, target, whole).getResult();
}

/// Of four bits in a byte the low ones count, with their sign.
static Value keepLowBits(ElementBuilder &e, Value x, Type to) {
  unsigned bits = to.getIntOrFloatBitWidth();
  if (bits >= 8)
    return x;
  Value shift = e.constant(x.getType(), 8 - bits);
  Value shifted = arith::ShLIOp::create(e.b, x, shift);
  return to.isUnsignedInteger() ? arith::ShRUIOp::create(e.b, shifted, shift).getResult()
                                : arith::ShRSIOp::create(e.b, shifted, shift).getResult();
}

Value ElementBuilder::convert(Value x, Type from, Type to) {
  Type source = codeType(from), code = codeType(to), target = lanesOf(x, code);
  if (to.isInteger(1)) {
    if (source == code)
      return x;
    if (isa<FloatType>(source))
      return arith::CmpFOp::create(b, arith::CmpFPredicate::UNE, x, constant(x.getType(), 0));
    return arith::CmpIOp::create(b, arith::CmpIPredicate::ne, x, constant(x.getType(), 0));
  }
  if (isa<FloatType>(source) && isa<FloatType>(code)) {
    unsigned have = source.getIntOrFloatBitWidth(), want = code.getIntOrFloatBitWidth();
    return have == want  ? x
           : have < want ? arith::ExtFOp::create(b, target, x).getResult()
                         : arith::TruncFOp::create(b, target, x).getResult();
  }
  if (isa<FloatType>(source))
    return keepLowBits(*this, floatToInteger(b, x, to), to);
  if (isa<FloatType>(code))
    return isUnsigned(from) ? arith::UIToFPOp::create(b, target, x).getResult()
                            : arith::SIToFPOp::create(b, target, x).getResult();
  unsigned have = source.getIntOrFloatBitWidth(), want = code.getIntOrFloatBitWidth();
  Value result = x;
  if (have < want)
    result = isUnsigned(from) ? arith::ExtUIOp::create(b, target, x).getResult()
                              : arith::ExtSIOp::create(b, target, x).getResult();
  else if (have > want)
    result = arith::TruncIOp::create(b, target, x);
  return from == to ? result : keepLowBits(*this, result, to);
}
