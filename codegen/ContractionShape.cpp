// Recognises a fused region around matmuls.
#include "codegen/ContractionShape.h"

using namespace mlir;
using namespace kiln;

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
    if (isa<graph::MatmulOp>(op) || &op == shape.rows.norm || isa<graph::GatherOp>(op))
      continue;
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
