// Decides which ops of a function share a region, by rules that know ops only by their FusionKind:
//
//  1. A contraction or attention heads a region of its own. An elementwise op joins an operand's
//     region as epilogue. Contractions of one input and width whose results meet in an elementwise
//     op share a region (gate and up).
//  2. Norms and gathers that feed a contraction, and what only they use before them, are recomputed
//     in its region as prologue; so are rotations, norms of heads and views that feed attention. A
//     value with other users is recomputed only where that is cheap (a norm, a view).
//  3. What is left and still needed forms regions of row-wise ops, joined along their edges, but
//  for
//     ops that are to be alone.
//
// Array ops (`graph.compute`) are told by their records instead: GroupArrays.cpp.
//
// Two groups are merged only where no path between them leaves them, so the groups never form a
// cycle; ops with side effects keep their order because the order is an edge like any other.
// Recomputing an op in a region adds no path: its operands reached the region through it before.
#include "passes/Grouping.h"
#include <set>

using namespace mlir;
using namespace kiln;
using namespace kiln::graph;

LogicalResult Grouping::collectOps() {
  for (Operation *op : line) {
    if (isa<WeightRefOp, ConstantOp>(op))
      continue;
    if (!isa<FusableOpInterface>(op))
      return op->emitOpError() << "cannot take part in a kernel";
    index[op] = ops.size();
    ops.push_back(op);
  }
  successors.resize(ops.size());
  groups.resize(ops.size());
  int lastEffect = -1;
  for (auto [i, op] : llvm::enumerate(ops)) {
    for (Value operand : op->getOperands())
      if (int from = producer(operand); from >= 0)
        successors[from].push_back(i);
    if (!isMemoryEffectFree(op)) {
      if (lastEffect >= 0)
        successors[lastEffect].push_back(i);
      lastEffect = i;
    }
    groupOf.push_back(i);
    groups[i].owned.resize(ops.size());
    groups[i].copied.resize(ops.size());
    groups[i].owned.set(i);
  }
  return success();
}

/// True where a path leads from one group to the other through a third.
bool Grouping::hasPathAround(unsigned from, unsigned to) const {
  llvm::BitVector seen(groups.size());
  SmallVector<unsigned> work;
  auto push = [&](unsigned group, bool first) {
    for (unsigned op : groups[group].owned.set_bits())
      for (unsigned next : successors[op]) {
        unsigned target = groupOf[next];
        if (target == group || (first && target == to) || seen[target])
          continue;
        seen.set(target);
        work.push_back(target);
      }
  };
  push(from, /*first=*/true);
  while (!work.empty() && !seen[to])
    push(work.pop_back_val(), /*first=*/false);
  return seen[to];
}

void Grouping::merge(unsigned into, unsigned from) {
  for (unsigned op : groups[from].owned.set_bits())
    groupOf[op] = into;
  groups[into].owned |= groups[from].owned;
  groups[into].copied |= groups[from].copied;
  groups[from].merged = true;
}

// ---- 1. Heads and epilogues -------------------------------------------------------------------

/// Merges the contractions whose results meet in `op`.
void Grouping::mergeHeads(Operation *op) {
  int first = -1;
  for (Value operand : op->getOperands()) {
    int from = producer(operand);
    if (from < 0 || groups[groupOf[from]].kind != GroupKind::Contraction)
      continue;
    unsigned group = groupOf[from];
    if (first < 0) {
      first = group;
    } else if (group != unsigned(first) && groups[group].input == groups[first].input &&
               groups[group].width == groups[first].width && canMerge(first, group)) {
      merge(first, group);
    }
  }
}

void Grouping::joinEpilogues() {
  for (auto [i, op] : llvm::enumerate(ops)) {
    if (kindOf(i) == FusionKind::Contraction) {
      groups[i].kind = GroupKind::Contraction;
      groups[i].input = op->getOperand(0);
      groups[i].width = cast<RankedTensorType>(op->getResult(0).getType()).getShape().back();
    } else if (kindOf(i) == FusionKind::Attention) {
      groups[i].kind = GroupKind::Attention;
    } else if (kindOf(i) == FusionKind::Elementwise || joinsProduct(i)) {
      if (kindOf(i) == FusionKind::Elementwise)
        mergeHeads(op);
      // The latest region first: an op that adds what two regions give joins the one it waits for.
      std::set<unsigned, std::greater<>> candidates;
      for (Value operand : op->getOperands())
        if (int from = producer(operand); from >= 0)
          if (groups[groupOf[from]].kind != GroupKind::Single)
            candidates.insert(groupOf[from]);
      for (unsigned group : candidates)
        if (canMerge(group, i)) {
          merge(group, i);
          break;
        }
    }
  }
}

// ---- 2. Prologues -----------------------------------------------------------------------------

