// The entry of every emitted kernel: the function op and the values that its argument holds
// (runtime/include/kiln/abi.h), plus the few address operations emitters share.
#ifndef KILN_CODEGEN_KERNELFRAME_H
#define KILN_CODEGEN_KERNELFRAME_H

#include "ir/Exec/ExecDialect.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include <optional>

namespace kiln {

/// A kernel function under construction. The builder's insertion point is inside its body; the
/// function ends with a return already placed after it.
class KernelFrame {
public:
  KernelFrame(exec::KernelOp kernel, mlir::OpBuilder &moduleBuilder);

  mlir::ImplicitLocOpBuilder &builder() { return b; }
  mlir::func::FuncOp function() const { return func; }

  /// Base address (!llvm.ptr) of the kernel's i-th read or, after the reads, write.
  mlir::Value buffer(unsigned index) const { return buffers[index]; }
  mlir::Value writeBuffer(unsigned index) const { return buffers[readCount + index]; }
  /// Value of a dim (i64), by position.
  mlir::Value dim(unsigned index) const { return dims[index]; }
  /// Value of a dim (i64), by name; the kernel verifier guarantees it exists.
  mlir::Value dim(mlir::FlatSymbolRefAttr symbol) const;
  mlir::Value scratch() const { return scratchPtr; }
  mlir::Value begin() const { return beginItem; }  // i64
  mlir::Value end() const { return endItem; }      // i64
  mlir::Value range() const { return rangeIndex; } // i64: 0 for a worker's first of this launch
  mlir::Value counters() const { return counterWords; } // !llvm.ptr

  /// The number of rows of a tensor type (i64): a constant or a dim.
  mlir::Value rowsOf(mlir::Type type);
  /// The same as an expression over the kernel's dims as symbols.
  mlir::AffineExpr rowsExprOf(mlir::Type type) const;

  /// The size of a tensor's dim (i64): a constant or a dim of the kernel.
  mlir::Value extent(mlir::RankedTensorType type, unsigned dim);

  // Shorthands. i64 arithmetic; addresses are !llvm.ptr.
  mlir::Value constant(int64_t value);
  mlir::Value constantF32(double value);
  mlir::Value add(mlir::Value a, mlir::Value b);
  mlir::Value sub(mlir::Value a, mlir::Value b);
  mlir::Value mul(mlir::Value a, mlir::Value b);
  mlir::Value min(mlir::Value a, mlir::Value b);
  mlir::Value max(mlir::Value a, mlir::Value b);
  mlir::Value floorDiv(mlir::Value a, int64_t b);
  mlir::Value ceilDiv(mlir::Value a, int64_t b);
  /// base + bytes
  mlir::Value address(mlir::Value base, mlir::Value bytes);
  mlir::Value address(mlir::Value base, int64_t bytes);
  mlir::Value load(mlir::Type type, mlir::Value address, unsigned alignment);
  void store(mlir::Value value, mlir::Value address, unsigned alignment);

private:
  exec::KernelOp kernel;
  mlir::ImplicitLocOpBuilder b;
  mlir::func::FuncOp func;
  unsigned readCount = 0;
  llvm::SmallVector<mlir::Value> buffers, dims;
  mlir::Value scratchPtr, beginItem, endItem, rangeIndex, counterWords;
};

} // namespace kiln

#endif
