// Places buffers whose sizes are functions of the dims. The base is greedy best fit: take the
// buffers in some order and put each into the tightest gap between those already placed that it
// shares a moment with. Offsets and sizes are functions, so "fits" means "for all dims within
// bounds". Where it depends on the dims which of several buffers reaches higher, what lies above
// them begins at the largest of their ends, which is a function too; so one plan serves dims that
// would have had plans of their own.
//
// What greedy reaches depends on the order, and largest-first can miss the bound by a fifth on a
// plain decoder layer. A model repeats few kinds of buffers many times, so the planner searches
// over orders of kinds (equal size and lifetime), and keeps the best plan; it stops at the lower
// bound. Plans are compared at a few points of the dims. At each of them sizes are plain numbers,
// for which a good plan is found faster: its buffers from the lowest offset to the highest are an
// order that leads to the same arena there, and may serve the other points as well. A finished
// plan is examined at many more points; where it is worst, the next one is compared as well.
#include "passes/PlanArena.h"
#include "passes/SizeTable.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/MathExtras.h"
#include <algorithm>
#include <map>
#include <numeric>
#include <set>

using namespace kiln;
using llvm::ArrayRef;
using llvm::SmallVector;
using Id = SizeTable::Id;
using Largest = SizeTable::Largest;

static constexpr int64_t kAlignment = 64;
static constexpr int64_t kLargest = int64_t(1) << 62;
/// Orders that are tried at most, and work (comparisons, values at points) that is spent at most.
static constexpr int kMaxOrders = 5040;
static constexpr int64_t kMaxWork = 60'000'000;
static constexpr size_t kPlansOfPoints = 16;
static constexpr int64_t kRaise = 20;           // the work of making a function
static constexpr size_t kMaxFunctions = 20'000; // before the table is made anew
/// Plans that are made at most, points that each adds to those where the next is compared, and the
/// excess with which none is tried again.
static constexpr int kRounds = 6;
static constexpr size_t kWorstPoints = 3;
static constexpr double kGoodExcess = 1.01;

namespace {

/// How much larger than the lower bound an arena is: where that is most, and in the mean.
struct Excess {
  double worst = 1, sum = 0;
  bool operator<(const Excess &other) const {
    return std::tie(worst, sum) < std::tie(other.worst, other.sum);
  }
};

class Planner {
public:
  Planner(ArrayRef<ArenaBuffer> buffers, const SizeDomain &domain,
          ArrayRef<SmallVector<int64_t>> points, size_t maxLength);
  llvm::Error check() const;
  /// `effort`: the work that may be spent.
  ArenaPlan run(int64_t effort);

private:
  using Kinds = SmallVector<SmallVector<size_t>>;
  void findConflicts();
  void findLowerBounds();
  void place(size_t buffer);
  void lift(size_t buffer, ArrayRef<size_t> others, Largest &offset);
  void tryOrder(ArrayRef<size_t> order);
  void tryKinds(ArrayRef<size_t> order);
  void tryPlanOf(size_t point, int64_t effort);
  void findKinds();
  SmallVector<size_t> orderBySize(ArrayRef<int64_t> point) const;
  SmallVector<size_t> vary(SmallVector<size_t> order);

  const SizeDomain &domain;
  ArrayRef<SmallVector<int64_t>> points; // where plans are compared
  size_t maxLength;
  SizeTable table;
  std::vector<ArenaBuffer> buffers;
  std::vector<SmallVector<size_t>> conflicts; // of each buffer: those it is live with
  Kinds kinds;
  LargestBytes lowerBounds;
  SmallVector<int64_t> bounds; // the lower bound at each point

  std::vector<Id> sizes;
  std::vector<Largest> offsets, ends; // of the plan being made
  std::vector<bool> placed;
  SmallVector<int64_t> arena; // of what is placed, at each point

