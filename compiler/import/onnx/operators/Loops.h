// Sub-graphs and loops over them: what If, Loop and Scan are translated with.
#ifndef KILN_COMPILER_IMPORT_ONNX_OPERATORS_LOOPS_H
#define KILN_COMPILER_IMPORT_ONNX_OPERATORS_LOOPS_H

#include "compiler/import/onnx/NodeImport.h"

namespace kiln {

using Arrays = llvm::SmallVector<Array>;

/// Translates a node's graph with these inputs at the builder's place. Nothing where it fails.
std::optional<Arrays> importSubGraph(NodeImport &n, const OnnxGraph &graph,
                                     llvm::ArrayRef<Array> inputs);

/// What is known of a truth value while the model is imported.
std::optional<bool> truthOf(ArrayBuilder &a, const Array &condition);

/// The values of a list, the values of lists in it, …; of a tensor itself.
void flatten(const Array &array, Arrays &values);
/// An array of the same form as `like` of the next values.
Array unflatten(const Array &like, llvm::ArrayRef<Array> &values);

/// The value of an array, in memory as its elements: what regions give and loops carry.
mlir::Value plainValue(ArrayBuilder &a, const Array &array);

/// The value put into a shape with other names for the same sizes.
Array renamed(ArrayBuilder &a, const Array &x, llvm::ArrayRef<mlir::AffineExpr> shape);

struct LoopRound {
  Array condition; // of another round, empty: true
  Arrays carried;
  Arrays rows; // what this round adds to each of the collected results
};
/// Translates a round: its number (i64) and the carried values.
using MakeRound = llvm::function_ref<std::optional<LoopRound>(const Array &number,
                                                              llvm::ArrayRef<Array> carried)>;

struct LoopPlan {
  Array trips;     // rounds at most (i64, scalar), or empty
  Array condition; // of the first round, or empty: true
  Arrays carried;
  llvm::SmallVector<bool> fromEnd; // of each collected result: the first round's row is the last
  bool exact = false;              // no condition ends the loop
  size_t nodes = 1;                // of the body
};

/// The last carried values, then the collected results, rows along dim 0. Loops of few rounds are
/// unrolled. Nothing where it fails; what is wrong is noted then.
std::optional<Arrays> importLoop(NodeImport &n, const LoopPlan &plan, MakeRound round);

} // namespace kiln

#endif
