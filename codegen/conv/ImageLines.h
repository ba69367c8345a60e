// The walk through an image that emitters of convolutions share: lines of the result, the lines of
// the image that each sees, and runs of tiles along a line.
#ifndef KILN_CODEGEN_CONV_IMAGELINES_H
#define KILN_CODEGEN_CONV_IMAGELINES_H

#include "codegen/EmitSupport.h"
#include "codegen/conv/ConvolutionShape.h"

namespace kiln {

/// Neighbouring tiles of a line that are alike: `count` of `rows` positions from `first` on.
struct TileRun {
  int64_t first, rows, count;
  /// For each tap along the line the tile's positions [from, to) for which it lies in the image.
  llvm::SmallVector<std::pair<int64_t, int64_t>> inside;

  bool isInterior() const {
    return llvm::all_of(inside,
                        [&](auto range) { return range.first == 0 && range.second == rows; });
  }
};

/// A line of the result cut into tiles of at most `rows` positions, as even as can be.
llvm::SmallVector<TileRun> cutLine(const ConvolutionShape &shape, int64_t rows);

class ImageLines {
public:
  ImageLines(KernelFrame &frame, const ConvolutionShape &shape)
      : frame(frame), b(frame.builder()), shape(shape) {}

  /// The size of a spatial dim (i64).
  mlir::Value imageExtent(size_t i) { return frame.extent(shape.image, unsigned(i) + 1); }
  mlir::Value resultExtent(size_t i) { return frame.extent(shape.result, unsigned(i) + 1); }

  /// How many lines the result has (i64), and as an expression of the kernel's dims.
  mlir::Value count();
  mlir::AffineExpr countExpr();

  /// A line of the result: the image it belongs to, and for each spatial dim but the last the place
  /// of the first tap in the image, and the taps [low, high) that lie inside.
  struct Line {
    mlir::Value image;
    llvm::SmallVector<mlir::Value> from, low, high;
  };
  Line at(mlir::Value index);

  /// Visits the lines of the image that a line sees: `body` gets the number of the line, the number
  /// of its first tap in the weight (both i64), and the values carried on.
  using Body = llvm::function_ref<llvm::SmallVector<mlir::Value>(mlir::Value, mlir::Value,
                                                                 mlir::ValueRange)>;
  llvm::SmallVector<mlir::Value> forTaps(const Line &line, mlir::ValueRange carried, Body body);

  /// Visits the taps of the lines outside of the image that a line sees, as runs of taps that lie
  /// side by side in the weight: `body` gets the number of the first and how many (both i64).
  llvm::SmallVector<mlir::Value> forTapsOutside(const Line &line, mlir::ValueRange carried,
                                                Body body);

  /// Positions [from, to) along a line for which all taps lie inside of the image; both i64.
  std::pair<mlir::Value, mlir::Value> interior();
  /// The taps [low, high) along a line that lie inside for one position.
  std::pair<mlir::Value, mlir::Value> tapsAt(mlir::Value position);
  /// A line of unknown length: `interior` for tiles of the given heights, descending to 1, `edge`
  /// for single positions.
  void forPositions(llvm::ArrayRef<int64_t> heights,
                    llvm::function_ref<void(mlir::Value position, int64_t height)> interior,
                    llvm::function_ref<void(mlir::Value position)> edge);

private:
  llvm::SmallVector<mlir::Value> nest(const Line &line, size_t dim, mlir::Value number,
                                      mlir::Value tap, mlir::ValueRange carried, Body body);

  llvm::SmallVector<mlir::Value> nestOutside(const Line &line, size_t dim, mlir::Value tap,
                                             mlir::ValueRange carried, Body body);

  KernelFrame &frame;
  mlir::ImplicitLocOpBuilder &b;
  const ConvolutionShape &shape;
};

/// The taps of `count` that are not in [low, high), as two ranges (i64).
llvm::SmallVector<std::pair<mlir::Value, mlir::Value>>
complement(KernelFrame &frame, mlir::Value low, mlir::Value high, int64_t count);

} // namespace kiln

#endif
