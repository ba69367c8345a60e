// What the parts of an attention kernel share. Scratch is [fixed parts][a record per token].
//
// 2^x: x = n + f with n the nearest integer, found by adding 1.5 * 2^23 (the low bits of the sum
// are n), then a polynomial in f that is exactly 1 at 0, minimax in relative error over [-1/2,
// 1/2], and n added to its exponent.
#include "codegen/attention/AttentionFrame.h"
#include "codegen/VectorMath.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include <cmath>

using namespace mlir;
using namespace kiln;
using namespace kiln::emit;

AttentionFrame::AttentionFrame(exec::KernelOp kernel, OpBuilder &builder,
                               const AttentionShape &shape)
    : kernel(kernel), shape(shape), frame(kernel, builder), b(frame.builder()),
      cache(this->shape.op.getCache().getType()), headDim(this->shape.op.getHeadDim()),
      pageSize(cache.getPageSize()), kvHeads(this->shape.op.getKvHeads()), group(shape.group),
      headLanes(widestLanes(headDim)), f32Type(b.getF32Type()) {
  tokens = frame.rowsOf(this->shape.op.getResult().getType());
  auto table = cast<RankedTensorType>(this->shape.op.getBlockTable().getType());
  tableColumns = table.isDynamicDim(1) ? frame.dim(graph::getDims(table).getSymbols().back())
                                       : i64(b, table.getDimSize(1));
  window = int64_t(this->shape.op.getWindow().value_or(0));
  if (this->shape.op.getSlopes())
    slopeOffset = reserve(int64_t(this->shape.op.getSlopes()->size()) * 4);
}

// ---- Scratch ----------------------------------------------------------------------------------

int64_t AttentionFrame::reserve(int64_t bytes) {
  assert(!sealed && "scratch is reserved before it is used");
  int64_t offset = fixedBytes;
  fixedBytes += llvm::alignTo(bytes, 64);
  return offset;
}

int64_t AttentionFrame::reservePerToken(int64_t bytes) {
  int64_t offset = tokenBytes;
  tokenBytes += llvm::alignTo(bytes, 64);
  return offset;
}

Value AttentionFrame::scratch(int64_t offset) { return address(b, frame.scratch(), offset); }

Value AttentionFrame::tokenScratch(int64_t offset, Value token) {
  sealed = true;
  return address(b, frame.scratch(), token, tokenBytes, fixedBytes + offset);
}

AffineExpr AttentionFrame::scratchBytes() {
  return frame.rowsExprOf(shape.op.getResult().getType()) * tokenBytes + fixedBytes;
}

// ---- Tokens and pages -------------------------------------------------------------------------

Value AttentionFrame::index(Value operand, Value at) {
  Value base = frame.buffer(cast<BlockArgument>(operand).getArgNumber());
  return arith::ExtSIOp::create(b, b.getI64Type(),
                                load(b, b.getI32Type(), address(b, base, at, 4), 4));
}
Value AttentionFrame::position(Value token) { return index(shape.op.getPositions(), token); }
Value AttentionFrame::slot(Value token) { return index(shape.op.getSlots(), token); }
Value AttentionFrame::firstSeen(Value position) {
  if (!window)
    return i64(b, 0);
  return frame.max(frame.sub(position, i64(b, window - 1)), i64(b, 0));
}

Value AttentionFrame::endSeen(Value slot, Value position, Value count) {
  if (seesAll())
    return index(shape.op.getLengths(), slot);
  return frame.add(position, count);
}

Value AttentionFrame::pageAddress(Value slot, Value page) {
  Value id = index(shape.op.getBlockTable(), frame.add(frame.mul(slot, tableColumns), page));
  Value base = frame.buffer(cast<BlockArgument>(shape.op.getCache()).getArgNumber());
  return address(b, base, id, cache.getLayerPageBytes());
}
Value AttentionFrame::keysOf(Value page, Value head) {
  return address(b, page, head, cache.getHeadPageBytes());
}
Value AttentionFrame::valuesOf(Value page, Value head) {
  return address(b, page, head, cache.getHeadPageBytes(), kvHeads * cache.getHeadPageBytes());
}
Value AttentionFrame::scalesOf(Value codes) {
  return address(b, codes, headDim * pageSize * elementBytes());
}

