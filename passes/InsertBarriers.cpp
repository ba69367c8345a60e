// Every worker walks the schedule on its own and takes its share of each launch; a barrier makes
// all wait for all. One is needed before a launch exactly where it meets an earlier launch since
// the last barrier in some memory that one of the two writes: workers cut their shares differently,
// so no dependence between launches stays within a worker. A launch writes its `writes` and the
// layers of caches among its `reads`. Branches, jumps and set_dims are barriers themselves: what
// they read has been written, and a mark is reached with no more accesses behind it than by walking
// on.
#include "passes/Passes.h"

namespace kiln {
#define GEN_PASS_DEF_INSERTBARRIERS
#include "passes/Passes.h.inc"
} // namespace kiln

using namespace mlir;
using namespace kiln;

namespace {

/// A buffer, or a layer of a cache.
using Memory = std::pair<Value, int64_t>;

struct Accesses {
  SmallVector<Memory> reads, writes;
};

} // namespace

/// The buffer, input, output or weight that a value lies in.
static Value getMemory(Value value) {
  while (auto view = value.getDefiningOp<exec::ViewOp>())
    value = view.getBuffer();
  return value;
}

static Accesses getAccesses(exec::LaunchOp launch) {
  Accesses accesses;
  size_t cache = 0;
  for (Value value : launch.getReads()) {
    if (isa<graph::CacheType>(value.getType()))
      accesses.writes.push_back({value, launch.getLayers()[cache++]});
    else
      accesses.reads.push_back({getMemory(value), 0});
  }
  for (Value value : launch.getWrites())
    accesses.writes.push_back({getMemory(value), 0});
  return accesses;
}

namespace {
struct InsertBarriers : kiln::impl::InsertBarriersBase<InsertBarriers> {
  void runOnOperation() override {
    llvm::DenseSet<Memory> read, written; // since the last barrier
    for (Operation &op : getOperation().getBody().front()) {
      if (isa<exec::BarrierOp, exec::BranchOp, exec::JumpOp, exec::SetDimsOp>(op)) {
        read.clear();
        written.clear();
      }
      auto launch = dyn_cast<exec::LaunchOp>(op);
      if (!launch)
        continue;
      Accesses now = getAccesses(launch);
      auto isWritten = [&](Memory memory) { return written.contains(memory); };
      auto isTouched = [&](Memory memory) {
        return written.contains(memory) || read.contains(memory);
      };
      if (llvm::any_of(now.reads, isWritten) || llvm::any_of(now.writes, isTouched)) {
        OpBuilder builder(launch);
        exec::BarrierOp::create(builder, launch.getLoc());
        read.clear();
        written.clear();
      }
      read.insert(now.reads.begin(), now.reads.end());
      written.insert(now.writes.begin(), now.writes.end());
    }
  }
};
} // namespace
