// A tensor of heads, however it is written: what only rearranges it is taken off.
#ifndef KILN_PASSES_RECOGNIZE_HEADS_H
#define KILN_PASSES_RECOGNIZE_HEADS_H

#include "passes/recognize/Expression.h"

namespace kiln::recognize {

/// A tensor [batch, heads, rows, depth] as it lies in memory: dim i of it is dim dims[i] of
/// `value`, or -1: a dim of one element that `value` does not have. Dims of `value` that are not
/// named have one element.
struct Heads {
  mlir::Value value;
  std::array<int64_t, 4> dims = {};
  double scale = 1; // that it is multiplied with

  /// A tensor whose dims are the last of [batch, heads, rows, depth].
  static Heads of(mlir::Value value);
  /// Goes through transposes and dims of one element, and what else is told, to the value that they
  /// rearrange.
  struct Also {
    bool scale;   // numbers that are multiplied in
    bool repeats; // heads that are each there several times
  };
  void peel(Also also);
  /// Whether it lies in memory as [batch, heads, rows, depth], or [batch, rows, heads, depth].
  bool canBe(bool headsFirst) const { return isInOrder(memoryOrder(headsFirst)); }
  /// It as a tensor of 4 dims in that order.
  mlir::Value make(mlir::PatternRewriter &b, mlir::Location loc, bool headsFirst) const;

  int64_t extent(int64_t dim) const {
    return dims[dim] < 0 ? 1 : graph::tensorOf(value).getDimSize(dims[dim]);
  }
  mlir::FlatSymbolRefAttr name(int64_t dim) const {
    return dims[dim] < 0 ? mlir::FlatSymbolRefAttr() : dimNames(graph::tensorOf(value))[dims[dim]];
  }
  static std::array<int64_t, 4> memoryOrder(bool headsFirst) {
    return headsFirst ? std::array<int64_t, 4>{0, 1, 2, 3} : std::array<int64_t, 4>{0, 2, 1, 3};
  }

private:
  bool peelOne(Also also);
  bool peelScale(ComputeOp op);
  bool peelReshape(ComputeOp op);
  bool peelMerged(ComputeOp op);
  bool peelRepeat(ComputeOp op);
  bool isInOrder(llvm::ArrayRef<int64_t> order) const;
};

} // namespace kiln::recognize

#endif
