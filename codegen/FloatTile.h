// Products of a tile of rows with panels of float weights, all sums in registers.
#ifndef KILN_CODEGEN_FLOATTILE_H
#define KILN_CODEGEN_FLOATTILE_H

#include "codegen/Target.h"
#include "ir/PanelLayout.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include <optional>

namespace kiln {

/// How many rows and panels a tile has.
struct TileSize {
  int64_t rows = 0, panels = 0;
};

/// Registers that a tile needs: a sum for each row and panel, a panel's weights, and an element of
/// a row where it meets more than one register of weights.
int64_t registersOf(TileSize tile, const Target &target);

/// The tile for which `rows` rows and `panels` panels, of one block, take the least time: rows are
/// cut into tiles as even as can be.
TileSize chooseTile(int64_t rows, int64_t panels, const Target &target);

/// The rows of a tile and the powers of two below: tiles for a number of rows that is not known.
llvm::SmallVector<int64_t> tileHeights(int64_t rows);

/// Covers the rows [from, to) (i64) with tiles of the given heights, descending to 1.
void forHeights(mlir::ImplicitLocOpBuilder &b, llvm::ArrayRef<int64_t> heights, mlir::Value from,
                mlir::Value to, llvm::function_ref<void(mlir::Value row, int64_t height)> body);

/// Has LLVM schedule the function as Target::tuneFor says.
void setTileTuning(mlir::func::FuncOp function, const Target &target);

/// Why tiles do not take weights of that format.
std::optional<std::string> refuseFloatTile(const Format &format);

/// What a tile multiplies. Addresses are !llvm.ptr.
struct FloatProducts {
  mlir::Value rows; // the first element of row 0
  /// Bytes from there to each row's first element; rows without a place add nothing.
  llvm::ArrayRef<std::optional<int64_t>> places;
  llvm::ArrayRef<mlir::Value> panels; // the weights of the first element
  const Format *format;
  int64_t depth; // ShapedType::kDynamic: `depthValue` (i64)
  mlir::Value depthValue = {};
  /// Where given, the rows' first elements, in place of `rows` and `places`.
  llvm::ArrayRef<mlir::Value> addresses = {};
  int64_t step = 4;      // bytes from an element of a row to the next
  int64_t lineBytes = 0; // bytes from a panel's weights of an element to the next; 0: dense
};

/// Adds them to `sums`, vector<16xf32> [panel][row]: element after element, so that a row's sums do
/// not depend on the tile.
llvm::SmallVector<mlir::Value> emitFloatProducts(mlir::ImplicitLocOpBuilder &b,
                                                 const FloatProducts &products,
                                                 mlir::ValueRange sums);

} // namespace kiln

#endif
