// Arrays in a worker's scratch memory, orders of elements and sorting: what operators that fill
// their results themselves share.
#ifndef KILN_IR_GRAPH_OPERATORS_SCRATCH_H
#define KILN_IR_GRAPH_OPERATORS_SCRATCH_H

#include "ir/Graph/Operators.h"

namespace kiln::graph {

/// Elements of a code type of 8 bits at least, one behind the other, from byte `start` on.
struct ScratchArray {
  FillBuilder &f;
  mlir::Type element;
  mlir::Value start; // index

  mlir::Value get(mlir::Value i) const { return f.loadScratch(element, place(i)); }
  void set(mlir::Value i, mlir::Value value) const { f.storeScratch(value, place(i)); }
  /// The same of an array of i64 whose elements are indices.
  mlir::Value getIndex(mlir::Value i) const { return f.toIndex(get(i), element); }
  void setIndex(mlir::Value i, mlir::Value value) const { set(i, f.fromIndex(value, element)); }
  /// Where an array of `count` elements ends, in bytes.
  mlir::Value end(mlir::Value count) const { return place(count); }

private:
  mlir::Value place(mlir::Value i) const {
    return f.add(start, f.mul(i, f.index(element.getIntOrFloatBitWidth() / 8)));
  }
};

/// x < y by the element type that a tensor has.
mlir::Value isLess(ElementBuilder &e, mlir::Type element, mlir::Value x, mlir::Value y);
mlir::Value isEqual(ElementBuilder &e, mlir::Value x, mlir::Value y);

/// Whether the item of one number comes before that of another.
using Precedes = llvm::function_ref<mlir::Value(mlir::Value, mlir::Value)>;
/// Sorts the first `count` of `numbers` (i64, as indices); equals keep their order. `spare` is as
/// long.
void sortNumbers(FillBuilder &f, const ScratchArray &numbers, const ScratchArray &spare,
                 mlir::Value count, Precedes precedes);

/// All dims of result 0 but the param `axis`: the items of operators along an axis.
llvm::SmallVector<unsigned> dimsBesideAxis(ComputeOp op);
/// The indices of an item of dimsBesideAxis with `place` along the axis.
llvm::SmallVector<mlir::Value> alongAxis(ComputeOp op, mlir::ValueRange item, mlir::Value place);

} // namespace kiln::graph

#endif
