// Integer dot products through tile registers: the same sums as emitGroupedIntegerDot, bit for bit,
// for tiles of several rows.
#ifndef KILN_CODEGEN_TILEDINTEGERDOT_H
#define KILN_CODEGEN_TILEDINTEGERDOT_H

#include "codegen/DotStrategy.h"

namespace kiln {

/// Products of bytes in tile registers, which a target fills in. Registers are numbered: sums
/// i32[rows][16] in 0..3, rows s8[rows][32] in 4 and 5, columns in 6 and 7: u8 or s8 [8][16][4],
/// where line q holds depths 4q .. 4q+3 of 16 columns.
struct ByteTiles {
  static constexpr int64_t kConfigBytes = 64;
  static constexpr int64_t kFirstRows = 4, kFirstColumns = 6;

  /// Shapes all tiles; before any other use. `config` points at kConfigBytes that are written.
  void (*begin)(mlir::ImplicitLocOpBuilder &b, mlir::Value config, int64_t rows);
  void (*end)(mlir::ImplicitLocOpBuilder &b);
  void (*zero)(mlir::ImplicitLocOpBuilder &b, int64_t tile);
  /// Lines of the tile's width, `stride` bytes apart.
  void (*load)(mlir::ImplicitLocOpBuilder &b, int64_t tile, mlir::Value address, int64_t stride);
  void (*store)(mlir::ImplicitLocOpBuilder &b, int64_t tile, mlir::Value address, int64_t stride);
  /// sums += rows x columns, exact.
  void (*multiply)(mlir::ImplicitLocOpBuilder &b, int64_t sums, int64_t rows, int64_t columns,
                   bool unsignedColumns);
};

/// Bytes of DotRequest::scratch that emitTiledIntegerDot writes.
constexpr int64_t kTiledIntegerDotScratch = ByteTiles::kConfigBytes + 4 * (512 + 1024);

/// As emitGroupedIntegerDot with unsigned weights, for at most 16 rows (8 of Int15) and two panels.
llvm::SmallVector<mlir::Value> emitTiledIntegerDot(mlir::ImplicitLocOpBuilder &b,
                                                   const DotRequest &request, RowKind kind,
                                                   const ByteTiles &tiles);

} // namespace kiln

#endif
