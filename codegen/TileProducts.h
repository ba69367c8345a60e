// Products of tiles of a matrix unit whose numbers are sums of several parts.
#ifndef KILN_CODEGEN_TILEPRODUCTS_H
#define KILN_CODEGEN_TILEPRODUCTS_H

#include "codegen/MatrixUnit.h"

namespace kiln {

/// Where the tile of part `part` of row or column tile `index` lies.
using TileOfPart = llvm::function_ref<mlir::Value(int64_t index, int64_t part)>;

/// Registers of up to two row tiles by two column tiles: sums 0..3 as [row tile][column tile], then
/// rows, then columns.
inline constexpr int64_t kFirstRowTile = 4, kFirstColumnTile = 6;

/// Adds to the sums the products of one group of depths, `rowTiles` by two tiles. Of numbers of
/// several parts (codegen/SplitFloat.h) those products that count, the smallest first.
void emitTileProducts(mlir::ImplicitLocOpBuilder &b, const MatrixUnit &unit, int64_t parts,
                      int64_t rowTiles, TileOfPart rows, TileOfPart columns);

} // namespace kiln

#endif
