// Expands quantized panels to the right operand of a matrix unit, piece by piece, so that the
// pieces can be spread over other work.
#ifndef KILN_CODEGEN_EXPANDPANEL_H
#define KILN_CODEGEN_EXPANDPANEL_H

#include "codegen/MatrixUnit.h"
#include "codegen/PanelVectors.h"
#include "codegen/SplitFloat.h"
#include <optional>

namespace kiln {

/// One group of 32 depths of a panel becomes one tile: MatrixUnit::kRows lines, in kUnits pieces of
/// four lines.
class ExpandPanel {
public:
  static constexpr int64_t kUnits = 4;

  /// `lookUp` may be null.
  ExpandPanel(mlir::ImplicitLocOpBuilder &b, const PanelLayout &layout, LookUpBytes lookUp)
      : b(b), layout(layout), vectors(b, layout, PanelLayout::kPanelRows, lookUp) {}

  /// Why panels of a format cannot become columns of bf16 without more loss than one rounding of
  /// each weight.
  static std::optional<std::string> refuse(const Format &format);
  /// Tiles that a group becomes: one, or of f32 the parts whose sum its weights are.
  int64_t parts() const { return layout.getFormat().id == FormatId::F32 ? emit::kFloatParts : 1; }
  /// Bytes of a panel that a piece is made of.
  int64_t pieceBytes() const { return layout.getFormat().bits * 64 / kUnits; }
  /// Whether panels already are tiles and need no expansion.
  bool isIdentity() const { return layout.getFormat().id == FormatId::BF16; }

  /// Expands piece `index` of a group of the panel (i64 values) to the tile at `tile`. A weight is
  /// its exact value, rounded once to bf16; one with a min is rounded to f32 before. An f32 is
  /// split, its parts going to as many tiles behind each other.
  void emitUnit(mlir::Value panel, mlir::Value group, mlir::Value index, mlir::Value tile);

  /// Address of the codes of a group (i64), counted from the panel's or from another group's.
  mlir::Value codesOf(mlir::Value codes, mlir::Value group) {
    return vectors.codesOf(codes, group);
  }

private:
  void splitUnit(mlir::Value panel, mlir::Value group, mlir::Value index, mlir::Value tile);
  mlir::Value packPairs(mlir::Value even, mlir::Value odd);
  mlir::Value decode(mlir::Value codes, int64_t firstBit, mlir::Value factor, mlir::Value offset);

  mlir::ImplicitLocOpBuilder &b;
  const PanelLayout &layout;
  PanelVectors vectors;
};

} // namespace kiln

#endif
