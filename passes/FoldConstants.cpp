// Evaluates ops on constants: `add (constant), (constant)` becomes one constant. The dialect has no
// constant materializer on purpose, so that the canonicalizer cannot create constants of any size:
// values that are not small stay expressions over weights.
#include "passes/Passes.h"

namespace kiln {
#define GEN_PASS_DEF_FOLDCONSTANTS
#include "passes/Passes.h.inc"
} // namespace kiln

using namespace mlir;
using namespace kiln;

static int64_t getSizeBytes(RankedTensorType type) {
  return llvm::divideCeil(type.getNumElements() * type.getElementTypeBitWidth(), 8);
}

/// The value of `op`'s only result where it folds to a constant of at most `maxBytes`.
static ElementsAttr foldToConstant(Operation *op, int64_t maxBytes) {
  if (op->getNumResults() != 1 || op->hasTrait<OpTrait::ConstantLike>())
    return {};
  auto type = dyn_cast<RankedTensorType>(op->getResult(0).getType());
  if (!type || !type.hasStaticShape() || getSizeBytes(type) > maxBytes)
    return {};
  SmallVector<Attribute> operands;
  for (Value operand : op->getOperands()) {
    auto constant = operand.getDefiningOp<graph::ConstantOp>();
    if (!constant)
      return {};
    operands.push_back(constant.getValue());
  }
  SmallVector<OpFoldResult> results;
  if (operands.empty() || failed(op->fold(operands, results)) || results.size() != 1)
    return {};
  return dyn_cast_or_null<ElementsAttr>(dyn_cast<Attribute>(results.front()));
}

namespace {
struct FoldConstants : kiln::impl::FoldConstantsBase<FoldConstants> {
  using FoldConstantsBase::FoldConstantsBase;

  void runOnOperation() override {
    // Program order: an op is reached after the constants of its operands were made.
    for (Operation &op : llvm::make_early_inc_range(getOperation().getBody().front())) {
      ElementsAttr value = foldToConstant(&op, maxBytes);
      if (!value)
        continue;
      OpBuilder builder(&op);
      auto constant = graph::ConstantOp::create(builder, op.getLoc(), value);
      op.replaceAllUsesWith(constant);
      op.erase();
    }
    for (Operation &op :
         llvm::make_early_inc_range(llvm::reverse(getOperation().getBody().front())))
      if (isa<graph::ConstantOp>(op) && op.use_empty())
        op.erase();
  }
};
} // namespace
