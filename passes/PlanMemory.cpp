// Sets the offsets of a function's buffers. Time is counted in barriers: workers may run ahead of
// each other between two barriers, so a buffer is live from the stretch of its first launch to that
// of its last, both whole. The planner itself (PlanArena.cpp) works on plain numbers.
#include "mlir/Analysis/FlatLinearValueConstraints.h"
#include "passes/Passes.h"
#include "passes/PlanArena.h"

namespace kiln {
#define GEN_PASS_DEF_PLANMEMORY
#include "passes/Passes.h.inc"
} // namespace kiln

using namespace mlir;
using namespace kiln;

/// The coefficients of a map's only result; fails where it is not linear in the dims.
static FailureOr<LinearBytes> getLinear(AffineMap map) {
  std::vector<SmallVector<int64_t, 8>> flat;
  FlatLinearConstraints locals;
  if (failed(getFlattenedAffineExprs(map, &flat, &locals)) || flat.size() != 1 ||
      locals.getNumLocalVars() != 0)
    return failure();
  LinearBytes linear{flat.front().back()};
  llvm::append_range(linear, ArrayRef(flat.front()).drop_back());
  return linear;
}

static AffineMapAttr getMap(ArrayRef<LinearBytes> functions, size_t dims, MLIRContext *context) {
  SmallVector<AffineExpr> results;
  for (const LinearBytes &function : functions) {
    AffineExpr expr = getAffineConstantExpr(function.front(), context);
    for (size_t i = 0; i < dims; ++i)
      expr = expr + getAffineSymbolExpr(i, context) * function[i + 1];
    results.push_back(expr);
  }
  return AffineMapAttr::get(AffineMap::get(0, dims, results, context));
}

namespace {
struct PlanMemory : kiln::impl::PlanMemoryBase<PlanMemory> {
  void runOnOperation() override {
    exec::FuncOp func = getOperation();
    SmallVector<DimRange> dims;
    for (auto dim : func.getDims().getAsRange<exec::DimBoundsAttr>())
      dims.push_back({dim.getMin(), dim.getMax()});

    llvm::DenseMap<Value, size_t> index;
    SmallVector<exec::BufferOp> ops;
    std::vector<ArenaBuffer> buffers;
    for (auto buffer : func.getBody().getOps<exec::BufferOp>()) {
      FailureOr<LinearBytes> bytes = getLinear(buffer.getBytes());
      if (failed(bytes)) {
        buffer.emitOpError() << "has a size that is not linear in the dims: "
                             << AffineMapAttr::get(buffer.getBytes());
        return signalPassFailure();
      }
      index[buffer] = ops.size();
      ops.push_back(buffer);
      buffers.push_back({*bytes, INT64_MAX, -1});
    }

    int64_t moment = 0;
    for (Operation &op : func.getBody().front()) {
      moment += isa<exec::BarrierOp>(op);
      if (isa<exec::LaunchOp>(op))
        for (Value operand : op.getOperands())
          if (auto it = index.find(operand); it != index.end()) {
            ArenaBuffer &buffer = buffers[it->second];
            buffer.first = std::min(buffer.first, moment);
            buffer.last = std::max(buffer.last, moment);
          }
    }
    for (ArenaBuffer &buffer : buffers)
      if (buffer.last < 0)
        buffer.first = buffer.last = 0; // never used

    llvm::Expected<ArenaPlan> plan = planArena(buffers, dims);
    if (!plan) {
      func.emitOpError() << llvm::toString(plan.takeError());
      return signalPassFailure();
    }
    for (auto [op, offset] : llvm::zip(ops, plan->offsets))
      op.setOffsetAttr(getMap(offset, dims.size(), &getContext()));
    func.setArenaBytesAttr(getMap(plan->arenaBytes, dims.size(), &getContext()));
    func.setLowerBoundBytesAttr(getMap(plan->lowerBounds, dims.size(), &getContext()));
  }
};
} // namespace
