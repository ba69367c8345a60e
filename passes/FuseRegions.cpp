// Builds a `graph.fused` for each group of ops that GroupRegions.cpp chose:
//
//   %h = graph.rms_norm %x, %wn            %o = graph.fused (%a = %x, %b = %wn, %c = %w) -> (…) {
//   %o = graph.matmul %h, %w         =>      %h = graph.rms_norm %a, %b
//                                            %m = graph.matmul %h, %c
//                                            graph.yield %m }
//
// Inputs come in the order of their first use in the body. Constants move into the regions; one
// that control flow or the function's caller takes is copied to memory by a region. Control flow
// divides a block: no region reaches across it, for dims may change there.
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

static bool isControlFlow(Operation *op) { return isa<IfOp, LoopOp, SetDimsOp>(op); }

/// Gives what an op takes from memory a place there, where no op computes it: constants and, of a
/// return, inputs and what is returned twice.
static void bringToMemory(Operation *op) {
  bool isReturn = isa<ReturnOp>(op);
  llvm::SmallPtrSet<Value, 8> seen;
  for (OpOperand &operand : op->getOpOperands()) {
    Value value = operand.get();
    bool isNew = seen.insert(value).second;
    if (!value.getDefiningOp<ConstantOp>() &&
        !(isReturn && (!isNew || !value.getDefiningOp() || value.getDefiningOp<WeightRefOp>())))
      continue;
    OpBuilder builder(op);
    operand.set(ComputeOp::create(builder, op->getLoc(), value.getType(), "identity", value,
                                  builder.getDictionaryAttr({}))
                    .getResult(0));
  }
}

/// Groups a block's ops and those of the blocks in it. `values` maps what was computed to the
/// results of regions.
static LogicalResult fuseBlock(Block &block, IRMapping &values) {
  // Two regions that read one weight keep one use; a use must stand before both.
  for (auto use : llvm::make_early_inc_range(block.getOps<WeightRefOp>()))
    use->moveBefore(&block, block.begin());
  SmallVector<Operation *> ends, old;
  for (Operation &op : block)
    if (isControlFlow(&op) || op.hasTrait<OpTrait::IsTerminator>())
      ends.push_back(&op);
  for (Operation *end : ends)
    bringToMemory(end);

  SmallVector<Operation *> line;
  Operation *next = &block.front();
  for (Operation *end : ends) {
    for (line.clear(); next != end; next = next->getNextNode())
      if (!isa<WeightRefOp>(next))
        line.push_back(next);
    next = end->getNextNode();
    FailureOr<std::vector<RegionGroup>> groups = groupRegions(line);
    if (failed(groups))
      return failure();
    OpBuilder builder(end);
    for (const RegionGroup &group : *groups)
      buildRegion(builder, group, values);
    for (OpOperand &operand : end->getOpOperands())
      operand.set(values.lookupOrDefault(operand.get()));
    for (Region &region : end->getRegions())
      if (failed(fuseBlock(region.front(), values)))
        return failure();
    llvm::append_range(old, line);
  }
  for (Operation *op : llvm::reverse(old))
    if (op->use_empty())
      op->erase();
  for (auto use : llvm::make_early_inc_range(block.getOps<WeightRefOp>()))
    if (use->use_empty())
      use.erase();
  return success();
}

namespace {
struct FuseRegions : kiln::impl::FuseRegionsBase<FuseRegions> {
  void runOnOperation() override {
    IRMapping values;
    if (failed(fuseBlock(getOperation().getBody().front(), values)))
      return signalPassFailure();
  }
};
} // namespace
