// Loads take turns with products, of which each keeps the unit busy for longer than a load takes.
#include "codegen/TileProducts.h"

using namespace mlir;
using namespace kiln;

void kiln::emitTileProducts(ImplicitLocOpBuilder &b, const MatrixUnit &unit, int64_t parts,
                            int64_t rowTiles, TileOfPart rows, TileOfPart columns) {
  for (int64_t column = parts; column-- > 0;) {
    for (int64_t j = 0; j < 2; ++j)
      unit.load(b, kFirstColumnTile + j, columns(j, column), 64);
    for (int64_t row = parts - column; row-- > 0;)
      for (int64_t i = 0; i < rowTiles; ++i) {
        unit.load(b, kFirstRowTile + i, rows(i, row), 64);
        for (int64_t j = 0; j < 2; ++j)
          unit.multiply(b, 2 * i + j, kFirstRowTile + i, kFirstColumnTile + j);
      }
  }
}
