// Shape checks shared by the verifiers of the graph ops.
#include "ir/Graph/GraphShapes.h"
#include "ir/Graph/GraphDialect.h"

using namespace mlir;
using namespace kiln::graph;

LogicalResult kiln::graph::expectRank(Operation *op, StringRef what, Type type, int64_t rank) {
  if (cast<RankedTensorType>(type).getRank() != rank)
    return op->emitOpError() << what << ": expected a rank-" << rank << " tensor, found " << type;
  return success();
}

LogicalResult kiln::graph::expectLast(Operation *op, StringRef what, Type type, int64_t expected) {
  auto tensor = cast<RankedTensorType>(type);
  if (tensor.getRank() == 0 || tensor.getShape().back() != expected)
    return op->emitOpError() << what << ": expected a last dim of " << expected << ", found "
                             << type;
  return success();
}

LogicalResult kiln::graph::expectSameRows(Operation *op, StringRef what, Type type,
                                          Type reference) {
  auto left = cast<RankedTensorType>(type), right = cast<RankedTensorType>(reference);
  if (left.getRank() == 0 || right.getRank() == 0 || left.getDimSize(0) != right.getDimSize(0) ||
      getRowSymbol(type) != getRowSymbol(reference))
    return op->emitOpError() << what << ": expected as many rows as " << reference << ", found "
                             << type;
  return success();
}

LogicalResult kiln::graph::expectIndices(Operation *op, StringRef what, Type type) {
  if (!isa<IntegerType>(cast<RankedTensorType>(type).getElementType()))
    return op->emitOpError() << what << ": expected integers, found " << type;
  return success();
}
