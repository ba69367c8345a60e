// Shape checks shared by the verifiers of the graph ops.
#ifndef KILN_IR_GRAPH_GRAPHSHAPES_H
#define KILN_IR_GRAPH_GRAPHSHAPES_H

#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Operation.h"

namespace kiln::graph {

/// Fails with "`what`: expected a rank-`rank` tensor, found …".
mlir::LogicalResult expectRank(mlir::Operation *op, llvm::StringRef what, mlir::Type type,
                               int64_t rank);
/// Fails with "`what`: expected `expected` columns …" when the last dim is something else.
mlir::LogicalResult expectLast(mlir::Operation *op, llvm::StringRef what, mlir::Type type,
                               int64_t expected);
/// Fails unless both have the same number of rows: the same extent or the same symbol.
mlir::LogicalResult expectSameRows(mlir::Operation *op, llvm::StringRef what, mlir::Type type,
                                   mlir::Type reference);
/// Fails unless the element type is an integer.
mlir::LogicalResult expectIndices(mlir::Operation *op, llvm::StringRef what, mlir::Type type);

} // namespace kiln::graph

#endif
