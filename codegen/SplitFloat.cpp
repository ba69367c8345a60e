// An f32 has 24 bits, a bf16 8: cutting off the lower half of a number leaves the highest 8 bits,
// and what remains is exact, so three cuts take all of it. Products of bf16 are exact in f32; of
// the nine products of two numbers' parts the three smallest are below 2^-22 of the product, about
// what one rounding of an f32 sum makes, and are left out by those who multiply.
#include "codegen/SplitFloat.h"
#include "codegen/EmitSupport.h"
#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;
using namespace kiln;

SmallVector<Value> emit::emitSplitFloat(ImplicitLocOpBuilder &b, Value x) {
  auto type = cast<VectorType>(x.getType());
  VectorType bits = type.clone(b.getI32Type());
  Value upper = splatConstant(b, bits, double(0xffff0000u));
  SmallVector<Value> parts;
  for (int64_t part = 0; part < kFloatParts; ++part) {
    if (part + 1 == kFloatParts) { // nothing is left to be cut off
      parts.push_back(x);
      break;
    }
    Value cut = arith::AndIOp::create(b, arith::BitcastOp::create(b, bits, x), upper);
    parts.push_back(arith::BitcastOp::create(b, type, cut));
    x = arith::SubFOp::create(b, x, parts.back());
  }
  return parts;
}
