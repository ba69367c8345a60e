// Places buffers whose sizes are linear functions of the dims. The base is greedy best fit: take
// the buffers in some order and put each into the tightest gap between those already placed that it
// shares a moment with. Offsets and sizes are functions, so "fits" means "for all dims within
// bounds", which for a linear function over a box is decided by its value in one corner.
//
// What greedy reaches depends on the order, and largest-first can miss the bound by a fifth on a
// plain decoder layer. A model repeats few kinds of buffers many times, so the planner searches
// over orders of kinds (equal size and lifetime), not of buffers, and keeps the best plan; it stops
// at the lower bound.
#include "passes/PlanArena.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/MathExtras.h"
#include <algorithm>
#include <map>
#include <numeric>

using namespace kiln;
using llvm::ArrayRef;
using llvm::SmallVector;

static constexpr int64_t kAlignment = 64;
static constexpr int64_t kLargest = int64_t(1) << 62;
/// Orders of kinds that are tried at most, and work (buffers squared, summed) that is spent at
/// most.
static constexpr int kMaxOrders = 5040;
static constexpr int64_t kMaxWork = 100'000'000;

int64_t kiln::evaluate(const LinearBytes &function, ArrayRef<int64_t> dims) {
  int64_t value = function.front();
  for (size_t i = 0; i < dims.size(); ++i)
    value += function[i + 1] * dims[i];
  return value;
}

int64_t kiln::evaluateMax(ArrayRef<LinearBytes> functions, ArrayRef<int64_t> dims) {
  int64_t value = 0;
  for (const LinearBytes &function : functions)
    value = std::max(value, evaluate(function, dims));
  return value;
}

bool kiln::isAtMost(const LinearBytes &left, const LinearBytes &right, ArrayRef<DimRange> dims) {
  int64_t smallest = right[0] - left[0];
  for (size_t i = 0; i < dims.size(); ++i) {
    int64_t slope = right[i + 1] - left[i + 1];
    smallest += slope * (slope < 0 ? dims[i].max : dims[i].min);
  }
  return smallest >= 0;
}

static LinearBytes sum(const LinearBytes &left, const LinearBytes &right) {
  LinearBytes result(left);
  for (size_t i = 0; i < result.size(); ++i)
    result[i] += right[i];
  return result;
}

static LinearBytes atLeastBoth(const LinearBytes &left, const LinearBytes &right) {
  LinearBytes result(left);
  for (size_t i = 0; i < result.size(); ++i)
    result[i] = std::max(result[i], right[i]);
  return result;
}

/// Drops functions that are nowhere above another one.
static std::vector<LinearBytes> keepLargest(std::vector<LinearBytes> functions,
                                            ArrayRef<DimRange> dims) {
  std::sort(functions.begin(), functions.end());
  functions.erase(std::unique(functions.begin(), functions.end()), functions.end());
  std::vector<LinearBytes> kept;
  for (const LinearBytes &function : functions) {
    if (llvm::any_of(kept, [&](const LinearBytes &k) { return isAtMost(function, k, dims); }))
      continue;
    llvm::erase_if(kept, [&](const LinearBytes &k) { return isAtMost(k, function, dims); });
    kept.push_back(function);
  }
  return kept;
}

namespace {

class Planner {
public:
  Planner(ArrayRef<ArenaBuffer> buffers, ArrayRef<DimRange> dims,
          ArrayRef<SmallVector<int64_t>> points);
  llvm::Error check() const;
  ArenaPlan run();

private:
  void findConflicts();
  void findLowerBounds();
  void place(size_t buffer);
  bool fits(size_t buffer, const LinearBytes &offset) const;
  int64_t arenaAt(ArrayRef<int64_t> point) const;
  double tryOrder(ArrayRef<size_t> order);
  SmallVector<SmallVector<size_t>> getKinds() const;
  int64_t getGrowth(const LinearBytes &bytes) const;

  ArrayRef<DimRange> dims;
  std::vector<ArenaBuffer> buffers;
  std::vector<SmallVector<size_t>> conflicts; // of each buffer: those it is live with
  std::vector<LinearBytes> lowerBounds;
  SmallVector<SmallVector<int64_t>> points; // where plans are compared
  SmallVector<int64_t> bounds;              // the lower bound at each point
  SmallVector<int64_t> largest;             // the dims' upper bounds

  std::vector<LinearBytes> offsets, ends; // of the plan being made
  std::vector<bool> placed;
};

} // namespace

Planner::Planner(ArrayRef<ArenaBuffer> given, ArrayRef<DimRange> dims,
                 ArrayRef<SmallVector<int64_t>> points)
    : dims(dims), buffers(given.begin(), given.end()), points(points.begin(), points.end()) {
  for (ArenaBuffer &buffer : buffers) {
    buffer.bytes.resize(dims.size() + 1);
    for (int64_t &term : buffer.bytes)
      if (term >= 0 && term < kLargest)
        term = llvm::alignTo(term, kAlignment);
  }
  for (const DimRange &dim : dims)
    largest.push_back(dim.max);
}