Value AttentionFrame::loadElements(Value address, int64_t lanes) {
  Type element = cache.getElementType();
  Value loaded = load(b, vectorOf(lanes, element), address, elementBytes());
  if (element.isF32())
    return loaded;
  if (element.isF16())
    return arith::ExtFOp::create(b, vector(lanes), loaded);
  Value wide = arith::ExtSIOp::create(b, vectorOf(lanes, b.getI32Type()), loaded);
  return arith::SIToFPOp::create(b, vector(lanes), wide);
}

Value AttentionFrame::sourceRow(const HeadSource &source, Value token, Value head) {
  Value row =
      address(b, frame.buffer(source.parameter), token, source.stride * 4, source.offset * 4);
  return address(b, row, head, headDim * 4);
}
Value AttentionFrame::resultRow(Value token, Value queryHead) {
  int64_t stride = kernel.getRowStrides()[kernel.getBody().getNumArguments()];
  return address(b, address(b, frame.writeBuffer(0), token, stride * 4), queryHead, headDim * 4);
}

// ---- Arithmetic -------------------------------------------------------------------------------

Value AttentionFrame::max(Value x, Value y) {
  Value larger = arith::CmpFOp::create(b, arith::CmpFPredicate::OGT, x, y);
  return arith::SelectOp::create(b, larger, x, y);
}

Value AttentionFrame::halves(Value vector, llvm::function_ref<Value(Value, Value)> combine) {
  for (int64_t lanes = cast<VectorType>(vector.getType()).getNumElements() / 2; lanes > 0;
       lanes /= 2) {
    SmallVector<int64_t> low = llvm::to_vector(llvm::seq<int64_t>(0, lanes));
    SmallVector<int64_t> high = llvm::to_vector(llvm::seq<int64_t>(lanes, 2 * lanes));
    vector = combine(vector::ShuffleOp::create(b, vector, vector, low),
                     vector::ShuffleOp::create(b, vector, vector, high));
  }
  return vector::ExtractOp::create(b, vector, ArrayRef<int64_t>{0});
}
Value AttentionFrame::reduceMax(Value vector) {
  return halves(vector, [&](Value x, Value y) { return max(x, y); });
}
Value AttentionFrame::reduceAdd(Value vector) {
  return halves(vector, [&](Value x, Value y) -> Value { return arith::AddFOp::create(b, x, y); });
}

void AttentionFrame::emitSlopes() {
  if (!shape.op.getSlopes())
    return;
  for (auto [head, slope] : llvm::enumerate(*shape.op.getSlopes()))
    store(b, f32(b, slope * M_LOG2E), scratch(slopeOffset + int64_t(head) * 4), 4);
}

Value AttentionFrame::changeScores(Value scores, Value queryHead, Value distance) {
  VectorType type = vector(kLanes);
  if (std::optional<APFloat> limit = shape.op.getSoftcap()) {
    double units = limit->convertToDouble() * M_LOG2E;
    scores = arith::MulFOp::create(b, scores, splatConstant(b, type, 1 / units));
    scores = arith::MulFOp::create(b, emitTanh(b, scores), splatConstant(b, type, units));
  }
  if (shape.op.getSlopes()) {
    SmallVector<float> iota;
    for (int64_t lane = 0; lane < kLanes; ++lane)
      iota.push_back(float(lane));
    Value lane = arith::ConstantOp::create(b, DenseElementsAttr::get(type, ArrayRef<float>(iota)));
    Value first = arith::SIToFPOp::create(b, f32Type, distance);
    Value slope = loadSplat(b, f32Type, address(b, scratch(slopeOffset), queryHead, 4), kLanes);
    Value apart = arith::AddFOp::create(b, lane, broadcast(b, first, kLanes));
    scores = math::FmaOp::create(b, slope, apart, scores);
  }
  return scores;
}

Value AttentionFrame::exp2(Value x, int64_t degree) { return emitExp2(b, x, degree); }
