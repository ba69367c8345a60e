// Numbers rounded to codes of a scale, and back: what quantized models have between their products
// of codes. Both are map operators; their code is made so that it is fast as vectors.
#include "ir/Graph/Operators/Arithmetic.h"

using namespace mlir;
using namespace kiln;
using namespace kiln::graph;

/// Bits of an element that codes may have: what f32 rounds exactly (see quantize).
static constexpr unsigned kMostBits = 16;

static Type lanesOf(Value x, Type element) {
  auto vector = dyn_cast<VectorType>(x.getType());
  return vector ? Type(vector.clone(element)) : element;
}

/// The numbers that codes of a type reach.
static std::pair<int64_t, int64_t> rangeOf(Type element) {
  unsigned bits = element.getIntOrFloatBitWidth();
  if (element.isUnsignedInteger())
    return {0, (int64_t(1) << bits) - 1};
  return {-(int64_t(1) << (bits - 1)), (int64_t(1) << (bits - 1)) - 1};
}

// ---- quantize(x, factor) {zero, low, high} ------------------------------------------------------

// clamp(round(x * factor) + zero, low, high), halves to even; the product is rounded to f32. What
// is no number becomes `low`.
static Value quantize(ElementBuilder &e, ComputeOp op, ValueRange x) {
  ImplicitLocOpBuilder &b = e.b;
  Type element = tensorOf(op.getResult(0)).getElementType();
  int64_t zero = intParam(op, "zero");
  Type type = x[0].getType();
  auto number = [&](double value) { return e.constant(type, value); };
  auto isAbove = [&](Value left, Value right) {
    return arith::CmpFOp::create(b, arith::CmpFPredicate::OGT, left, right).getResult();
  };
  Value scaled = arith::MulFOp::create(b, x[0], x[1]);
  // Bounds are whole numbers: what is held to them before it is rounded stays within.
  Value low = number(double(intParam(op, "low") - zero)),
        high = number(double(intParam(op, "high") - zero));
  scaled = e.select(isAbove(scaled, low), scaled, low);
  scaled = e.select(isAbove(high, scaled), scaled, high);
  // Next to 3 * 2^22, f32 are whole numbers: the sum is rounded, and its low bits are the integer.
  // An even zero point leaves ties what they are, so it may be part of it.
  constexpr double magic = 3 << 22;
  bool isEven = zero % 2 == 0;
  Value sum = arith::AddFOp::create(b, scaled, number(magic + double(isEven ? zero : 0)));
  Type wide = lanesOf(sum, b.getI32Type()),
       narrow = lanesOf(sum, ElementBuilder::codeType(element));
  Value bits = arith::BitcastOp::create(b, wide, sum);
  if (!isEven)
    bits = arith::AddIOp::create(b, bits, e.constant(wide, double(zero)));
  return arith::TruncIOp::create(b, narrow, bits);
}

static LogicalResult verifyQuantize(ComputeOp op) {
  if (failed(verifyCounts(op, 2, 2)))
    return failure();
  Type element = elementOf(op.getResult(0));
  for (Value operand : op.getOperands())
    if (!elementOf(operand).isF32())
      return op.emitOpError() << "takes f32, found " << elementOf(operand);
  if (!isa<IntegerType>(element) || element.isInteger(1) ||
      element.getIntOrFloatBitWidth() > kMostBits)
    return op.emitOpError() << "gives integers of 2 to " << kMostBits << " bits, found " << element;
  auto [least, most] = rangeOf(element);
  if (failed(verifyInt(op, "zero", least, most)) || failed(verifyInt(op, "low", least, most)))
    return failure();
  return verifyInt(op, "high", intParam(op, "low"), most);
}

// ---- dequantize(codes) {scale, zero} ------------------------------------------------------------

// (code - zero) * scale
static Value dequantize(ElementBuilder &e, ComputeOp op, ValueRange x) {
  ImplicitLocOpBuilder &b = e.b;
  Value code = e.convert(x[0], elementOf(op.getOperand(0)), b.getF32Type());
  auto number = [&](double value) { return e.constant(code.getType(), value); };
  if (int64_t zero = intParam(op, "zero"))
    code = arith::SubFOp::create(b, code, number(double(zero)));
  return arith::MulFOp::create(b, code, number(floatParam(op, "scale")));
}

static LogicalResult verifyDequantize(ComputeOp op) {
  if (failed(verifyCounts(op, 1, 1)))
    return failure();
  Type element = elementOf(op.getOperand(0));
  if (!isa<IntegerType>(element) || element.isInteger(1) || element.getIntOrFloatBitWidth() > 32)
    return op.emitOpError() << "takes integers of 2 to 32 bits, found " << element;
  if (!elementOf(op.getResult(0)).isF32())
    return op.emitOpError() << "gives f32, found " << elementOf(op.getResult(0));
  auto [least, most] = rangeOf(element);
  if (failed(verifyInt(op, "zero", least, most)))
    return failure();
  return verifyFloat(op, "scale");
}

ArrayRef<Operator> graph::codeOperators() {
  static const Operator table[] = {
      {"quantize", Cost::Map, quantize, mapElement, nullptr, nullptr, nullptr, false, false,
       verifyQuantize},
      {"dequantize", Cost::Map, dequantize, mapElement, nullptr, nullptr, nullptr, false, false,
       verifyDequantize, /*recomputed=*/true},
  };
  return table;
}
