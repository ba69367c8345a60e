// Products of a tile of rows of codes with panels of s8, all sums in registers.
#ifndef KILN_CODEGEN_BYTETILE_H
#define KILN_CODEGEN_BYTETILE_H

#include "codegen/ByteDot.h"
#include "ir/PanelLayout.h"
#include <optional>

namespace kiln {

/// Codes as a target's dot product takes them: where it reads bytes the other way, their upper bit
/// is flipped, which makes each 128 more or less, and sums are corrected by the sums of weights.
struct CodeForm {
  const ByteDot *dot;
  bool isFlipped;
  uint8_t outside; // a code outside of the image, in that form

  CodeForm(const ByteDot &dot, mlir::Type element, int64_t outside);

  /// Codes, as many bytes as the integer or vector has, in that form.
  mlir::Value flip(mlir::ImplicitLocOpBuilder &b, mlir::Value codes) const;
  /// What sums of a panel's rows begin with, vector<16xi32>. `panel` is its address.
  mlir::Value startSums(mlir::ImplicitLocOpBuilder &b, mlir::Value panel, int64_t sumsOffset) const;
};

/// What a tile multiplies. Addresses are !llvm.ptr.
struct ByteProducts {
  const CodeForm &form;
  mlir::Value rows; // the first element of row 0
  /// Bytes from there to each row's first element; all codes of a row without a place are those
  /// outside of the image.
  llvm::ArrayRef<std::optional<int64_t>> places;
  llvm::ArrayRef<mlir::Value> panels; // the weights of the first element
  int64_t depth;
  /// Where depth is no multiple of 4, whether a row's last quad may be read with the bytes behind
  /// it, which meet weights of 0; else it is put together from its own. Null: never.
  llvm::function_ref<bool(size_t row)> mayReadPast = nullptr;
};

/// Adds them to `sums`, vector<16xi32> [panel][row].
llvm::SmallVector<mlir::Value> emitByteProducts(mlir::ImplicitLocOpBuilder &b,
                                                const ByteProducts &products,
                                                mlir::ValueRange sums);

/// Adds the products of `depth` weights (i64, a multiple of 4) of each panel with codes outside of
/// the image to a sum for each panel.
llvm::SmallVector<mlir::Value> emitOutside(mlir::ImplicitLocOpBuilder &b, const CodeForm &form,
                                           llvm::ArrayRef<mlir::Value> panels, mlir::Value depth,
                                           mlir::ValueRange sums);

} // namespace kiln

#endif
