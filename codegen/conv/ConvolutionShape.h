// A kernel around a convolution, as the emitters of convolutions understand it.
#ifndef KILN_CODEGEN_CONV_CONVOLUTIONSHAPE_H
#define KILN_CODEGEN_CONV_CONVOLUTIONSHAPE_H

#include "codegen/KernelEmitter.h"
#include "codegen/VectorEpilogue.h"
#include "ir/PanelLayout.h"

namespace kiln {

/// conv -> elementwise ops -> results; the image, the weight and the bias are the kernel's. Image
/// and weight are f32, or codes: then the image has 8 bits, the weight is s8 and sums are i32.
struct ConvolutionShape {
  graph::ComputeOp op;
  mlir::RankedTensorType image, result; // [N, spatial..., C], [N, spatial..., M]
  unsigned imageParameter = 0, weightParameter = 0;
  mlir::BlockArgument bias; // or null
  int64_t imageStride = 0;  // elements from pixel to pixel
  const Format *format = nullptr;
  int64_t groups = 1, channels = 0, outputs = 0; // channels and outputs of all groups
  int64_t weightDepth = 0;                       // columns of the weight
  llvm::ArrayRef<int64_t> kernel, strides, padsBegin, dilations;
  VectorEpilogue epilogue;

  /// On failure `reason` says what stands in the way.
  static std::optional<ConvolutionShape> match(exec::KernelOp kernel, std::string &reason);

  size_t spatial() const { return kernel.size(); }
  int64_t imageExtent(size_t i) const { return image.getDimSize(unsigned(i) + 1); }
  int64_t resultExtent(size_t i) const { return result.getDimSize(unsigned(i) + 1); }
  /// Whether the spatial dims are known.
  bool isStatic() const;
  /// Whether each position of the result sees the same position of the image and no other, so that
  /// all of them are rows of one matrix.
  bool isPointwise() const;
  int64_t taps() const;
  PanelLayout layout() const { return PanelLayout(*format, outputs, weightDepth); }
  bool isCodes() const { return format->kind == FormatKind::Codes; }
  int64_t elementBytes() const { return isCodes() ? 1 : 4; }
  int64_t pixelBytes() const { return imageStride * elementBytes(); }
  /// Channels of a group, and as many of them as the weight has for a tap.
  int64_t depth() const { return channels / groups; }
  int64_t tapDepth() const { return weightDepth / taps(); }
  /// What lies outside of an image of codes.
  int64_t outside() const {
    return graph::hasParam(op, "outside") ? graph::intParam(op, "outside") : 0;
  }
};

/// KernelEmitter::emit by a class that is made of the kernel, the target, the builder and the
/// shape.
template <typename Convolution>
mlir::FailureOr<KernelCode> emitConvolution(exec::KernelOp kernel, const Target &target,
                                            mlir::OpBuilder &builder) {
  std::string reason;
  std::optional<ConvolutionShape> shape = ConvolutionShape::match(kernel, reason);
  if (!shape)
    return kernel.emitOpError() << "has no convolution: " << reason;
  return Convolution(kernel, target, builder, std::move(*shape)).emit();
}

} // namespace kiln

#endif
