// Recognises a fused region around matmuls.
#include "codegen/ContractionShape.h"
#include "codegen/VectorEpilogue.h"
#include "ir/Graph/Operators.h"

using namespace mlir;
using namespace kiln;

/// Why a map operator has no place around a matmul with results of type `result`; `tiles` are the
/// values computed there.
static std::optional<std::string> refuseMap(graph::ComputeOp op, RankedTensorType result,
                                            const llvm::SmallDenseSet<Value> &tiles) {
  auto refuse = [&](const Twine &why) { return ("'" + op.getKind() + "' " + why).str(); };
  if (!graph::operatorOf(op).map)
    return refuse("has no place around a matmul");
  RankedTensorType type = graph::tensorOf(op.getResult(0));
  if (!type.getElementType().isF32() || type.getShape() != result.getShape() ||
      graph::getDims(type) != graph::getDims(result))
    return refuse("gives something else than tiles of f32");
  for (Value operand : op.getOperands()) {
    if (tiles.contains(operand))
      continue;
    if (auto constant = operand.getDefiningOp<graph::ConstantOp>()) {
      if (!isa<SplatElementsAttr>(constant.getValue()) ||
          !graph::tensorOf(operand).getElementType().isF32())
        return refuse("has a constant that varies");
      continue;
    }
    RankedTensorType other = graph::tensorOf(operand);
    if (!isa<BlockArgument>(operand))
      return refuse("uses something else than tiles");
    if (std::optional<std::string> why = refuseElements(other))
      return refuse(": " + *why);
    bool isSame =
        other.getShape() == result.getShape() && graph::getDims(other) == graph::getDims(result);
    // A vector is loaded 16 elements at a time.
    bool isVector = other.getRank() == 1 && other.getDimSize(0) == result.getDimSize(1) &&
                    result.getDimSize(1) > 1 &&
                    (graph::getStored(other) ? graph::getStored(other).getFormat() == "f32"
                                             : result.getDimSize(1) % PanelLayout::kPanelRows == 0);
    if (!isSame && !isVector)
      return refuse("has an operand of another shape");
  }
  return std::nullopt;
}

std::optional<ContractionShape> ContractionShape::match(exec::KernelOp kernel,
                                                        std::string &reason) {
  ContractionShape shape;
  for (auto matmul : kernel.getBody().getOps<graph::MatmulOp>())
    shape.matmuls.push_back(matmul);
  if (shape.matmuls.empty()) {
    reason = "no matmul";
    return std::nullopt;
  }
  graph::MatmulOp first = shape.matmuls.front();
  auto weightType = cast<RankedTensorType>(first.getWeight().getType());
  shape.outputs = weightType.getDimSize(0);
  shape.depth = weightType.getDimSize(1);
  for (graph::MatmulOp matmul : shape.matmuls) {
    graph::StoredAttr stored = graph::getStored(matmul.getWeight().getType());
    if (!stored || stored.getLayout() != kPanelLayoutName ||
        !isa<BlockArgument>(matmul.getWeight())) {
      reason = "a weight is not stored as panel16";
      return std::nullopt;
    }
    if (matmul.getInput() != first.getInput() ||
        matmul.getWeight().getType() != first.getWeight().getType()) {
      reason = "its matmuls differ in rows, shape or format";
      return std::nullopt;
    }
    shape.format = findFormat(stored.getFormat());
  }
  std::optional<RowSource> rows = RowSource::match(first.getInput(), kernel, reason);
  if (!rows)
    return std::nullopt;
  shape.rows = *rows;

  llvm::SmallDenseSet<Value> tiles;
  for (graph::MatmulOp matmul : shape.matmuls)
    tiles.insert(matmul.getResult());
  for (Operation &op : kernel.getBody().front().without_terminator()) {
    if (isa<graph::MatmulOp, graph::ConstantOp>(op) || &op == shape.rows.norm ||
        isa<graph::GatherOp>(op))
      continue;
    if (auto compute = dyn_cast<graph::ComputeOp>(op)) {
      std::optional<std::string> why =
          refuseMap(compute, graph::tensorOf(first.getResult()), tiles);
      if (why) {
        reason = *why;
        return std::nullopt;
      }
      tiles.insert(compute.getResult(0));
      shape.epilogue.push_back(&op);
      continue;
    }
    auto fusable = dyn_cast<graph::FusableOpInterface>(op);
    if (!fusable || fusable.getFusionKind() != graph::FusionKind::Elementwise) {
      reason = (op.getName().getStringRef() + " has no place around a matmul").str();
      return std::nullopt;
    }
    for (Value operand : op.getOperands())
      if (!isa<BlockArgument>(operand) && !tiles.contains(operand)) {
        reason = (op.getName().getStringRef() + " uses something else than tiles").str();
        return std::nullopt;
      }
    tiles.insert(op.getResult(0));
    shape.epilogue.push_back(&op);
  }
  for (Value result : kernel.getBody().front().getTerminator()->getOperands())
    if (!tiles.contains(result)) {
      reason = "a result is no tile";
      return std::nullopt;
    }
  return shape;
}
