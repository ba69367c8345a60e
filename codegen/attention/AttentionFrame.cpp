// What the parts of an attention kernel share. Scratch is [fixed parts][a record per token].
//
// 2^x: x = n + f with n the nearest integer, found by adding 1.5 * 2^23 (the low bits of the sum
// are n), then a polynomial in f that is exactly 1 at 0, minimax in relative error over [-1/2,
// 1/2], and n added to its exponent.
#include "codegen/attention/AttentionFrame.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

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

Value AttentionFrame::exp2(Value x, int64_t degree) {
  static constexpr double three[] = {0.6932829272228239, 0.24221095947020777, 0.05500893049241203};
  static constexpr double four[] = {0.6931241934031539, 0.24024098611602546, 0.055906424677930326,
                                    0.009582853038384943};
  static constexpr double five[] = {0.6931469775990046, 0.2402224208525933, 0.05550733743473888,
                                    0.009671512644963185, 0.0013264727131611731};
  ArrayRef<double> coefficients = degree == 3   ? ArrayRef<double>(three)
                                  : degree == 4 ? ArrayRef<double>(four)
                                                : ArrayRef<double>(five);
  auto type = cast<VectorType>(x.getType());
  VectorType bits = type.clone(b.getI32Type());
  Value magic = splatConstant(b, type, 0x1.8p23);
  Value shifted = arith::AddFOp::create(b, x, magic);
  Value rest = arith::SubFOp::create(b, x, arith::SubFOp::create(b, shifted, magic));
  Value sum = splatConstant(b, type, coefficients.back());
  for (double coefficient : llvm::reverse(coefficients.drop_back()))
    sum = math::FmaOp::create(b, sum, rest, splatConstant(b, type, coefficient));
  sum = math::FmaOp::create(b, sum, rest, splatConstant(b, type, 1));
  Value exponent = arith::ShLIOp::create(b, arith::BitcastOp::create(b, bits, shifted),
                                         splatConstant(b, bits, 23));
  Value scaled = arith::BitcastOp::create(
      b, type, arith::AddIOp::create(b, arith::BitcastOp::create(b, bits, sum), exponent));
  Value counts =
      arith::CmpFOp::create(b, arith::CmpFPredicate::OGT, x, splatConstant(b, type, -125));
  return arith::SelectOp::create(b, counts, scaled, splatConstant(b, type, 0));
}