  ArenaPlan best;
  Excess found, least, leastOfKinds; // of the last plan, the best, the best that goes by kinds
  SmallVector<size_t> bestKinds, bestOrder;
  int64_t tries = 0, work = 0; // so far
  uint64_t random = 1;         // a fixed sequence: equal inputs give equal plans
};

} // namespace

Planner::Planner(ArrayRef<ArenaBuffer> given, const SizeDomain &domain,
                 ArrayRef<SmallVector<int64_t>> points, size_t maxLength)
    : domain(domain), points(points), maxLength(maxLength), table(domain, points),
      buffers(given.begin(), given.end()) {
  for (ArenaBuffer &buffer : buffers) {
    buffer.bytes.resize(domain.getVariableCount() + 1);
    for (int64_t &term : buffer.bytes)
      if (term >= 0 && term < kLargest)
        term = llvm::alignTo(term, kAlignment);
  }
}

llvm::Error Planner::check() const {
  unsigned __int128 total = 0;
  for (const ArenaBuffer &buffer : buffers) {
    for (size_t i = 0; i < buffer.bytes.size(); ++i) {
      if (buffer.bytes[i] < 0 || buffer.bytes[i] >= kLargest)
        return llvm::createStringError("a buffer's size has a coefficient of %lld bytes",
                                       (long long)buffer.bytes[i]);
      int64_t most = i ? std::max<int64_t>(domain.getVariable(i - 1).range.max, 1) : 1;
      total += (unsigned __int128)buffer.bytes[i] * most;
    }
    if (total > (unsigned __int128)kLargest)
      return llvm::createStringError(
          "the buffers exceed 2^62 bytes at the upper bounds of the dims");
  }
  return llvm::Error::success();
}

void Planner::findConflicts() {
  std::vector<size_t> byStart(buffers.size());
  std::iota(byStart.begin(), byStart.end(), 0);
  llvm::stable_sort(byStart,
                    [&](size_t a, size_t b) { return buffers[a].first < buffers[b].first; });
  conflicts.resize(buffers.size());
  SmallVector<size_t> live;
  for (size_t buffer : byStart) {
    llvm::erase_if(live, [&](size_t other) { return buffers[other].last < buffers[buffer].first; });
    for (size_t other : live) {
      conflicts[buffer].push_back(other);
      conflicts[other].push_back(buffer);
    }
    live.push_back(buffer);
  }
}

void Planner::findLowerBounds() {
  std::map<int64_t, LinearBytes> change; // at a moment: sizes that begin, less those that ended
  LinearBytes zero(domain.getVariableCount() + 1, 0);
  for (const ArenaBuffer &buffer : buffers) {
    LinearBytes &begin = change.try_emplace(buffer.first, zero).first->second;
    LinearBytes &end = change.try_emplace(buffer.last + 1, zero).first->second;
    for (auto [size, more, less] : llvm::zip(buffer.bytes, begin, end)) {
      more += size;
      less -= size;
    }
  }
  Largest largest;
  table.raise(largest, table.add(zero));
  LinearBytes sum = zero;
  for (const auto &[moment, difference] : change) {
    for (auto [term, more] : llvm::zip(sum, difference))
      term += more;
    table.raise(largest, table.add(sum));
  }
  for (size_t point = 0; point < points.size(); ++point)
    bounds.push_back(std::max<int64_t>(table.at(largest, point), 1));
  table.thin(largest, maxLength);
  lowerBounds = table.getAll(largest);
}

/// Raises the offset until the buffer touches none of the others, which are in the order of their
/// offsets, more or less: once through them is mostly enough.
void Planner::lift(size_t buffer, ArrayRef<size_t> others, Largest &offset) {
  for (bool changed = true; changed;) {
    changed = false;
    work += int64_t(others.size());
    Largest end = table.sum(offset, sizes[buffer]);
    for (size_t other : others) {
      if (table.isAtMost(ends[other], offset) || table.isAtMost(end, offsets[other]))
        continue;
      work += kRaise;
      table.raise(offset, ends[other]);
      table.shorten(offset, maxLength);
      end = table.sum(offset, sizes[buffer]);
      changed = true;
    }
  }
}

