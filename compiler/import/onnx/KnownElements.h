// Arrays whose elements are known while the model is imported: how their elements are visited.
#ifndef KILN_COMPILER_IMPORT_ONNX_KNOWNELEMENTS_H
#define KILN_COMPILER_IMPORT_ONNX_KNOWNELEMENTS_H

#include "mlir/IR/AffineExpr.h"

namespace kiln {

/// Elements of a tensor that are looked at, or computed, while the model is imported.
inline constexpr int64_t kMaxKnown = 4096;

/// Calls body for every index of a fixed shape, the last fastest.
void forIndices(llvm::ArrayRef<int64_t> shape,
                llvm::function_ref<void(llvm::ArrayRef<int64_t>)> body);
/// Extents, -1 where one is not fixed.
llvm::SmallVector<int64_t> fixedShape(llvm::ArrayRef<mlir::AffineExpr> shape);
/// The place of an element in row-major order.
int64_t flatIndex(llvm::ArrayRef<int64_t> shape, llvm::ArrayRef<int64_t> indices);
/// A shape for messages.
std::string describe(llvm::ArrayRef<mlir::AffineExpr> shape);

} // namespace kiln

#endif