llvm::Error Planner::check() const {
  unsigned __int128 total = 0;
  for (const ArenaBuffer &buffer : buffers) {
    for (size_t i = 0; i < buffer.bytes.size(); ++i) {
      if (buffer.bytes[i] < 0 || buffer.bytes[i] >= kLargest)
        return llvm::createStringError("a buffer's size has a coefficient of %lld bytes",
                                       (long long)buffer.bytes[i]);
      total += (unsigned __int128)buffer.bytes[i] * std::max<int64_t>(i ? largest[i - 1] : 1, 1);
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
  LinearBytes zero(dims.size() + 1, 0);
  for (const ArenaBuffer &buffer : buffers) {
    LinearBytes &begin = change.try_emplace(buffer.first, zero).first->second;
    begin = sum(begin, buffer.bytes);
    LinearBytes &end = change.try_emplace(buffer.last + 1, zero).first->second;
    for (size_t i = 0; i < end.size(); ++i)
      end[i] -= buffer.bytes[i];
  }
  std::vector<LinearBytes> sums{zero};
  for (const auto &[moment, difference] : change)
    sums.push_back(sum(sums.back(), difference));
  lowerBounds = keepLargest(std::move(sums), dims);

  // Compare plans in the corners that differ most: every dim small, every dim large, and each dim
  // large alone.
  if (points.empty()) {
    SmallVector<int64_t> small;
    for (const DimRange &dim : dims)
      small.push_back(dim.min);
    points = {small, largest};
    for (size_t i = 0; i < dims.size(); ++i) {
      points.push_back(small);
      points.back()[i] = largest[i];
    }
  }
  for (ArrayRef<int64_t> point : points)
    bounds.push_back(evaluateMax(lowerBounds, point));
}

bool Planner::fits(size_t buffer, const LinearBytes &offset) const {
  LinearBytes end = sum(offset, buffers[buffer].bytes);
  return llvm::all_of(conflicts[buffer], [&](size_t other) {
    return !placed[other] || isAtMost(ends[other], offset, dims) ||
           isAtMost(end, offsets[other], dims);
  });
}

/// Puts the buffer at the end of a conflicting one (or at 0) where it fits with the least gap
/// above, without raising the arena where that is possible; else above all it conflicts with.
void Planner::place(size_t buffer) {
  LinearBytes zero(dims.size() + 1, 0), above = zero;
  SmallVector<LinearBytes> candidates{zero};
  for (size_t other : conflicts[buffer])
    if (placed[other]) {
      above = atLeastBoth(above, ends[other]);
      candidates.push_back(ends[other]);
      // Just below a neighbour, where its offset leaves room in every coefficient.
      LinearBytes below = offsets[other];
      for (size_t i = 0; i < below.size(); ++i)
        below[i] -= buffers[buffer].bytes[i];
      if (llvm::all_of(below, [](int64_t term) { return term >= 0; }))
        candidates.push_back(below);
    }
  candidates.push_back(above);
  std::sort(candidates.begin(), candidates.end());
  candidates.erase(std::unique(candidates.begin(), candidates.end()), candidates.end());

  // Both measured at the upper bounds: the arena after placing, then the free bytes up to the next
  // neighbour above.
  std::pair<int64_t, int64_t> best;
  const LinearBytes *chosen = nullptr;
  for (const LinearBytes &candidate : candidates) {
    if (!fits(buffer, candidate))
      continue;
    int64_t end = evaluate(sum(candidate, buffers[buffer].bytes), largest), gap = kLargest;
    for (size_t other : conflicts[buffer])
      if (placed[other])
        if (int64_t start = evaluate(offsets[other], largest); start >= end)
          gap = std::min(gap, start - end);
    std::pair<int64_t, int64_t> score{std::max(end, bounds[1]), gap == kLargest ? end : gap};
    if (!chosen || score < best) {
      best = score;
      chosen = &candidate;
    }
  }
  offsets[buffer] = *chosen; // `above` always fits
  ends[buffer] = sum(*chosen, buffers[buffer].bytes);
  placed[buffer] = true;
}

int64_t Planner::arenaAt(ArrayRef<int64_t> point) const { return evaluateMax(ends, point); }

/// Plans in the given order; the result is the largest ratio of arena to lower bound.
double Planner::tryOrder(ArrayRef<size_t> order) {
  placed.assign(buffers.size(), false);
  for (size_t buffer : order)
    place(buffer);
  double worst = 1;
  for (auto [point, bound] : llvm::zip(points, bounds))
    if (int64_t arena = arenaAt(point); arena > bound)
      worst = std::max(worst, double(arena) / double(std::max<int64_t>(bound, 1)));
  return worst;
}

/// Buffers of equal size and length of life, largest kinds first; within a kind in order of time.
SmallVector<SmallVector<size_t>> Planner::getKinds() const {
  std::map<std::pair<LinearBytes, int64_t>, SmallVector<size_t>> byKind;
  for (auto [i, buffer] : llvm::enumerate(buffers))
    byKind[{buffer.bytes, buffer.last - buffer.first}].push_back(i);
  SmallVector<SmallVector<size_t>> kinds;
  for (auto &[key, members] : byKind) {
    llvm::stable_sort(members,
                      [&](size_t a, size_t b) { return buffers[a].first < buffers[b].first; });
    kinds.push_back(members);
  }
  llvm::stable_sort(kinds, [&](const auto &a, const auto &b) {
    const ArenaBuffer &left = buffers[a.front()], &right = buffers[b.front()];
    return std::pair(evaluate(left.bytes, largest), left.last - left.first) >
           std::pair(evaluate(right.bytes, largest), right.last - right.first);
  });
  return kinds;
}

/// How fast a size grows with the dims: the greatest range of what it depends on.
int64_t Planner::getGrowth(const LinearBytes &bytes) const {
  int64_t growth = 0;
  for (size_t i = 0; i < dims.size(); ++i)
    if (bytes[i + 1] > 0)
      growth = std::max(growth, dims[i].max - dims[i].min);
  return growth;
}

ArenaPlan Planner::run() {
  findConflicts();
  findLowerBounds();
  offsets.resize(buffers.size());
  ends.resize(buffers.size());

  SmallVector<SmallVector<size_t>> kinds = getKinds();
  ArenaPlan best;
  double bestRatio = 0;
  auto attempt = [&](ArrayRef<size_t> order) {
    double ratio = tryOrder(order);
    if (best.offsets.empty() || ratio < bestRatio) {
      bestRatio = ratio;
      best.offsets = offsets;
      best.arenaBytes = ends;
    }
    return bestRatio <= 1;
  };

  // What grows alike is comparable, and lies well largest first. Sizes of different growth are not:
  // there it pays to have what grows slowly below, for then several kinds of fast growth may begin
  // at the same place.
  SmallVector<size_t> bySize(kinds.size()), byGrowth;
  std::iota(bySize.begin(), bySize.end(), 0);
  byGrowth = bySize;
  llvm::stable_sort(byGrowth, [&](size_t a, size_t b) {
    return getGrowth(buffers[kinds[a].front()].bytes) < getGrowth(buffers[kinds[b].front()].bytes);
  });
  SmallVector<size_t> base = bySize, permutation = bySize;
  bool triesGrowth = byGrowth != bySize && kinds.size() > 7;
  int64_t pairs = 1;
  for (const auto &list : conflicts)
    pairs += 1 + int64_t(list.size()) * int64_t(list.size());
  int64_t tries = std::clamp<int64_t>(kMaxWork / pairs, 1, kMaxOrders);
  uint64_t random = 1; // a fixed sequence: equal inputs give equal plans
  do {
    SmallVector<size_t> order;
    for (size_t kind : permutation)
      llvm::append_range(order, kinds[kind]);
    double before = bestRatio;
    if (attempt(order))
      break;
    if (triesGrowth) { // the second try; the better of the two is varied
      if (permutation == bySize) {
        permutation = byGrowth;
        continue;
      }
      triesGrowth = false;
      if (bestRatio < before)
        base = byGrowth;
    }
    // Few kinds: all orders. Many: random exchanges of the order by size.
    if (kinds.size() <= 7) {
      if (!std::next_permutation(permutation.begin(), permutation.end()))
        break;
      continue;
    }
    permutation = base;
    for (size_t i = 0; i < kinds.size(); ++i) {
      random = random * 6364136223846793005u + 1442695040888963407u;
      size_t distance = (random >> 33) % 4;
      std::swap(permutation[i], permutation[std::min(i + distance, kinds.size() - 1)]);
    }
  } while (--tries > 0);

  best.arenaBytes.push_back(LinearBytes(dims.size() + 1, 0));
  best.arenaBytes = keepLargest(std::move(best.arenaBytes), dims);
  best.lowerBounds = lowerBounds;
  return best;
}

llvm::Expected<ArenaPlan> kiln::planArena(ArrayRef<ArenaBuffer> buffers, ArrayRef<DimRange> dims,
                                          ArrayRef<SmallVector<int64_t>> points) {
  Planner planner(buffers, dims, points);
  if (llvm::Error error = planner.check())
    return error;
  return planner.run();
}
