// Sizes as numbers: what a planner compares again and again is worked out once.
#ifndef KILN_PASSES_SIZETABLE_H
#define KILN_PASSES_SIZETABLE_H

#include "passes/SizeDomain.h"
#include "llvm/ADT/DenseMap.h"

namespace kiln {

/// Numbers for linear functions, equal for equal ones.
class SizeTable {
public:
  using Id = unsigned;
  /// The largest of several functions; of no two of them one is never above the other.
  using Largest = llvm::SmallVector<Id, 2>;

  /// `points`: values of the variables, at each of which `at` has a value.
  SizeTable(const SizeDomain &domain, llvm::ArrayRef<llvm::SmallVector<int64_t>> points)
      : domain(domain), points(points) {}

  Id add(const LinearBytes &function);
  const LinearBytes &get(Id id) const { return functions[id]; }
  llvm::ArrayRef<int64_t> at(Id id) const {
    return llvm::ArrayRef(values).slice(id * points.size(), points.size());
  }
  int64_t at(llvm::ArrayRef<Id> largest, size_t point) const;
  Id sum(Id left, Id right);
  Largest sum(llvm::ArrayRef<Id> left, Id right);

  /// True where left <= right is proven for all dims.
  bool isAtMost(Id left, Id right);
  bool isAtMost(llvm::ArrayRef<Id> left, llvm::ArrayRef<Id> right);
  bool isAtMost(llvm::ArrayRef<Id> left, Id right) {
    return llvm::all_of(left, [&](Id id) { return isAtMost(id, right); });
  }
  /// Takes a function in.
  void raise(Largest &largest, Id function);
  void raise(Largest &largest, llvm::ArrayRef<Id> functions) {
    for (Id function : functions)
      raise(largest, function);
  }
  /// Replaces functions by larger ones until all take at most `maxLength` operations together, or
  /// one is left.
  void shorten(Largest &largest, size_t maxLength);

  /// Drops functions that matter least until the rest takes at most `maxLength` operations
  /// together, or one is left.
  void thin(Largest &largest, size_t maxLength) const;

  LargestBytes getAll(llvm::ArrayRef<Id> largest) const;
  size_t size() const { return functions.size(); }
  /// Forgets all functions.
  void clear();

private:
  bool isLong(llvm::ArrayRef<Id> largest, size_t maxLength) const;

  const SizeDomain &domain;
  llvm::ArrayRef<llvm::SmallVector<int64_t>> points;
  std::vector<LinearBytes> functions;
  std::vector<size_t> lengths;
  std::vector<int64_t> values;
  std::map<LinearBytes, Id> ids;
  llvm::DenseMap<std::pair<Id, Id>, bool> known;
  llvm::DenseMap<std::pair<Id, Id>, Id> sums;
};

} // namespace kiln

#endif