/// Puts the buffer at 0, at the end of one that it conflicts with or just below one, or where it
/// then fits above these: where the arena grows least, and then where the gap above is least.
void Planner::place(size_t buffer) {
  SmallVector<size_t> others;
  for (size_t other : conflicts[buffer])
    if (placed[other])
      others.push_back(other);
  size_t last = std::min<size_t>(1, points.size() - 1); // mostly that of the largest dims
  llvm::stable_sort(others, [&](size_t a, size_t b) {
    return table.at(offsets[a], last) < table.at(offsets[b], last);
  });
  // Where thousands of buffers are live together, some have to do.
  size_t most = size_t(kMaxWork / kRaise) / (buffers.size() * (others.size() + 1)) + 1;
  size_t step = others.size() / most + 1;
  SmallVector<Largest> candidates{{table.add(LinearBytes(domain.getVariableCount() + 1, 0))}};
  for (size_t i = 0; i < others.size(); i += step) {
    size_t other = others[i];
    candidates.push_back(ends[other]);
    // Just below, where the offset leaves room in every coefficient.
    LinearBytes below = table.get(offsets[other].front());
    for (auto [term, size] : llvm::zip(below, buffers[buffer].bytes))
      term -= size;
    if (offsets[other].size() == 1 && llvm::all_of(below, [](int64_t term) { return term >= 0; }))
      candidates.push_back({table.add(below)});
  }
  std::sort(candidates.begin(), candidates.end());
  candidates.erase(std::unique(candidates.begin(), candidates.end()), candidates.end());
  for (Largest &candidate : candidates)
    lift(buffer, others, candidate);
  std::sort(candidates.begin(), candidates.end());
  candidates.erase(std::unique(candidates.begin(), candidates.end()), candidates.end());

  SmallVector<Largest> tops;
  SmallVector<double> growths;
  for (const Largest &candidate : candidates) {
    tops.push_back(table.sum(candidate, sizes[buffer]));
    double growth = 0;
    for (size_t point = 0; point < points.size(); ++point)
      growth += double(std::max({table.at(tops.back(), point), bounds[point], arena[point]})) /
                double(bounds[point]);
    growths.push_back(growth);
  }
  work += int64_t(candidates.size() * points.size());
  double leastGrowth = *llvm::min_element(growths), leastGap = -1;
  size_t chosen = 0;
  for (size_t i = 0; i < candidates.size(); ++i) {
    if (growths[i] > leastGrowth)
      continue;
    double sum = 0;
    for (size_t point = 0; point < points.size(); ++point) {
      int64_t top = table.at(tops[i], point), gap = kLargest;
      for (size_t other : others)
        if (int64_t start = table.at(offsets[other], point); start >= top)
          gap = std::min(gap, start - top);
      sum += double(gap == kLargest ? top : gap) / double(bounds[point]);
    }
    work += int64_t(others.size() * points.size());
    if (leastGap < 0 || sum < leastGap)
      std::tie(leastGap, chosen) = std::pair(sum, i);
  }
  offsets[buffer] = candidates[chosen];
  ends[buffer] = tops[chosen];
  placed[buffer] = true;
  for (size_t point = 0; point < points.size(); ++point)
    arena[point] = std::max(arena[point], table.at(ends[buffer], point));
}

