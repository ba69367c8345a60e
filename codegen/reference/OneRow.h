// The row of a value inside a kernel, computed on demand from the ops' decompositions.
#ifndef KILN_CODEGEN_REFERENCE_ONEROW_H
#define KILN_CODEGEN_REFERENCE_ONEROW_H

#include "codegen/KernelFrame.h"
#include "llvm/ADT/DenseMap.h"

namespace kiln {

/// Builds, at the frame's insertion point, tensors of one row of the kernel's values:
/// tensor<1 x columns> of a matrix, tensor<1> of a list of indices. Rows that were asked for before
/// are reused, so an object must not outlive the loop body it builds in.
class OneRow {
public:
  OneRow(KernelFrame &frame, exec::KernelOp kernel) : frame(frame), kernel(kernel) {}

  /// Row `row` (i64) of a value.
  mlir::FailureOr<mlir::Value> row(mlir::Value value, mlir::Value row);
  /// Element `row` of a list of indices as i64.
  mlir::FailureOr<mlir::Value> index(mlir::Value indices, mlir::Value row);
  /// The memref<1 x columns> that row `row` of the kernel's i-th result is to be written to.
  mlir::Value resultRow(unsigned result, mlir::Value row);

  /// Why rows of the kernel's values cannot be built; nullopt where they can.
  static std::optional<std::string> refuse(exec::KernelOp kernel);

private:
  mlir::FailureOr<mlir::Value> whole(mlir::Value value);
  mlir::FailureOr<mlir::Value> compute(mlir::Operation *op, mlir::RankedTensorType type,
                                       mlir::Value row);
  mlir::FailureOr<mlir::Value> build(mlir::Value value, mlir::Value row);
  mlir::Value memrefRow(mlir::Value base, mlir::Type type, int64_t stride, mlir::Value row);

  KernelFrame &frame;
  exec::KernelOp kernel;
  llvm::DenseMap<std::pair<mlir::Value, mlir::Value>, mlir::Value> rows;
  llvm::DenseMap<mlir::Value, mlir::Value> wholes;
};

/// A memref of static shape over memory at `pointer` (!llvm.ptr).
mlir::Value emitMemref(mlir::ImplicitLocOpBuilder &b, mlir::MemRefType type, mlir::Value pointer);

} // namespace kiln

#endif
