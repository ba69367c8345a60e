// Blocks of 16 x 16 are transposed in registers: in four rounds, halves, quarters, pairs and
// elements of two vectors change places. What is left of the rows is moved number by number.
#include "codegen/Transpose.h"
#include "codegen/EmitSupport.h"
#include "ir/PanelLayout.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include <limits>

using namespace mlir;
using namespace kiln;
using namespace kiln::emit;

static constexpr int64_t lanes = PanelLayout::kPanelRows;

SmallVector<Value> kiln::emitTranspose(ImplicitLocOpBuilder &b, ArrayRef<Value> vectors) {
  SmallVector<Value> current(vectors);
  for (int64_t distance = lanes / 2; distance; distance /= 2) {
    SmallVector<int64_t> low, high; // of the pair's first and second vector
    for (int64_t lane = 0; lane < lanes; ++lane) {
      bool isUpper = lane & distance;
      low.push_back(isUpper ? lanes + lane - distance : lane);
      high.push_back(isUpper ? lanes + lane : lane + distance);
    }
    SmallVector<Value> next(current);
    for (int64_t i = 0; i < lanes; ++i) {
      if (i & distance)
        continue;
      Value x = current[size_t(i)], y = current[size_t(i + distance)];
      next[size_t(i)] = vector::ShuffleOp::create(b, x, y, low);
      next[size_t(i + distance)] = vector::ShuffleOp::create(b, x, y, high);
    }
    current = std::move(next);
  }
  return current;
}

Value kiln::loadElements(ImplicitLocOpBuilder &b, RowElement element, Value address,
                         int64_t count) {
  auto typeOf = [&](Type type) { return count == 1 ? type : Type(vectorOf(count, type)); };
  if (element == RowElement::F32)
    return load(b, typeOf(b.getF32Type()), address, 4);
  auto constant = [&](Type type, TypedAttr value) -> Value {
    if (auto vector = dyn_cast<VectorType>(type))
      return arith::ConstantOp::create(b, SplatElementsAttr::get(vector, Attribute(value)));
    return arith::ConstantOp::create(b, value);
  };
  Type byte = typeOf(b.getI8Type()), number = typeOf(b.getF32Type());
  Value isTrue = arith::CmpIOp::create(b, arith::CmpIPredicate::ne, load(b, byte, address, 1),
                                       constant(byte, b.getI8IntegerAttr(0)));
  float least = -std::numeric_limits<float>::infinity();
  return arith::SelectOp::create(b, isTrue, constant(number, b.getF32FloatAttr(0)),
                                 constant(number, b.getF32FloatAttr(least)));
}

void kiln::emitTransposeRows(KernelFrame &frame, ArrayRef<Value> rows, RowElement element,
                             Value count, Value to, int64_t lineBytes) {
  ImplicitLocOpBuilder &b = frame.builder();
  int64_t bytes = element == RowElement::F32 ? 4 : 1;
  Value whole = frame.mul(frame.floorDiv(count, lanes), i64(b, lanes));
  loop(b, i64(b, 0), whole, lanes, [&](Value from) {
    SmallVector<Value> vectors;
    for (Value row : rows)
      vectors.push_back(loadElements(b, element, address(b, row, from, bytes), lanes));
    Value line = address(b, to, from, lineBytes);
    for (auto [i, vector] : llvm::enumerate(emitTranspose(b, vectors)))
      store(b, vector, address(b, line, int64_t(i) * lineBytes), 64);
  });
  loop(b, whole, count, 1, [&](Value from) {
    Value line = address(b, to, from, lineBytes);
    for (auto [i, row] : llvm::enumerate(rows))
      store(b, loadElements(b, element, address(b, row, from, bytes), 1),
            address(b, line, int64_t(i) * 4), 4);
  });
}
