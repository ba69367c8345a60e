// Lowers tile ops of static height to vectors.
#ifndef KILN_CODEGEN_LOWERTILES_H
#define KILN_CODEGEN_LOWERTILES_H

#include "mlir/IR/Operation.h"

namespace kiln {

struct Target;

/// Replaces every exec.tile_* op below `root`, and every graph elementwise op between them, by one
/// vector<16xf32> operation per row. Requires that split-dynamic-loops has run: a tile whose height
/// is still dynamic is an error.
mlir::LogicalResult lowerTiles(mlir::Operation *root, const Target &target);

} // namespace kiln

#endif