/// Plans with the buffers in that order, and keeps the plan if it is the best.
void Planner::tryOrder(ArrayRef<size_t> order) {
  ++tries;
  if (table.size() > kMaxFunctions)
    table.clear();
  sizes.clear();
  for (const ArenaBuffer &buffer : buffers)
    sizes.push_back(table.add(buffer.bytes));
  placed.assign(buffers.size(), false);
  arena.assign(points.size(), 0);
  for (size_t buffer : order)
    place(buffer);
  Excess excess;
  for (auto [bytes, bound] : llvm::zip(arena, bounds)) {
    double ratio = std::max(double(bytes) / double(bound), 1.0);
    excess.worst = std::max(excess.worst, ratio);
    excess.sum += ratio;
  }
  found = excess;
  if (!best.offsets.empty() && !(excess < least))
    return;
  least = excess;
  bestOrder.assign(order.begin(), order.end());
  best.offsets.clear();
  Largest all{table.add(LinearBytes(domain.getVariableCount() + 1, 0))};
  for (size_t i = 0; i < buffers.size(); ++i) {
    best.offsets.push_back(table.getAll(offsets[i]));
    table.raise(all, ends[i]);
  }
  table.shorten(all, maxLength);
  best.arenaBytes = table.getAll(all);
}

void Planner::tryKinds(ArrayRef<size_t> kindOrder) {
  SmallVector<size_t> order;
  for (size_t kind : kindOrder)
    llvm::append_range(order, kinds[kind]);
  tryOrder(order);
  if (!bestKinds.empty() && !(found < leastOfKinds))
    return;
  leastOfKinds = found;
  bestKinds.assign(kindOrder.begin(), kindOrder.end());
}

/// Tries the buffers in the order of their offsets in a plan for one point.
void Planner::tryPlanOf(size_t point, int64_t effort) {
  std::vector<ArenaBuffer> fixed = buffers;
  for (ArenaBuffer &buffer : fixed)
    buffer.bytes = {evaluate(buffer.bytes, points[point])};
  SizeDomain none;
  SmallVector<int64_t> here;
  Planner planner(fixed, none, here, maxLength);
  ArenaPlan plan = planner.run(effort);
  work += planner.work;
  SmallVector<size_t> order(buffers.size());
  std::iota(order.begin(), order.end(), 0);
  llvm::stable_sort(order, [&](size_t a, size_t b) {
    return evaluate(plan.offsets[a], {}) < evaluate(plan.offsets[b], {});
  });
  tryOrder(order);
}

/// Buffers of equal size and length of life; within a kind in order of time.
void Planner::findKinds() {
  std::map<std::pair<LinearBytes, int64_t>, SmallVector<size_t>> byKind;
  for (auto [i, buffer] : llvm::enumerate(buffers))
    byKind[{buffer.bytes, buffer.last - buffer.first}].push_back(i);
  for (auto &[key, members] : byKind) {
    llvm::stable_sort(members,
                      [&](size_t a, size_t b) { return buffers[a].first < buffers[b].first; });
    kinds.push_back(members);
  }
}

/// Largest kinds first, as large as they are at a point.
SmallVector<size_t> Planner::orderBySize(ArrayRef<int64_t> point) const {
  SmallVector<size_t> order(kinds.size());
  std::iota(order.begin(), order.end(), 0);
  auto key = [&](size_t kind) {
    const ArenaBuffer &buffer = buffers[kinds[kind].front()];
    return std::pair(evaluate(buffer.bytes, point), buffer.last - buffer.first);
  };
  llvm::stable_sort(order, [&](size_t a, size_t b) { return key(a) > key(b); });
  return order;
}

/// Moves a few to other places.
SmallVector<size_t> Planner::vary(SmallVector<size_t> order) {
  auto next = [&](size_t limit) {
    random = random * 6364136223846793005u + 1442695040888963407u;
    return size_t(random >> 33) % limit;
  };
  for (size_t i = 0, count = 1 + next(3); i < count; ++i) {
    size_t from = next(order.size()), to = next(order.size()), moved = order[from];
    order.erase(order.begin() + from);
    order.insert(order.begin() + to, moved);
  }
  return order;
}

