// Lowers tile ops of static height to vectors.
#ifndef KILN_CODEGEN_LOWERTILES_H
#define KILN_CODEGEN_LOWERTILES_H

#include "mlir/IR/Operation.h"

namespace kiln {

/// Attribute of an exec.tile_dot whose rows are not prepared: they are f32, so many bytes apart,
/// and `depth` elements of each are read; all panels are multiplied side by side.
inline constexpr llvm::StringLiteral kRowBytesName = "row_bytes";

struct Target;

/// Replaces every exec.tile_* op below `root`, and every graph elementwise op between them, by one
/// vector<16xf32> operation per row. Requires that split-dynamic-loops has run: a tile whose height
/// is still dynamic is an error.
mlir::LogicalResult lowerTiles(mlir::Operation *root, const Target &target);

} // namespace kiln

#endif
