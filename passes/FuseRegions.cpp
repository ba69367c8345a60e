// Builds a `graph.fused` for each group of ops that GroupRegions.cpp chose:
//
//   %h = graph.rms_norm %x, %wn            %o = graph.fused (%a = %x, %b = %wn, %c = %w) -> (…) {
//   %o = graph.matmul %h, %w         =>      %h = graph.rms_norm %a, %b
//                                            %m = graph.matmul %h, %c
//                                            graph.yield %m }
//
// Inputs come in the order of their first use in the body. Constants move into the regions.
#include "mlir/IR/IRMapping.h"
#include "passes/GroupRegions.h"
#include "passes/ModelNames.h"
#include "passes/Passes.h"

namespace kiln {
#define GEN_PASS_DEF_FUSEREGIONS
#include "passes/Passes.h.inc"
} // namespace kiln

using namespace mlir;
using namespace kiln;
using namespace kiln::graph;

/// The location of a region: what its ops' names share, else the name of its head (or last op).
static Location getRegionLocation(const RegionGroup &group) {
  SmallVector<Location> locs;
  Operation *head = group.ops.back();
  for (Operation *op : group.ops) {
    locs.push_back(op->getLoc());
    FusionKind kind = cast<FusableOpInterface>(op).getFusionKind();
    if (kind == FusionKind::Contraction || kind == FusionKind::Attention)
      head = op;
  }
  return getCommonModelLocation(locs, head->getLoc());
}

/// Builds the region at the builder's insertion point; `values` maps the results of regions built
/// before, and receives this one's.
static void buildRegion(OpBuilder &builder, const RegionGroup &group, IRMapping &values) {
  llvm::SetVector<Value> inputs;
  llvm::SetVector<Operation *> constants;
  llvm::SmallPtrSet<Operation *, 8> inside(group.ops.begin(), group.ops.end());
  for (Operation *op : group.ops)
    for (Value operand : op->getOperands()) {
      Operation *producer = operand.getDefiningOp();
      if (producer && isa<ConstantOp>(producer))
        constants.insert(producer);
      else if (!producer || !inside.contains(producer))
        inputs.insert(operand);
    }

  SmallVector<Value> operands;
  for (Value input : inputs)
    operands.push_back(values.lookupOrDefault(input));
  auto fused = FusedOp::create(builder, getRegionLocation(group),
                               ValueRange(group.results).getTypes(), operands);
  for (Value operand : operands) // weights beside their only reader
    if (auto use = operand.getDefiningOp<WeightRefOp>(); use && use->hasOneUse())
      use->moveBefore(fused);

  OpBuilder::InsertionGuard guard(builder);
  Block *body = builder.createBlock(&fused.getBody());
  IRMapping mapping;
  for (Value input : inputs)
    mapping.map(input, body->addArgument(input.getType(), input.getLoc()));
  for (Operation *constant : constants)
    builder.clone(*constant, mapping);
  for (Operation *op : group.ops)
    builder.clone(*op, mapping);
  SmallVector<Value> yielded;
  for (Value result : group.results)
    yielded.push_back(mapping.lookup(result));
  YieldOp::create(builder, fused.getLoc(), yielded);
  for (auto [result, output] : llvm::zip(group.results, fused.getOutputs()))
    values.map(result, output);
}

namespace {
struct FuseRegions : kiln::impl::FuseRegionsBase<FuseRegions> {
  void runOnOperation() override {
    FuncOp func = getOperation();
    FailureOr<std::vector<RegionGroup>> groups = groupRegions(func);
    if (failed(groups))
      return signalPassFailure();

    Block &block = func.getBody().front();
    SmallVector<Operation *> old;
    for (Operation &op : block.without_terminator())
      if (!isa<WeightRefOp>(op))
        old.push_back(&op);
    // Two regions that read one weight keep one use; a use must stand before both.
    for (auto use : llvm::make_early_inc_range(block.getOps<WeightRefOp>()))
      use->moveBefore(&block, block.begin());

    Operation *terminator = block.getTerminator();
    OpBuilder builder(terminator);
    IRMapping values;
    for (const RegionGroup &group : *groups)
      buildRegion(builder, group, values);
    for (OpOperand &operand : terminator->getOpOperands())
      operand.set(values.lookupOrDefault(operand.get()));
    for (Operation *op : llvm::reverse(old))
      if (op->use_empty())
        op->erase();
    for (auto use : llvm::make_early_inc_range(block.getOps<WeightRefOp>()))
      if (use->use_empty())
        use.erase();
  }
};
} // namespace