ArenaPlan Planner::run(int64_t effort) {
  findConflicts();
  findLowerBounds();
  findKinds();
  offsets.resize(buffers.size());
  ends.resize(buffers.size());
  auto isDone = [&](int64_t limit) {
    return tries > 0 && (least.worst <= 1 || work >= limit || tries >= kMaxOrders);
  };
  std::set<SmallVector<size_t>> known;
  for (size_t i = 0; i < points.size() && !isDone(effort); ++i)
    if (SmallVector<size_t> order = orderBySize(points[i]); known.insert(order).second)
      tryKinds(order);
  if (domain.getVariableCount() > 0)
    for (size_t i = 0; i < points.size() && !isDone(effort);
         i += points.size() / kPlansOfPoints + 1)
      tryPlanOf(i, effort / 2 / int64_t(kPlansOfPoints));
  // Few kinds: all orders. Many: exchanges in the best one so far. Then the same with buffers.
  SmallVector<size_t> permutation(kinds.size());
  std::iota(permutation.begin(), permutation.end(), 0);
  for (int64_t half = (work + effort) / 2; !isDone(half);) {
    tryKinds(kinds.size() > 7 ? vary(bestKinds) : permutation);
    if (kinds.size() <= 7 && !std::next_permutation(permutation.begin(), permutation.end()))
      break;
  }
  while (!isDone(effort) && !buffers.empty())
    tryOrder(vary(bestOrder));
  best.lowerBounds = lowerBounds;
  return best;
}

/// Every dim small, every dim large, and each dim large alone.
static std::vector<SmallVector<int64_t>> getCorners(const SizeDomain &domain) {
  SmallVector<int64_t> small, large;
  for (size_t i = 0; i < domain.getVariableCount(); ++i) {
    small.push_back(domain.getVariable(i).range.min);
    large.push_back(domain.getVariable(i).range.max);
  }
  std::vector<SmallVector<int64_t>> points{small, large};
  for (size_t i = 0; i < small.size(); ++i) {
    points.push_back(small);
    points.back()[i] = large[i];
  }
  return points;
}

/// The excess of a finished plan, and up to `most` points at which it is largest, that first.
static std::pair<Excess, std::vector<SmallVector<int64_t>>>
examine(const ArenaPlan &plan, ArrayRef<SmallVector<int64_t>> points, size_t most) {
  Excess excess;
  std::vector<std::pair<double, size_t>> ratios;
  for (auto [i, point] : llvm::enumerate(points)) {
    int64_t bound = std::max<int64_t>(evaluate(plan.lowerBounds, point), 1);
    double ratio = std::max(double(evaluate(plan.arenaBytes, point)) / double(bound), 1.0);
    excess.worst = std::max(excess.worst, ratio);
    excess.sum += ratio;
    ratios.push_back({-ratio, i});
  }
  std::sort(ratios.begin(), ratios.end());
  std::vector<SmallVector<int64_t>> worst;
  for (auto [ratio, i] : ArrayRef(ratios).take_front(most))
    worst.push_back(points[i]);
  return {excess, worst};
}

llvm::Expected<ArenaPlan> kiln::planArena(ArrayRef<ArenaBuffer> buffers, const SizeDomain &domain,
                                          PlanPoints points, size_t maxLength) {
  std::vector<SmallVector<int64_t>> compared =
      points.compared.empty() ? getCorners(domain) : points.compared.vec();
  ArenaPlan best;
  Excess least;
  for (int round = 0; round < kRounds; ++round) {
    Planner planner(buffers, domain, compared, maxLength);
    if (llvm::Error error = planner.check())
      return error;
    ArenaPlan plan = planner.run(kMaxWork / (round ? 2 * kRounds : 2));
    auto [excess, worst] = examine(plan, points.examined, kWorstPoints);
    if (!round || excess < least)
      std::tie(best, least) = std::pair(std::move(plan), excess);
    if (excess.worst <= kGoodExcess)
      break;
    for (SmallVector<int64_t> &point : worst)
      if (!llvm::is_contained(compared, point))
        compared.push_back(std::move(point));
  }
  return best;
}
