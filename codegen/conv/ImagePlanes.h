// Lines of an image in scratch, as the rows of a matrix unit: for each group of 32 channels, for
// each part of their numbers, pixel after pixel a line of 32 bf16. What a tap sees at neighbouring
// positions lies side by side, whatever the strides, and across the end of a line too: a tile of
// rows is 16 pixels from anywhere on.
#ifndef KILN_CODEGEN_CONV_IMAGEPLANES_H
#define KILN_CODEGEN_CONV_IMAGEPLANES_H

#include "codegen/MatrixUnit.h"
#include "codegen/conv/ConvolutionShape.h"

namespace kiln {

/// Of each dim a plane holds every stride-th pixel. A position counts the pixels of a plane, lines
/// behind each other: some of them, behind those of the result's lines, are no positions of it.
class ImagePlanes {
public:
  static constexpr int64_t kPixelBytes = 2 * MatrixUnit::kDepth;

  /// Why images do not become planes: dims that are not known, or too many of something.
  static std::optional<std::string> refuse(const ConvolutionShape &shape);

  /// `lines`: most of the result's lines whose taps are brought in at once.
  ImagePlanes(const ConvolutionShape &shape, int64_t lines);

  /// Positions from line to line of the result.
  int64_t width() const { return columns.positions + columns.span; }
  /// The result's lines of an image, and positions along one.
  int64_t resultLines() const { return rows.positions; }
  int64_t resultWidth() const { return columns.positions; }
  int64_t groups() const;
  int64_t partBytes() const { return pixels() * kPixelBytes; }
  int64_t groupBytes() const;
  int64_t bytes() const;
  /// Where what a tap sees at position 0 begins.
  int64_t tapOffset(int64_t tap) const;

  /// Brings in what `count` lines of the result from `first` on see of an image (all i64).
  void prepare(KernelFrame &frame, const MatrixUnit &unit, mlir::Value image, mlir::Value first,
               mlir::Value count, mlir::Value destination) const;

private:
  /// One dim. A tap at distance d from a position's first pixel sees pixel
  /// stride * (position + d / stride) + d % stride.
  struct Axis {
    int64_t extent = 1, positions = 1, stride = 1;
    llvm::SmallVector<int64_t> residues;                   // one plane for each
    llvm::SmallVector<std::pair<int64_t, int64_t>> ofTaps; // plane, distance in it from `least`
    int64_t least = 0, span = 0;                           // distances: the least, and how many
  };
  static Axis describe(const ConvolutionShape &shape, size_t dim);
  int64_t planes() const { return int64_t(rows.residues.size() * columns.residues.size()); }
  int64_t pixels() const;
  void prepareLine(KernelFrame &frame, const MatrixUnit &unit, mlir::Value source, int64_t residue,
                   mlir::Value destination) const;
  void clear(KernelFrame &frame, int64_t from, int64_t to, mlir::Value destination) const;

  const ConvolutionShape &shape;
  Axis rows, columns;
  int64_t lines;
};

} // namespace kiln

#endif
