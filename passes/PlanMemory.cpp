// Sets the offsets of a function's buffers. Time is counted in barriers: workers may run ahead of
// each other between two barriers, so a buffer is live from the stretch of its first launch to that
// of its last, both whole; of a buffer that carries something into a loop, or out of it, or from
// one round to the next, the loop is part of that. The planner itself (PlanArena.cpp) works on
// plain numbers, linear in variables that BufferSizes.cpp makes of the sizes.
#include "passes/BufferSizes.h"
#include "passes/Passes.h"
#include "passes/PlanArena.h"
#include "llvm/ADT/DenseMap.h"

namespace kiln {
#define GEN_PASS_DEF_PLANMEMORY
#include "passes/Passes.h.inc"
} // namespace kiln

using namespace mlir;
using namespace kiln;

/// Products and quotients that sizes are told by at most; where there are more, all buffers are as
/// large as they can be.
static constexpr size_t kMaxVariables = 24, kMaxLength = 200;

namespace {

/// A use of a buffer by the op of that number, and whether the contents count.
struct Use {
  size_t op;
  bool reads;
};

/// Ops that run again, from a mark to what jumps back to it.
struct Loop {
  size_t begin, end;
};

class Liveness {
public:
  explicit Liveness(exec::FuncOp func);
  /// First and last moment of a buffer; {0, 0} where nothing uses it.
  std::pair<int64_t, int64_t> getRange(Value buffer) const;

private:
  void addUse(Value value, bool reads);

  std::vector<int64_t> moments;                 // of each op: barriers before it
  llvm::DenseMap<Value, SmallVector<Use>> uses; // in order
  SmallVector<Loop> loops;
};

} // namespace

/// A use by the last op.
void Liveness::addUse(Value value, bool reads) {
  while (auto view = value.getDefiningOp<exec::ViewOp>())
    value = view.getBuffer();
  if (value.getDefiningOp<exec::BufferOp>())
    uses[value].push_back({moments.size() - 1, reads});
}

Liveness::Liveness(exec::FuncOp func) {
  int64_t moment = 0;
  llvm::DenseMap<int64_t, size_t> marks; // those passed
  auto addJump = [&](int64_t mark) {
    if (auto begin = marks.find(mark); begin != marks.end())
      loops.push_back({begin->second, moments.size() - 1});
  };
  for (Operation &op : func.getBody().front()) {
    moments.push_back(moment);
    moment += isa<exec::BarrierOp, exec::BranchOp, exec::JumpOp, exec::SetDimsOp>(op);
    if (auto launch = dyn_cast<exec::LaunchOp>(op)) {
      for (Value value : launch.getReads())
        addUse(value, true);
      for (Value value : launch.getWrites())
        addUse(value, false);
    } else if (auto mark = dyn_cast<exec::MarkOp>(op)) {
      marks[mark.getNumber()] = moments.size() - 1;
    } else if (auto branch = dyn_cast<exec::BranchOp>(op)) {
      addUse(branch.getCondition(), true);
      addJump(branch.getMark());
    } else if (auto jump = dyn_cast<exec::JumpOp>(op)) {
      addJump(jump.getMark());
    } else if (auto set = dyn_cast<exec::SetDimsOp>(op)) {
      addUse(set.getValues(), true);
    }
  }
}

std::pair<int64_t, int64_t> Liveness::getRange(Value buffer) const {
  auto found = uses.find(buffer);
  if (found == uses.end())
    return {0, 0};
  ArrayRef<Use> all = found->second;
  size_t first = all.front().op, last = all.back().op;
  for (bool changed = true; changed;) {
    changed = false;
    for (const Loop &loop : loops) {
      if (first > loop.end || last < loop.begin || (first <= loop.begin && last >= loop.end))
        continue;
      const Use *inside = llvm::find_if(all, [&](Use use) { return use.op >= loop.begin; });
      bool carries = first < loop.begin || last > loop.end || inside->reads;
      if (!carries)
        continue;
      first = std::min(first, loop.begin);
      last = std::max(last, loop.end);
      changed = true;
    }
  }
  return {moments[first], moments[last]};
}

namespace {
struct PlanMemory : kiln::impl::PlanMemoryBase<PlanMemory> {
  void runOnOperation() override {
    exec::FuncOp func = getOperation();
    auto ops = llvm::to_vector(func.getBody().getOps<exec::BufferOp>());
    SizeVariables variables(func);
    Liveness liveness(func);
    std::vector<ArenaBuffer> buffers;
    for (exec::BufferOp buffer : ops) {
      auto [first, last] = liveness.getRange(buffer);
      buffers.push_back({variables.getLinear(buffer.getBytes().getResult(0)), first, last});
    }
    bool isLong = variables.getVariableCount() > variables.getDimCount() + kMaxVariables ||
                  variables.getLength() > kMaxLength;
    if (isLong && variables.getVariableCount() != variables.getDimCount())
      for (auto [buffer, op] : llvm::zip(buffers, ops))
        buffer.bytes = {variables.getLargest(op.getBytes().getResult(0))};

    auto compared = variables.getPoints(64), examined = variables.getPoints(1000);
    llvm::Expected<ArenaPlan> plan =
        planArena(buffers, variables.getDomain(), {compared, examined}, kMaxLength);
    if (!plan) {
      func.emitOpError() << llvm::toString(plan.takeError());
      return signalPassFailure();
    }
    for (auto [op, offset] : llvm::zip(ops, plan->offsets))
      op.setOffsetAttr(variables.getMap(offset));
    func.setArenaBytesAttr(variables.getMap(plan->arenaBytes));
    func.setLowerBoundBytesAttr(variables.getMap(plan->lowerBounds));
  }
};
} // namespace
