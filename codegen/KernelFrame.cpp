// Builds the entry of a kernel function: unpacks kiln_kernel_args into SSA values once, so that the
// rest of an emitter works on addresses and i64.
#include "codegen/KernelFrame.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"

using namespace mlir;
using namespace kiln;

// Byte offsets of the fields of kiln_kernel_args on 64-bit targets.
namespace field {
constexpr int64_t buffers = 0, dims = 8, scratch = 16, begin = 24, end = 32, range = 40,
                  counters = 48;
} // namespace field

KernelFrame::KernelFrame(exec::KernelOp kernel, OpBuilder &moduleBuilder)
    : kernel(kernel), b(kernel.getLoc(), moduleBuilder) {
  Type pointer = LLVM::LLVMPointerType::get(b.getContext());
  func = func::FuncOp::create(b, kernel.getSymName(),
                              b.getFunctionType(TypeRange{pointer}, TypeRange{}));
  Block *entry = func.addEntryBlock();
  b.setInsertionPointToStart(entry);
  Value args = entry->getArgument(0);
  auto loadField = [&](Type type, int64_t offset) { return load(type, address(args, offset), 8); };
  auto yield = cast<graph::YieldOp>(kernel.getBody().front().getTerminator());
  readCount = kernel.getBody().getNumArguments();
  Value bufferTable = loadField(pointer, field::buffers);
  for (unsigned i = 0, e = readCount + yield.getNumOperands(); i < e; ++i)
    buffers.push_back(load(pointer, address(bufferTable, int64_t(i) * 8), 8));
  Value dimTable = loadField(pointer, field::dims);
  for (unsigned i = 0, e = kernel.getDims().size(); i < e; ++i)
    dims.push_back(load(b.getI64Type(), address(dimTable, int64_t(i) * 8), 8));
  scratchPtr = loadField(pointer, field::scratch);
  beginItem = loadField(b.getI64Type(), field::begin);
  endItem = loadField(b.getI64Type(), field::end);
  rangeIndex = loadField(b.getI64Type(), field::range);
  counterWords = loadField(pointer, field::counters);
  auto end = func::ReturnOp::create(b);
  b.setInsertionPoint(end);
}

static unsigned dimPosition(exec::KernelOp kernel, FlatSymbolRefAttr symbol) {
  for (auto [index, name] : llvm::enumerate(kernel.getDims().getAsValueRange<StringAttr>()))
    if (name == symbol.getValue())
      return index;
  llvm_unreachable("the kernel verifier checks that dims are declared");
}

Value KernelFrame::dim(FlatSymbolRefAttr symbol) const { return dims[dimPosition(kernel, symbol)]; }

Value KernelFrame::rowsOf(Type type) {
  if (FlatSymbolRefAttr symbol = graph::getRowSymbol(type))
    return dim(symbol);
  return constant(cast<RankedTensorType>(type).getDimSize(0));
}

AffineExpr KernelFrame::rowsExprOf(Type type) const {
  if (FlatSymbolRefAttr symbol = graph::getRowSymbol(type))
    return getAffineSymbolExpr(dimPosition(kernel, symbol), b.getContext());
  return getAffineConstantExpr(cast<RankedTensorType>(type).getDimSize(0), b.getContext());
}

Value KernelFrame::extent(RankedTensorType type, unsigned i) {
  if (!type.isDynamicDim(i))
    return constant(type.getDimSize(i));
  unsigned position = llvm::count_if(type.getShape().take_front(i), ShapedType::isDynamic);
  return dim(graph::getDims(type).getSymbols()[position]);
}

Value KernelFrame::constant(int64_t value) {
  return arith::ConstantOp::create(b, b.getI64IntegerAttr(value));
}
Value KernelFrame::constantF32(double value) {
  return arith::ConstantOp::create(b, b.getF32FloatAttr(float(value)));
}
Value KernelFrame::add(Value x, Value y) { return arith::AddIOp::create(b, x, y); }
Value KernelFrame::sub(Value x, Value y) { return arith::SubIOp::create(b, x, y); }
Value KernelFrame::mul(Value x, Value y) { return arith::MulIOp::create(b, x, y); }
Value KernelFrame::min(Value x, Value y) { return arith::MinSIOp::create(b, x, y); }
Value KernelFrame::max(Value x, Value y) { return arith::MaxSIOp::create(b, x, y); }
Value KernelFrame::floorDiv(Value x, int64_t y) {
  return arith::DivUIOp::create(b, x, constant(y));
}
Value KernelFrame::ceilDiv(Value x, int64_t y) { return floorDiv(add(x, constant(y - 1)), y); }

Value KernelFrame::address(Value base, Value bytes) {
  return LLVM::GEPOp::create(b, base.getType(), b.getI8Type(), base, ArrayRef<LLVM::GEPArg>{bytes});
}
Value KernelFrame::address(Value base, int64_t bytes) {
  if (bytes == 0)
    return base;
  return LLVM::GEPOp::create(b, base.getType(), b.getI8Type(), base,
                             ArrayRef<LLVM::GEPArg>{int32_t(bytes)});
}
Value KernelFrame::load(Type type, Value address, unsigned alignment) {
  return LLVM::LoadOp::create(b, type, address, alignment);
}
void KernelFrame::store(Value value, Value address, unsigned alignment) {
  LLVM::StoreOp::create(b, value, address, alignment);
}
