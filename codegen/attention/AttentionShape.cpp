// Recognises kernels around attention: for each of query, key and value [rope] [norm of heads]
// [slice] of a parameter, then the attention, whose indices and cache are parameters.
#include "codegen/attention/AttentionShape.h"
#include "ir/PanelLayout.h"

using namespace mlir;
using namespace kiln;

/// Whether the norm is over heads, its weight a parameter of f32.
static bool isHeadNorm(graph::RmsNormOp norm, int64_t headDim) {
  auto type = cast<RankedTensorType>(norm.getWeight().getType());
  graph::StoredAttr stored = graph::getStored(type);
  return isa<BlockArgument>(norm.getWeight()) && type.getDimSize(0) == headDim && stored &&
         stored.getFormat() == "f32" && stored.getLayout() == kRowsLayoutName;
}

static std::optional<HeadSource> matchSource(Value value, exec::KernelOp kernel, int64_t headDim,
                                             std::string &reason) {
  HeadSource source;
  while (Operation *op = value.getDefiningOp()) {
    if (auto slice = dyn_cast<graph::SliceOp>(op)) {
      source.offset += slice.getOffset();
    } else if (auto rope = dyn_cast<graph::RopeOp>(op);
               rope && !source.rope && !source.norm && !source.offset) {
      source.rope = rope;
    } else if (auto norm = dyn_cast<graph::RmsNormOp>(op);
               norm && !source.norm && !source.offset && isHeadNorm(norm, headDim)) {
      source.norm = norm;
    } else {
      reason = ("an operand comes from " + op->getName().getStringRef()).str();
      return std::nullopt;
    }
    value = op->getOperand(0);
  }
  source.parameter = cast<BlockArgument>(value).getArgNumber();
  source.stride = kernel.getRowStrides()[source.parameter];
  if (source.rope && !isa<BlockArgument>(source.rope.getPositions())) {
    reason = "positions of rope are computed in the kernel";
    return std::nullopt;
  }
  return source;
}

std::optional<AttentionShape> AttentionShape::match(exec::KernelOp kernel, std::string &reason) {
  AttentionShape shape;
  for (auto op : kernel.getBody().getOps<graph::AttentionOp>()) {
    if (shape.op) {
      reason = "more than one attention";
      return std::nullopt;
    }
    shape.op = op;
  }
  if (!shape.op) {
    reason = "no attention";
    return std::nullopt;
  }
  auto yield = kernel.getBody().front().getTerminator();
  shape.hasWorkspace = yield->getNumOperands() == 2 &&
                       isa_and_nonnull<graph::WorkspaceOp>(yield->getOperand(1).getDefiningOp());
  if (yield->getNumOperands() != (shape.hasWorkspace ? 2 : 1) ||
      yield->getOperand(0) != shape.op.getResult()) {
    reason = "the attention's result is not the only result";
    return std::nullopt;
  }
  for (Value index : {shape.op.getPositions(), shape.op.getSlots(), shape.op.getBlockTable()})
    if (!isa<BlockArgument>(index) ||
        !cast<RankedTensorType>(index.getType()).getElementType().isInteger(32)) {
      reason = "positions, slots and block table are not i32 parameters";
      return std::nullopt;
    }
  if (Value lengths = shape.op.getLengths();
      lengths && (!isa<BlockArgument>(lengths) ||
                  !cast<RankedTensorType>(lengths.getType()).getElementType().isInteger(32))) {
    reason = "lengths are no i32 parameter";
    return std::nullopt;
  }
  for (auto [value, source] : {std::pair(shape.op.getQuery(), &shape.query),
                               {shape.op.getKey(), &shape.key},
                               {shape.op.getValue(), &shape.value}}) {
    std::optional<HeadSource> found = matchSource(value, kernel, shape.op.getHeadDim(), reason);
    if (!found)
      return std::nullopt;
    *source = *found;
  }
  if (shape.value.rope || shape.value.norm) {
    reason = "values are rotated or normalised";
    return std::nullopt;
  }
  if (shape.op.getCache().getType().getPageSize() % 16) {
    reason = "the page size is not a multiple of 16";
    return std::nullopt;
  }
  shape.group = shape.op.getHeads() / shape.op.getKvHeads();
  return shape;
}
