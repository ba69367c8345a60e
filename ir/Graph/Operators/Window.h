// Windows that slide over the spatial dims of an image [N, spatial..., C].
#ifndef KILN_IR_GRAPH_OPERATORS_WINDOW_H
#define KILN_IR_GRAPH_OPERATORS_WINDOW_H

#include "ir/Graph/Operators/Arithmetic.h"

namespace kiln::graph {

/// The taps of one position that lie inside the image: a box, since each spatial dim has its own.
/// Params of the op: `kernel`, `strides`, `dilations` and `pads_begin` of each spatial dim.
class Window {
public:
  /// `position`: the indices [n, spatial...] of the position in the result.
  Window(ElementBuilder &e, ComputeOp op, mlir::ValueRange position);

  /// Numbers of taps along the spatial dims.
  llvm::SmallVector<mlir::Value> counts;
  /// Indices of tap `taps` of the box, channel `channel`.
  llvm::SmallVector<mlir::Value> at(mlir::ValueRange taps, mlir::Value channel) const;
  /// Taps of the box, or of the image with its padding around it.
  mlir::Value size(bool withPadding) const;

private:
  /// The first tap at `low` or behind it and how many from there on are in front of `high`.
  std::pair<mlir::Value, mlir::Value> range(unsigned dim, mlir::Value low, mlir::Value high) const;

  ElementBuilder &e;
  mutable ComputeOp op;
  mlir::Value batch;
  llvm::SmallVector<mlir::Value> starts; // the place of tap 0, perhaps outside
  llvm::SmallVector<mlir::Value> firsts; // taps that the box begins with
};

/// What one of the `groups` of a convolution has of a number of channels.
mlir::Value groupExtent(ElementBuilder &e, ComputeOp op, mlir::Value channels);
/// Checks the params of a window over operand 0.
mlir::LogicalResult verifyWindowParams(ComputeOp op);
/// All dims of result 0 but the last.
llvm::SmallVector<unsigned> dimsButLast(ComputeOp op);

} // namespace kiln::graph

#endif
