// Windows of convolutions and pools as ONNX nodes tell them, and the layout of images.
#ifndef KILN_COMPILER_IMPORT_ONNX_OPERATORS_IMAGEWINDOW_H
#define KILN_COMPILER_IMPORT_ONNX_OPERATORS_IMAGEWINDOW_H

#include "compiler/import/onnx/NodeImport.h"

namespace kiln {

/// [N, C, spatial...] as [N, spatial..., C] and back.
Array channelsLast(ArrayBuilder &a, const Array &x);
Array channelsFirst(ArrayBuilder &a, const Array &x);

/// Checks that a kernel [M, C/g, spatial...] (transposed: [C, M/g, spatial...]) fits an image
/// [N, C, spatial...]; returns the node's number of groups, or nullopt after fail(). What is fixed
/// of one makes the other's dims fixed; the kernel's spatial dims may be told by kernel_shape.
std::optional<int64_t> fitKernel(NodeImport &n, Array &x, Array &kernel, bool transposed);
/// The spatial extents of a kernel that fits.
llvm::SmallVector<int64_t> extentsOf(const Array &kernel);

/// A window over the spatial dims of an input [N, C, spatial...].
struct ImageWindow {
  llvm::SmallVector<int64_t> kernel, strides, dilations, padsBegin, padsEnd;
  Shape positions; // along each spatial dim

  /// The attributes strides, dilations, pads, auto_pad and ceil_mode of a node over `x`; with an
  /// empty `kernel` the attribute kernel_shape too. nullopt after fail().
  static std::optional<ImageWindow> of(NodeImport &n, const Array &x,
                                       llvm::ArrayRef<int64_t> kernel = {});
  /// The params that operators over windows share, and more.
  mlir::DictionaryAttr params(ArrayBuilder &a, llvm::ArrayRef<ArrayBuilder::Param> more) const;
  /// [N, positions..., channels]
  Shape resultShape(const Array &x, mlir::AffineExpr channels) const;

  size_t spatial() const { return kernel.size(); }
  /// How far the last tap lies behind the first.
  int64_t reach(size_t dim) const { return (kernel[dim] - 1) * dilations[dim]; }

private:
  bool readAttributes(NodeImport &n, const Array &x, llvm::ArrayRef<int64_t> given);
  bool findPositions(NodeImport &n, const Array &x);
  friend struct TransposedWindow;
};

/// The same of a transposed convolution.
struct TransposedWindow : ImageWindow {
  static std::optional<TransposedWindow> of(NodeImport &n, const Array &x,
                                            llvm::ArrayRef<int64_t> kernel);
};

/// The batch normalization that becomes part of a convolution's weights: all parameters of both are
/// initializers, and nothing else reads the convolution. Null where there is none.
const OnnxNode *findFoldedNorm(const GraphImport &graph, const OnnxNode &convolution);

} // namespace kiln

#endif
