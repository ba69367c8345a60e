// Elementwise ops around products of any rank, on vectors of 16 neighbouring elements of a row: the
// last dim's, at which biases and factors lie.
#ifndef KILN_CODEGEN_VECTOREPILOGUE_H
#define KILN_CODEGEN_VECTOREPILOGUE_H

#include "codegen/KernelFrame.h"
#include "ir/Graph/Operators.h"

namespace kiln {

/// Why the elements of a tensor do not lie in memory as f32; nullopt where they do.
std::optional<std::string> refuseElements(mlir::RankedTensorType type);

/// A map operator on elements or vectors of them, in the fastest form that is exact enough. Vectors
/// where graph::mapsVectors.
mlir::Value emitMap(mlir::ImplicitLocOpBuilder &b, graph::ComputeOp op, mlir::ValueRange elements);

/// What follows the op `head`, which gives f32 or i32, in a kernel: map operators on its result, on
/// tensors of the same shape, on vectors along the last dim and on single numbers. Beside f32 and
/// truth values they may have i32 and integers of 8 bits.
class VectorEpilogue {
public:
  /// On failure `reason` says what stands in the way.
  static std::optional<VectorEpilogue> match(exec::KernelOp kernel, graph::ComputeOp head,
                                             std::string &reason);

  /// Where a vector of results lies: row number `row` (i64) of the result, all leading dims counted
  /// as one, from column `column` (i64) on.
  struct Place {
    mlir::Value row, column;
    int64_t rowOffset = 0; // to be added to the row
    bool wholeRow = true;  // false: columns past the last must not be touched
  };

  /// Applies the ops to a vector of the head's result and stores what the kernel yields.
  void emit(KernelFrame &frame, mlir::Value vector, const Place &place);

  /// Whether the kernel gives one tensor of codes of 8 bits, and needs nothing for it but vectors
  /// along the last dim and single numbers: then lanes may stand for any columns.
  bool givesCodesOfColumns() const;
  /// Applies the ops to a vector whose lanes stand for any columns and returns what the kernel
  /// gives. `columns` gives a parameter's vector in the same order.
  mlir::Value apply(KernelFrame &frame, mlir::Value vector,
                    llvm::function_ref<mlir::Value(mlir::BlockArgument)> columns);
  /// Elements from row to row of the kernel's first result.
  int64_t strideOfResult();
  /// The parameters that `apply` asks for.
  llvm::SmallVector<mlir::BlockArgument> columnParameters() const;

  /// Loads 16 columns from `place.column` on of a vector that the kernel gets as a parameter, in
  /// the code type of its elements.
  mlir::Value loadColumns(KernelFrame &frame, mlir::BlockArgument vector, const Place &place);

  /// Loads columns from `column` (i64) on, which lie at `at`; where fewer than 16 are left, nothing
  /// past them is touched.
  mlir::Value loadWithin(KernelFrame &frame, mlir::Type element, mlir::Value at,
                         mlir::Value column);

  /// Whether vectors may reach past a row's last column in every tensor that is read or written by
  /// them.
  bool mayTouchWholeVectors() const { return whole; }

private:
  /// How an operand that the kernel gets lies beside the results.
  enum class Spread { Element, Column, Single };
  static std::optional<Spread> spreadOf(mlir::RankedTensorType operand,
                                        mlir::RankedTensorType result);

  std::optional<Spread> spreadOf(mlir::Value operand) const;
  llvm::SmallDenseMap<mlir::Value, mlir::Value>
  applyOps(KernelFrame &frame, mlir::Value vector,
           llvm::function_ref<mlir::Value(mlir::Value operand)> load);
  mlir::Value loadOperand(KernelFrame &frame, mlir::Value operand, const Place &place);
  int64_t strideOf(size_t buffer, mlir::Type type);
  mlir::Value address(KernelFrame &frame, mlir::Value base, int64_t stride, mlir::Type element,
                      const Place &place);
  void storeWithin(KernelFrame &frame, mlir::Value vector, mlir::Value at, mlir::Value column);

  exec::KernelOp kernel;
  graph::ComputeOp head;
  int64_t columns = 0;
  bool whole = true;
  llvm::SmallVector<graph::ComputeOp> ops;
};

} // namespace kiln

#endif
