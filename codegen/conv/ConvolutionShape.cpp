// Recognises a fused region around a convolution.
#include "codegen/conv/ConvolutionShape.h"

using namespace mlir;
using namespace kiln;

/// Why image, bias and sums are not of the types that go with the weight's format.
static std::optional<std::string> refuseOperands(ConvolutionShape &shape) {
  auto isRaw = [](RankedTensorType type) {
    graph::StoredAttr stored = graph::getStored(type);
    return !stored || stored.getFormat() == kRawFormatName;
  };
  Type sums = shape.result.getElementType();
  if (shape.result.getRank() < 2)
    return "its result has no rows";
  if (!shape.isCodes()) {
    for (unsigned operand : {0u, 2u})
      if (operand < shape.op.getOperands().size())
        if (std::optional<std::string> why =
                refuseElements(graph::tensorOf(shape.op.getOperand(operand))))
          return why;
    return sums.isF32() ? std::nullopt : std::optional<std::string>("its result is not f32");
  }
  if (shape.image.getElementTypeBitWidth() != 8 || isa<FloatType>(shape.image.getElementType()) ||
      !isRaw(shape.image) || !sums.isSignlessInteger(32))
    return "its weight is codes, but not its image, or its sums are not i32";
  if (shape.tapDepth() % 4)
    return "a tap has no whole quads of weights";
  if (shape.bias)
    if (RankedTensorType bias = graph::tensorOf(shape.bias);
        !bias.getElementType().isSignlessInteger(32) || !isRaw(bias))
      return "its bias is not stored as i32";
  return std::nullopt;
}

std::optional<ConvolutionShape> ConvolutionShape::match(exec::KernelOp kernel,
                                                        std::string &reason) {
  ConvolutionShape shape;
  for (auto op : kernel.getBody().getOps<graph::ComputeOp>())
    if (op.getKind() == "conv") {
      if (shape.op) {
        reason = "two convolutions";
        return std::nullopt;
      }
      shape.op = op;
    }
  if (!shape.op) {
    reason = "no convolution";
    return std::nullopt;
  }
  auto parameter = [&](unsigned operand) -> std::optional<unsigned> {
    if (auto argument = dyn_cast<BlockArgument>(shape.op.getOperand(operand)))
      return argument.getArgNumber();
    reason = "an operand of the convolution is computed in the kernel";
    return std::nullopt;
  };
  std::optional<unsigned> image = parameter(0), weight = parameter(1);
  if (!image || !weight)
    return std::nullopt;
  shape.imageParameter = *image;
  shape.weightParameter = *weight;
  if (shape.op.getOperands().size() > 2) {
    std::optional<unsigned> bias = parameter(2);
    if (!bias)
      return std::nullopt;
    shape.bias = kernel.getBody().getArgument(*bias);
  }
  graph::StoredAttr stored = graph::getStored(shape.op.getOperand(1).getType());
  if (!stored || stored.getLayout() != kPanelLayoutName) {
    reason = "its weight is not stored as panel16";
    return std::nullopt;
  }
  shape.format = findFormat(stored.getFormat());
  shape.weightDepth = graph::tensorOf(shape.op.getOperand(1)).getDimSize(1);
  shape.image = graph::tensorOf(shape.op.getOperand(0));
  shape.result = graph::tensorOf(shape.op.getResult(0));
  shape.imageStride = kernel.getRowStrides()[*image];
  shape.channels = shape.image.getShape().back();
  if (!shape.imageStride)
    shape.imageStride = shape.channels;
  shape.outputs = shape.result.getShape().back();
  shape.groups = graph::intParam(shape.op, "groups");
  shape.kernel = graph::intsParam(shape.op, "kernel");
  shape.strides = graph::intsParam(shape.op, "strides");
  shape.padsBegin = graph::intsParam(shape.op, "pads_begin");
  shape.dilations = graph::intsParam(shape.op, "dilations");
  if (std::optional<std::string> why = refuseOperands(shape)) {
    reason = *why;
    return std::nullopt;
  }
  std::optional<VectorEpilogue> epilogue = VectorEpilogue::match(kernel, shape.op, reason);
  if (!epilogue)
    return std::nullopt;
  shape.epilogue = *epilogue;
  return shape;
}

bool ConvolutionShape::isStatic() const {
  for (size_t i = 0; i < spatial(); ++i)
    if (image.isDynamicDim(unsigned(i) + 1) || result.isDynamicDim(unsigned(i) + 1))
      return false;
  return true;
}

bool ConvolutionShape::isPointwise() const {
  auto areOnes = [](ArrayRef<int64_t> values) {
    return llvm::all_of(values, [](int64_t value) { return value == 1; });
  };
  return areOnes(kernel) && areOnes(strides) &&
         image.getShape().drop_back() == result.getShape().drop_back() &&
         graph::getDims(image) == graph::getDims(result);
}

int64_t ConvolutionShape::taps() const {
  int64_t taps = 1;
  for (int64_t extent : kernel)
    taps *= extent;
  return taps;
}
