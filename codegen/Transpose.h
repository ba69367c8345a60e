// Rows of memory turned into lines of 16: what lies behind each other comes to lie side by side.
#ifndef KILN_CODEGEN_TRANSPOSE_H
#define KILN_CODEGEN_TRANSPOSE_H

#include "codegen/KernelFrame.h"

namespace kiln {

/// 16 vectors of 16 lanes: lane j of vector i becomes lane i of vector j.
llvm::SmallVector<mlir::Value> emitTranspose(mlir::ImplicitLocOpBuilder &b,
                                             llvm::ArrayRef<mlir::Value> vectors);

/// What a row's elements are: f32, or truths of a byte each, which become 0 or minus infinity.
enum class RowElement { F32, Truth };
/// `lanes` elements at an address: a vector of f32, or for 1 a number.
mlir::Value loadElements(mlir::ImplicitLocOpBuilder &b, RowElement element, mlir::Value address,
                         int64_t lanes);

/// Elements 0 .. count - 1 (i64) of 16 rows as lines of f32: line c, `lineBytes` behind line c - 1,
/// holds element c of each row.
void emitTransposeRows(KernelFrame &frame, llvm::ArrayRef<mlir::Value> rows, RowElement element,
                       mlir::Value count, mlir::Value to, int64_t lineBytes);

} // namespace kiln

#endif
