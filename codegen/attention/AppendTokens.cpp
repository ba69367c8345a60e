// Appending keys and values to the paged cache. Who attends with a head has appended all its tokens
// before, so workers need not wait for each other: two that share a head both append it and write
// the same bytes. A worker does so once per launch.
//
// A cache of 8-bit codes holds a scale per position and head, max|x| / 127; code = x / scale
// rounded to nearest even.
#include "codegen/attention/AppendTokens.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;
using namespace kiln;
using namespace kiln::emit;

AppendTokens::AppendTokens(AttentionFrame &frame, Rotation &rotation)
    : f(frame), rotation(rotation), b(frame.b), flagOffset(frame.reserve(frame.kvHeads * 4)),
      rowOffset(frame.reserve(frame.headDim * 4)), elementOffset(frame.reserve(frame.headDim * 4)) {
}

static Value flag(ImplicitLocOpBuilder &b, int32_t value) {
  return arith::ConstantOp::create(b, b.getI32IntegerAttr(value));
}

void AppendTokens::emitReset() {
  loop(b, i64(b, 0), i64(b, f.kvHeads), 1,
       [&](Value head) { store(b, flag(b, 0), address(b, f.scratch(flagOffset), head, 4), 4); });
}

void AppendTokens::emit(Value head) {
  Value place = address(b, f.scratch(flagOffset), head, 4);
  Value missing = arith::CmpIOp::create(b, arith::CmpIPredicate::eq,
                                        load(b, b.getI32Type(), place, 4), flag(b, 0));
  branch(b, missing, [&] {
    loop(b, i64(b, 0), f.tokens, 1, [&](Value token) { emitToken(head, token); });
    store(b, flag(b, 1), place, 4);
  });
}

void AppendTokens::emitElements(Value row, Value destination, Value scale) {
  Type element = f.cache.getElementType();
  VectorType type = f.vector(f.headLanes);
  Value inverse;
  if (f.hasScales()) {
    Value peaks = splatConstant(b, type, 0);
    for (int64_t at = 0; at < f.headDim; at += f.headLanes)
      peaks = f.max(peaks, math::AbsFOp::create(b, load(b, type, address(b, row, at * 4), 4)));
    Value peak = f.reduceMax(peaks);
    store(b, arith::MulFOp::create(b, peak, f32(b, 1.0 / 127)), scale, 4);
    Value positive = arith::CmpFOp::create(b, arith::CmpFPredicate::OGT, peak, f32(b, 0x1p-100));
    inverse = broadcast(b,
                        arith::SelectOp::create(
                            b, positive, arith::DivFOp::create(b, f32(b, 127), peak), f32(b, 0)),
                        f.headLanes);
  }
  for (int64_t at = 0; at < f.headDim; at += f.headLanes) {
    Value x = load(b, type, address(b, row, at * 4), 4);
    if (f.hasScales()) {
      x = math::RoundEvenOp::create(b, arith::MulFOp::create(b, x, inverse));
      x = arith::FPToSIOp::create(b, vectorOf(f.headLanes, b.getI32Type()), x);
      x = arith::TruncIOp::create(b, vectorOf(f.headLanes, element), x);
    } else if (!element.isF32()) {
      x = arith::TruncFOp::create(b, vectorOf(f.headLanes, element), x);
    }
    store(b, x, address(b, destination, at * f.elementBytes()), f.elementBytes());
  }
}

void AppendTokens::emitToken(Value head, Value token) {
  int64_t bytes = f.elementBytes();
  Value position = f.position(token);
  Value page = f.pageAddress(f.slot(token), f.frame.floorDiv(position, f.pageSize));
  Value place = arith::RemUIOp::create(b, position, i64(b, f.pageSize));
  Value keys = f.keysOf(page, head), values = f.valuesOf(page, head);
  auto scaleOf = [&](Value codes) {
    return f.hasScales() ? address(b, f.scalesOf(codes), place, 4) : Value();
  };

  Value row = f.scratch(rowOffset), elements = f.scratch(elementOffset);
  rotation.emitRow(f.shape.key, token, head, row, 1);
  emitElements(row, elements, scaleOf(keys));
  Type bits = b.getIntegerType(unsigned(bytes) * 8);
  Value column = address(b, keys, place, bytes);
  loop(b, i64(b, 0), i64(b, f.headDim), 1, [&](Value d) {
    store(b, load(b, bits, address(b, elements, d, bytes), bytes),
          address(b, column, d, f.pageSize * bytes), bytes);
  });

  emitElements(f.sourceRow(f.shape.value, token, head),
               address(b, values, place, f.headDim * bytes), scaleOf(values));
}
