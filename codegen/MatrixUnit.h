// A matrix unit of a CPU: a few tile registers of 16 rows x 64 bytes, and an instruction that adds
// the product of two tiles to a third. An interface, like DotStrategy: a target fills it in,
// emitters use it and never ask which target it is.
//
// Sums are f32[16][16]. Rows (the left operand) are bf16[16][32], row-major: row r holds 32
// neighbouring depths. Columns (the right operand) are bf16 pairs [16][16][2]: line p holds depths
// 2p and 2p+1 of 16 columns. Products are exact; sums round as the unit does (AMX: f32, nearest
// even, denormals are zero). Row r of the sums depends on row r of the left operand alone.
#ifndef KILN_CODEGEN_MATRIXUNIT_H
#define KILN_CODEGEN_MATRIXUNIT_H

#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace kiln {

struct MatrixUnit {
  static constexpr int64_t kRows = 16;        // rows of a tile
  static constexpr int64_t kColumns = 16;     // f32 columns of a tile of sums
  static constexpr int64_t kDepth = 32;       // bf16 elements that one product sums over
  static constexpr int64_t kTileBytes = 1024; // a tile that lies dense in memory
  static constexpr int64_t kConfigBytes = 64;

  llvm::StringLiteral name;
  int64_t tiles;       // registers, numbered from 0
  int64_t minimumRows; // fewer are better multiplied as vectors

  /// Shapes all tiles; before any other use in a kernel. `config` points at kConfigBytes of scratch
  /// that are written.
  void (*begin)(mlir::ImplicitLocOpBuilder &b, mlir::Value config);
  /// After the last use, on every path out of the kernel.
  void (*end)(mlir::ImplicitLocOpBuilder &b);
  void (*zero)(mlir::ImplicitLocOpBuilder &b, int64_t tile);
  /// Lines of 64 bytes, `stride` bytes apart.
  void (*load)(mlir::ImplicitLocOpBuilder &b, int64_t tile, mlir::Value address, int64_t stride);
  void (*store)(mlir::ImplicitLocOpBuilder &b, int64_t tile, mlir::Value address, int64_t stride);
  /// sums += rows x columns.
  void (*multiply)(mlir::ImplicitLocOpBuilder &b, int64_t sums, int64_t rows, int64_t columns);
  /// A line of a right operand, vector<32xbf16>: lane i of `even` and `odd` (vector<16xf32>) at 2i
  /// and 2i+1, rounded to nearest even.
  mlir::Value (*packPairs)(mlir::ImplicitLocOpBuilder &b, mlir::Value even, mlir::Value odd);
  /// A line of a left operand, vector<32xbf16>: `low`, then `high` (vector<16xf32>).
  mlir::Value (*packRow)(mlir::ImplicitLocOpBuilder &b, mlir::Value low, mlir::Value high);
};

} // namespace kiln

#endif