bool Grouping::isOnlyUsedIn(unsigned group, unsigned op) const {
  return llvm::all_of(ops[op]->getUsers(), [&](Operation *user) {
    auto it = index.find(user);
    if (it == index.end())
      return false; // returned
    return groups[group].owned[it->second] ||
           (groups[group].copied[it->second] && isOnlyUsedIn(group, it->second));
  });
}

/// True where an epilogue of the group reads the op's value: then it stays in memory, for a
/// prologue is computed for the head alone.
bool Grouping::feedsEpilogue(unsigned group, unsigned op) const {
  return llvm::any_of(ops[op]->getUsers(), [&](Operation *user) {
    auto it = index.find(user);
    return it != index.end() && groups[group].owned[it->second] &&
           kindOf(it->second) == FusionKind::Elementwise;
  });
}

/// True where with `op` the group would hold a gather and what it picks from, of which it needs all
/// rows.
bool Grouping::meetsGather(unsigned group, unsigned op) const {
  auto isInside = [&](int other) { return other >= 0 && contains(group, other); };
  if (kindOf(op) == FusionKind::Gather &&
      llvm::any_of(ops[op]->getOperands(), [&](Value v) { return isInside(producer(v)); }))
    return true;
  return llvm::any_of(ops[op]->getUsers(), [&](Operation *user) {
    auto it = index.find(user);
    return it != index.end() && kindOf(it->second) == FusionKind::Gather && isInside(it->second);
  });
}

/// Copies `op` into the group where the rules allow it, then its producers. `direct`: it feeds the
/// head with no more than views between.
void Grouping::copyProducers(unsigned group, unsigned op, bool direct) {
  if (groups[groupOf[op]].kind != GroupKind::Single || contains(group, op))
    return;
  FusionKind kind = kindOf(op);
  bool isContraction = groups[group].kind == GroupKind::Contraction;
  bool allowed = kind == FusionKind::View;
  if (isContraction && kind == FusionKind::RowReduction)
    allowed = direct || isOnlyUsedIn(group, op);
  if (isContraction && kind == FusionKind::Gather)
    allowed = isOnlyUsedIn(group, op);
  if (isContraction && kind == FusionKind::Elementwise)
    allowed = !direct && isOnlyUsedIn(group, op);
  if (!isContraction && (kind == FusionKind::Rotary || kind == FusionKind::HeadReduction))
    allowed = isOnlyUsedIn(group, op);
  if (!allowed || meetsGather(group, op) || (kind != FusionKind::View && feedsEpilogue(group, op)))
    return;
  groups[group].copied.set(op);
  if (kind == FusionKind::Gather)
    return; // it needs all rows of its operand
  for (Value operand : ops[op]->getOperands())
    if (int from = producer(operand); from >= 0)
      copyProducers(group, from, direct && kind == FusionKind::View);
}

/// Copies the views that ops of the group read.
void Grouping::copyViews(unsigned group) {
  SmallVector<unsigned> work;
  for (unsigned op = 0; op < ops.size(); ++op)
    if (contains(group, op))
      work.push_back(op);
  while (!work.empty()) {
    unsigned op = work.pop_back_val();
    if (kindOf(op) == FusionKind::Gather)
      continue;
    for (Value operand : ops[op]->getOperands()) {
      int from = producer(operand);
      if (from < 0 || contains(group, from) || kindOf(from) != FusionKind::View ||
          meetsGather(group, from))
        continue;
      groups[group].copied.set(from);
      work.push_back(from);
    }
  }
}

void Grouping::addPrologues() {
  for (unsigned group = 0; group < groups.size(); ++group) {
    GroupKind kind = groups[group].kind;
    if (groups[group].merged || kind == GroupKind::Single)
      continue;
    for (unsigned op : groups[group].owned.set_bits()) {
      FusionKind head = kindOf(op);
      if (head != FusionKind::Contraction && head != FusionKind::Attention)
        continue;
      for (Value operand : ops[op]->getOperands())
        if (int from = producer(operand); from >= 0)
          copyProducers(group, from, /*direct=*/true);
    }
    copyViews(group);
  }
}

// ---- 3. What is left --------------------------------------------------------------------------

/// The ops in no region whose values are read from memory: by a region that does not recompute
/// them, by another such op, or by the return.
llvm::BitVector Grouping::findNeeded() const {
  llvm::BitVector needed(ops.size());
  auto isRead = [&](unsigned op, Operation *user) {
    auto it = index.find(user);
    if (it == index.end())
      return true;
    for (const Group &group : groups) {
      bool inRegion = !group.merged && group.kind != GroupKind::Single;
      if (inRegion && (group.owned[it->second] || group.copied[it->second]) && !group.copied[op])
        return true;
    }
    bool viewsAreCopied =
        kindOf(op) == FusionKind::View && kindOf(it->second) != FusionKind::Gather;
    return needed[it->second] && !viewsAreCopied;
  };
  for (unsigned op = ops.size(); op-- > 0;)
    if (groups[groupOf[op]].kind == GroupKind::Single)
      needed[op] =
          llvm::any_of(ops[op]->getUsers(), [&](Operation *user) { return isRead(op, user); });
  return needed;
}

