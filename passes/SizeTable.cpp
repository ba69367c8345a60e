// Most questions about two sizes are answered by their values at a few points: who is larger at one
// is not the smaller one everywhere. The others are proven, once.
#include "passes/SizeTable.h"
#include "llvm/ADT/STLExtras.h"

using namespace kiln;
using llvm::ArrayRef;

SizeTable::Id SizeTable::add(const LinearBytes &function) {
  auto [entry, isNew] = ids.try_emplace(function, Id(functions.size()));
  if (isNew) {
    functions.push_back(function);
    lengths.push_back(domain.getLength(function));
    for (ArrayRef<int64_t> point : points)
      values.push_back(evaluate(function, point));
  }
  return entry->second;
}

void SizeTable::clear() {
  functions.clear();
  lengths.clear();
  values.clear();
  ids.clear();
  known.clear();
  sums.clear();
}

int64_t SizeTable::at(ArrayRef<Id> largest, size_t point) const {
  int64_t value = 0;
  for (Id id : largest)
    value = std::max(value, values[id * points.size() + point]);
  return value;
}

SizeTable::Id SizeTable::sum(Id left, Id right) {
  if (auto found = sums.find({left, right}); found != sums.end())
    return found->second;
  LinearBytes result = functions[left];
  for (auto [term, other] : llvm::zip(result, functions[right]))
    term += other;
  return sums[{left, right}] = add(result);
}

SizeTable::Largest SizeTable::sum(ArrayRef<Id> left, Id right) {
  Largest result;
  for (Id id : left)
    result.push_back(sum(id, right));
  return result;
}

bool SizeTable::isAtMost(Id left, Id right) {
  if (left == right)
    return true;
  ArrayRef<int64_t> lower = at(left), upper = at(right);
  for (size_t i = 0; i < points.size(); ++i)
    if (lower[i] > upper[i])
      return false;
  if (domain.getVariableCount() == 0)
    return true; // there is nothing between the points
  auto [entry, isNew] = known.try_emplace({left, right}, false);
  if (isNew)
    entry->second = domain.isAtMost(functions[left], functions[right]);
  return entry->second;
}

bool SizeTable::isAtMost(ArrayRef<Id> left, ArrayRef<Id> right) {
  return llvm::all_of(
      left, [&](Id l) { return llvm::any_of(right, [&](Id r) { return isAtMost(l, r); }); });
}

void SizeTable::raise(Largest &largest, Id function) {
  if (llvm::any_of(largest, [&](Id id) { return isAtMost(function, id); }))
    return;
  llvm::erase_if(largest, [&](Id id) { return isAtMost(id, function); });
  largest.push_back(function);
}

bool SizeTable::isLong(ArrayRef<Id> largest, size_t maxLength) const {
  size_t length = 0;
  for (Id id : largest)
    length += lengths[id] + 1;
  return length > maxLength + 1;
}

void SizeTable::thin(Largest &largest, size_t maxLength) const {
  while (largest.size() > 1 && isLong(largest, maxLength)) {
    double most = -1;
    size_t chosen = 0;
    for (size_t i = 0; i < largest.size(); ++i) {
      Largest rest = largest;
      rest.erase(rest.begin() + i);
      double kept = 0;
      for (size_t point = 0; point < points.size(); ++point)
        if (int64_t all = at(largest, point); all > 0)
          kept += double(at(rest, point)) / double(all);
      if (kept > most)
        std::tie(most, chosen) = std::pair(kept, i);
    }
    largest.erase(largest.begin() + chosen);
  }
}

void SizeTable::shorten(Largest &largest, size_t maxLength) {
  // The two whose least common bound adds least.
  while (largest.size() > 1 && isLong(largest, maxLength)) {
    double least = -1;
    size_t first = 0, second = 1;
    Id chosen = 0;
    for (size_t i = 0; i < largest.size(); ++i)
      for (size_t j = 0; j < i; ++j) {
        LinearBytes both = functions[largest[i]];
        for (auto [term, other] : llvm::zip(both, functions[largest[j]]))
          term = std::max(term, other);
        Id id = add(both);
        double added = 0;
        for (size_t point = 0; point < points.size(); ++point)
          if (int64_t before = at(largest, point); before > 0)
            added += double(std::max(at(id)[point], before)) / double(before);
        if (least < 0 || added < least) {
          least = added;
          std::tie(first, second, chosen) = std::tuple(j, i, id);
        }
      }
    largest.erase(largest.begin() + second);
    largest.erase(largest.begin() + first);
    raise(largest, chosen);
  }
}

LargestBytes SizeTable::getAll(ArrayRef<Id> largest) const {
  LargestBytes all;
  for (Id id : largest)
    all.push_back(functions[id]);
  return all;
}
