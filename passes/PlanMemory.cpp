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

/// A use of a buffer: the stretch between barriers, and whether the contents count.
struct Use {
  int64_t moment;
  bool reads;
};

/// Stretches of the line that run again.
struct Loop {
  int64_t begin, end;
};

class Liveness {
public:
  explicit Liveness(exec::FuncOp func);
  /// First and last moment of a buffer; {0, 0} where nothing uses it.
  std::pair<int64_t, int64_t> getRange(Value buffer) const;

private:
  void addUse(Value value, int64_t moment, bool reads);

  llvm::DenseMap<Value, SmallVector<Use>> uses; // in order
  SmallVector<Loop> loops;
};

} // namespace

void Liveness::addUse(Value value, int64_t moment, bool reads) {
  while (auto view = value.getDefiningOp<exec::ViewOp>())
    value = view.getBuffer();
  if (value.getDefiningOp<exec::BufferOp>())
    uses[value].push_back({moment, reads});
}

Liveness::Liveness(exec::FuncOp func) {
  int64_t moment = 0;
  llvm::DenseMap<int64_t, int64_t> marks; // those passed
  auto jump = [&](int64_t mark) {
    if (auto begin = marks.find(mark); begin != marks.end())
      loops.push_back({begin->second, moment});
    ++moment;
  };
  for (Operation &op : func.getBody().front()) {
    if (auto launch = dyn_cast<exec::LaunchOp>(op)) {
      for (Value value : launch.getReads())
        addUse(value, moment, true);
      for (Value value : launch.getWrites())
        addUse(value, moment, false);
    } else if (auto mark = dyn_cast<exec::MarkOp>(op)) {
      marks[mark.getNumber()] = moment;
    } else if (auto branch = dyn_cast<exec::BranchOp>(op)) {
      addUse(branch.getCondition(), moment, true);
      jump(branch.getMark());
    } else if (auto always = dyn_cast<exec::JumpOp>(op)) {
      jump(always.getMark());
    } else if (auto set = dyn_cast<exec::SetDimsOp>(op)) {
      addUse(set.getValues(), moment++, true);
    } else if (isa<exec::BarrierOp>(op)) {
      ++moment;
    }
  }
}

std::pair<int64_t, int64_t> Liveness::getRange(Value buffer) const {
  auto found = uses.find(buffer);
  if (found == uses.end())
    return {0, 0};
  ArrayRef<Use> all = found->second;
  int64_t first = all.front().moment, last = all.back().moment;
  for (bool changed = true; changed;) {
    changed = false;
    for (const Loop &loop : loops) {
      const Use *inside = llvm::find_if(
          all, [&](Use use) { return use.moment >= loop.begin && use.moment <= loop.end; });
      bool isUsed = inside != all.end();
      bool meets = first <= loop.end && last >= loop.begin;
      bool carries = first < loop.begin || last > loop.end || (isUsed && inside->reads);
      if (!meets || !carries || (first <= loop.begin && last >= loop.end))
        continue;
      first = std::min(first, loop.begin);
      last = std::max(last, loop.end);
      changed = true;
    }
  }
  return {first, last};
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
    bool isLong = variables.getRanges().size() > variables.getDimCount() + kMaxVariables ||
                  variables.getLength() > kMaxLength;
    if (isLong && variables.getRanges().size() != variables.getDimCount())
      for (auto [buffer, op] : llvm::zip(buffers, ops))
        buffer.bytes = {variables.getLargest(op.getBytes().getResult(0))};

    llvm::Expected<ArenaPlan> plan = planArena(buffers, variables.getRanges());
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