/// True where a gather in one group would read rows that the other computes.
bool Grouping::gathersFromItself(unsigned left, unsigned right) const {
  for (auto [reader, writer] : {std::pair(left, right), std::pair(right, left)})
    for (unsigned op : groups[reader].owned.set_bits())
      if (kindOf(op) == FusionKind::Gather)
        for (Value operand : ops[op]->getOperands())
          if (int from = producer(operand); from >= 0 && groupOf[from] == writer)
            return true;
  return false;
}

void Grouping::groupRest() {
  llvm::BitVector needed = findNeeded();
  auto rowsOf = [&](unsigned op) { return getRowSymbol(ops[op]->getResult(0).getType()); };
  for (unsigned op : needed.set_bits()) {
    groups[op].kind = GroupKind::RowWise;
    for (Value operand : ops[op]->getOperands()) {
      int from = producer(operand);
      if (from < 0 || rowsOf(from) != rowsOf(op))
        continue;
      unsigned left = groupOf[from], right = groupOf[op];
      if (kindOf(from) == FusionKind::Alone || kindOf(op) == FusionKind::Alone)
        continue;
      if (left != right && groups[left].kind == GroupKind::RowWise &&
          !gathersFromItself(left, right) && canMerge(left, right))
        merge(left, right);
    }
  }
  for (unsigned group = 0; group < groups.size(); ++group)
    if (!groups[group].merged && groups[group].kind == GroupKind::RowWise)
      copyViews(group);
}

// ---- Order ------------------------------------------------------------------------------------

/// The regions in an order in which each runs after those it reads from, else by program order.
std::vector<RegionGroup> Grouping::order() {
  SmallVector<unsigned> regions;
  for (unsigned group = 0; group < groups.size(); ++group)
    if (!groups[group].merged && groups[group].kind != GroupKind::Single)
      regions.push_back(group);

  llvm::BitVector results(ops.size()); // ops whose values some region or the return reads
  std::vector<std::set<unsigned>> readers(groups.size());
  std::vector<unsigned> waiting(groups.size());
  auto addEdge = [&](unsigned from, unsigned to) {
    if (from != to && readers[from].insert(to).second)
      ++waiting[to];
  };
  for (unsigned group : regions)
    for (unsigned op = 0; op < ops.size(); ++op) {
      if (!contains(group, op))
        continue;
      for (Value operand : ops[op]->getOperands())
        if (int from = producer(operand); from >= 0 && !contains(group, from)) {
          addEdge(groupOf[from], group);
          results.set(from);
        }
    }
  int lastEffect = -1;
  for (auto [i, op] : llvm::enumerate(ops))
    if (!isMemoryEffectFree(op)) {
      if (lastEffect >= 0)
        addEdge(groupOf[lastEffect], groupOf[i]);
      lastEffect = i;
    }
  for (auto [i, op] : llvm::enumerate(ops))
    if (llvm::any_of(op->getUsers(), [&](Operation *user) { return !index.contains(user); }))
      results.set(i); // read elsewhere, or returned

  std::set<unsigned> ready; // by the program order of a group's first op
  for (unsigned group : regions)
    if (waiting[group] == 0)
      ready.insert(group);
  std::vector<RegionGroup> ordered;
  size_t visited = 0;
  while (!ready.empty()) {
    unsigned group = *ready.begin();
    ready.erase(ready.begin());
    ++visited;
    RegionGroup region;
    bool hasEffect = false;
    for (unsigned op = 0; op < ops.size(); ++op) {
      if (contains(group, op))
        region.ops.push_back(ops[op]);
      if (groups[group].owned[op] && results[op])
        llvm::append_range(region.results, ops[op]->getResults());
      hasEffect |= groups[group].owned[op] && !isMemoryEffectFree(ops[op]);
    }
    if (hasEffect || !region.results.empty())
      ordered.push_back(std::move(region));
    for (unsigned reader : readers[group])
      if (--waiting[reader] == 0)
        ready.insert(reader);
  }
  if (visited != regions.size())
    llvm::report_fatal_error("groups of ops form a cycle");
  return ordered;
}

LogicalResult Grouping::run(std::vector<RegionGroup> &result) {
  if (failed(collectOps()))
    return failure();
  joinEpilogues();
  addPrologues();
  groupArrays();
  groupRest();
  result = order();
  return success();
}

FailureOr<std::vector<RegionGroup>> kiln::groupRegions(ArrayRef<Operation *> line) {
  std::vector<RegionGroup> result;
  if (failed(Grouping(line).run(result)))
    return failure();
  return result;
}
