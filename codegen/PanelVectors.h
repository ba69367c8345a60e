// Codes and scales of an integer panel as vectors of neighbouring outputs: what every way to
// multiply begins with.
#ifndef KILN_CODEGEN_PANELVECTORS_H
#define KILN_CODEGEN_PANELVECTORS_H

#include "ir/PanelLayout.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace kiln {

/// Replaces each byte (0 .. 15) of a vector of i32 by the table's entry of 16. A target may have an
/// instruction for it.
using LookUpBytes = mlir::Value (*)(mlir::ImplicitLocOpBuilder &b, mlir::Value bytes,
                                    llvm::ArrayRef<uint8_t> table);

/// The table's entry for `index` (0 .. 15), an integer or a vector of them, by comparing its bits:
/// for targets without such an instruction, and for scalars.
mlir::Value emitSelectEntry(mlir::ImplicitLocOpBuilder &b, mlir::Value index,
                            llvm::ArrayRef<uint8_t> table);

/// Applies `body` to pieces of `width` elements of a vector and joins the results.
mlir::Value inPieces(mlir::ImplicitLocOpBuilder &b, mlir::Value vector, int64_t width,
                     llvm::function_ref<mlir::Value(mlir::Value piece)> body);

/// Loads from a panel, and asks for the line that will be needed some time later, across the page
/// boundaries at which hardware prefetchers stop: the panels of a range lie one after the other,
/// and with few rows their loops are bound by memory.
mlir::Value loadWeights(mlir::ImplicitLocOpBuilder &b, mlir::Type type, mlir::Value address,
                        unsigned alignment);

/// Vectors of `width` of a panel's 16 outputs. Addresses are !llvm.ptr, groups of 32 depths i64.
class PanelVectors {
public:
  /// Where a vector is loaded from: which of the panel's 16 / width parts, and whether to ask for
  /// what is needed later.
  struct Part {
    int64_t index = 0;
    bool fetchesAhead = false;
  };
  struct Scales {
    mlir::Value scale, min; // f32; no min where the format has none
  };

  /// `lookUp` may be null. Codes are unsigned (ir/Formats.def), or `signedCodes`: minus the zero.
  PanelVectors(mlir::ImplicitLocOpBuilder &b, const PanelLayout &layout, int64_t width,
               LookUpBytes lookUp, bool signedCodes = false)
      : b(b), layout(layout), format(layout.getFormat()), width(width), lookUp(lookUp),
        signedCodes(signedCodes) {}

  /// Calls `body` with the eight quads of a group, i32 vectors of four codes each, in the order in
  /// which they lie.
  void forQuads(mlir::Value panel, mlir::Value group, Part part,
                llvm::function_ref<void(int64_t quad, mlir::Value codes)> body);
  /// The unsigned codes of quad `index` (i64, below 4) and of the fourth after it.
  std::pair<mlir::Value, mlir::Value> quadPair(mlir::Value panel, mlir::Value group,
                                               mlir::Value index);

  /// Address of the codes of a group, counted from the panel's or from another group's.
  mlir::Value codesOf(mlir::Value codes, mlir::Value group);

  /// How many scales the elements of 32 depths have.
  int64_t scalesPerGroup() const { return 32 / format.group; }
  /// The i-th of them; exact.
  Scales scales(mlir::Value panel, mlir::Value group, int64_t i, Part part);

private:
  mlir::VectorType intType();
  mlir::Value loadLine(mlir::Value panel, mlir::Value group, int64_t line, Part part);
  mlir::Value mask(mlir::Value vector, int64_t byte);
  mlir::Value shift(mlir::Value vector, int64_t right);
  mlir::Value quadOf(mlir::Value nibbles, llvm::ArrayRef<mlir::Value> lower,
                     llvm::ArrayRef<mlir::Value> upper, mlir::Value index, int64_t half);
  mlir::Value finishCodes(mlir::Value codes);
  mlir::Value loadPart(mlir::Type element, mlir::Value address, Part part);
  mlir::Value widenScale(mlir::Value stored);

  mlir::ImplicitLocOpBuilder &b;
  const PanelLayout &layout;
  const Format &format;
  int64_t width;
  LookUpBytes lookUp;
  bool signedCodes;
};

} // namespace kiln

#endif
