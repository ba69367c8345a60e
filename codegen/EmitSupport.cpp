// Small vocabulary of the emitters: addresses, loads, splats and counted loops.
#include "codegen/EmitSupport.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace kiln;

VectorType emit::vectorOf(int64_t lanes, Type element) { return VectorType::get({lanes}, element); }

Value emit::i64(ImplicitLocOpBuilder &b, int64_t value) {
  return arith::ConstantOp::create(b, b.getI64IntegerAttr(value));
}

Value emit::f32(ImplicitLocOpBuilder &b, double value) {
  return arith::ConstantOp::create(b, b.getF32FloatAttr(float(value)));
}

Value emit::splatConstant(ImplicitLocOpBuilder &b, VectorType type, double value) {
  Type element = type.getElementType();
  TypedAttr scalar = isa<FloatType>(element) ? TypedAttr(b.getFloatAttr(element, value))
                                             : TypedAttr(b.getIntegerAttr(element, int64_t(value)));
  return arith::ConstantOp::create(b, DenseElementsAttr::get(type, Attribute(scalar)));
}

Value emit::broadcast(ImplicitLocOpBuilder &b, Value scalar, int64_t lanes) {
  return vector::BroadcastOp::create(b, vectorOf(lanes, scalar.getType()), scalar);
}

Value emit::address(ImplicitLocOpBuilder &b, Value base, Value index, int64_t scale,
                    int64_t offset) {
  Value bytes = scale == 1 ? index : arith::MulIOp::create(b, index, i64(b, scale)).getResult();
  Value scaled =
      LLVM::GEPOp::create(b, base.getType(), b.getI8Type(), base, ArrayRef<LLVM::GEPArg>{bytes});
  return address(b, scaled, offset);
}

Value emit::address(ImplicitLocOpBuilder &b, Value base, int64_t offset) {
  if (offset == 0)
    return base;
  Value bytes = i64(b, offset);
  return LLVM::GEPOp::create(b, base.getType(), b.getI8Type(), base, ArrayRef<LLVM::GEPArg>{bytes});
}

Value emit::load(ImplicitLocOpBuilder &b, Type type, Value address, unsigned alignment) {
  return LLVM::LoadOp::create(b, type, address, alignment);
}

void emit::store(ImplicitLocOpBuilder &b, Value value, Value address, unsigned alignment) {
  LLVM::StoreOp::create(b, value, address, alignment);
}

Value emit::loadSplat(ImplicitLocOpBuilder &b, Type element, Value address, int64_t lanes) {
  return broadcast(b, load(b, element, address, element.getIntOrFloatBitWidth() / 8), lanes);
}

SmallVector<Value> emit::loop(ImplicitLocOpBuilder &b, Value lower, Value upper, int64_t step,
                              ValueRange initial, LoopBody body) {
  auto op =
      scf::ForOp::create(b, lower, upper, i64(b, step), initial,
                         [&](OpBuilder &nested, Location loc, Value index, ValueRange carried) {
                           OpBuilder::InsertionGuard guard(b);
                           b.restoreInsertionPoint(nested.saveInsertionPoint());
                           SmallVector<Value> next = body(index, carried);
                           scf::YieldOp::create(b, next);
                           nested.restoreInsertionPoint(b.saveInsertionPoint());
                         });
  return SmallVector<Value>(op.getResults());
}

void emit::loop(ImplicitLocOpBuilder &b, Value lower, Value upper, int64_t step,
                llvm::function_ref<void(Value)> body) {
  loop(b, lower, upper, step, ValueRange{}, [&](Value index, ValueRange) {
    body(index);
    return SmallVector<Value>();
  });
}

void emit::branch(ImplicitLocOpBuilder &b, Value condition, llvm::function_ref<void()> then,
                  llvm::function_ref<void()> otherwise) {
  auto op = scf::IfOp::create(b, condition, /*withElseRegion=*/bool(otherwise));
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(op.thenBlock());
  then();
  if (!otherwise)
    return;
  b.setInsertionPointToStart(op.elseBlock());
  otherwise();
}

Value emit::keepLanes(ImplicitLocOpBuilder &b, Value vector, int64_t valid) {
  auto type = cast<VectorType>(vector.getType());
  SmallVector<bool> lanes;
  for (int64_t lane = 0; lane < type.getNumElements(); ++lane)
    lanes.push_back(lane < valid);
  Value mask = arith::ConstantOp::create(
      b, DenseElementsAttr::get(vectorOf(type.getNumElements(), b.getI1Type()), lanes));
  return arith::SelectOp::create(b, mask, vector, splatConstant(b, type, 0));
}
