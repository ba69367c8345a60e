// The state of choosing regions: ops, and the groups they are in (see GroupRegions.cpp).
#ifndef KILN_PASSES_GROUPING_H
#define KILN_PASSES_GROUPING_H

#include "ir/Graph/Operators.h"
#include "passes/GroupRegions.h"
#include "llvm/ADT/BitVector.h"

namespace kiln {

enum class GroupKind { Single, Contraction, Attention, RowWise, Array };

/// A node of the graph of groups. In the beginning every op is a group of kind Single.
struct Group {
  GroupKind kind = GroupKind::Single;
  llvm::BitVector owned;  // ops that are computed here and nowhere else (save as recomputed)
  llvm::BitVector copied; // ops that are recomputed here
  mlir::Value input;      // of a contraction's heads: their common input
  int64_t width = 0;      // of a contraction's heads: columns of each result
  bool merged = false;    // into another group
};

class Grouping {
public:
  explicit Grouping(llvm::ArrayRef<mlir::Operation *> line) : line(line) {}
  mlir::LogicalResult run(std::vector<RegionGroup> &result);

private:
  mlir::LogicalResult collectOps();
  void joinEpilogues();
  void mergeHeads(mlir::Operation *op);
  void addPrologues();
  void copyProducers(unsigned group, unsigned op, bool direct);
  void copyViews(unsigned group);
  bool joinsProduct(unsigned op) const;
  void groupArrays();
  bool joinUser(unsigned product, const llvm::BitVector &inlined,
                llvm::DenseMap<unsigned, unsigned> &products) const;
  bool cutBehindCodes(unsigned product, llvm::BitVector &inlined,
                      llvm::DenseMap<unsigned, unsigned> &products) const;
  void groupRest();
  std::vector<RegionGroup> order();

  graph::FusionKind kindOf(unsigned op) const {
    return llvm::cast<graph::FusableOpInterface>(ops[op]).getFusionKind();
  }
  /// The op of this function that computes a value, or -1.
  int producer(mlir::Value value) const {
    auto it = value.getDefiningOp() ? index.find(value.getDefiningOp()) : index.end();
    return it == index.end() ? -1 : int(it->second);
  }
  bool contains(unsigned group, unsigned op) const {
    return groups[group].owned[op] || groups[group].copied[op];
  }
  bool isOnlyUsedIn(unsigned group, unsigned op) const;
  bool feedsEpilogue(unsigned group, unsigned op) const;
  bool meetsGather(unsigned group, unsigned op) const;
  bool hasPathAround(unsigned from, unsigned to) const;
  bool canMerge(unsigned left, unsigned right) const {
    return !hasPathAround(left, right) && !hasPathAround(right, left);
  }
  void merge(unsigned into, unsigned from);
  bool gathersFromItself(unsigned left, unsigned right) const;
  llvm::BitVector findNeeded() const;

  llvm::ArrayRef<mlir::Operation *> line;
  llvm::SmallVector<mlir::Operation *> ops; // the fusable ops, in program order
  llvm::DenseMap<mlir::Operation *, unsigned> index;
  std::vector<llvm::SmallVector<unsigned>>
      successors;                      // of ops: users, and the next op with a side effect
  std::vector<Group> groups;           // group i begins as op i
  llvm::SmallVector<unsigned> groupOf; // the group that owns an op
};

} // namespace kiln

#endif
