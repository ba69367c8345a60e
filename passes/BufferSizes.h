// Sizes of buffers as linear functions, for the planner of the arena.
#ifndef KILN_PASSES_BUFFERSIZES_H
#define KILN_PASSES_BUFFERSIZES_H

#include "ir/Exec/ExecDialect.h"
#include "passes/PlanArena.h"
#include "llvm/ADT/DenseMap.h"

namespace kiln {

/// The variables that the sizes of a function's buffers are linear in: its dims, then products of
/// dims and quotients, each with the range that it has while the dims lie in theirs.
class SizeVariables {
public:
  explicit SizeVariables(exec::FuncOp func);

  /// A size, of at least as many bytes as the expression says. Fewer terms than variables stand for
  /// zeros.
  LinearBytes getLinear(mlir::AffineExpr bytes);
  /// The expression of the dims for each of several functions; the least that is as large as all of
  /// them together where those are too long for an artifact.
  mlir::AffineMapAttr getMap(llvm::ArrayRef<LinearBytes> functions) const;
  /// The largest value that an expression can have, at most 2^62.
  int64_t getLargest(mlir::AffineExpr expr) const;

  llvm::ArrayRef<DimRange> getRanges() const { return ranges; }
  size_t getDimCount() const { return dimCount; }
  /// Values of all variables where the dims are small, large, between, and each so alone: products
  /// have the values that their factors give them.
  std::vector<llvm::SmallVector<int64_t>> getPoints() const;
  /// Operations that an artifact needs for one function of all variables.
  size_t getLength() const;

private:
  struct Sum;
  bool expand(mlir::AffineExpr expr, bool replaceDerived, Sum &sum) const;
  bool split(mlir::AffineExpr bytes, bool replaceDerived, LinearBytes &linear);
  int64_t evaluate(mlir::AffineExpr expr, llvm::ArrayRef<int64_t> dims) const;
  std::pair<int64_t, int64_t> getRange(mlir::AffineExpr expr) const;
  size_t getVariable(mlir::AffineExpr expr);

  mlir::MLIRContext *context;
  size_t dimCount;
  llvm::SmallVector<mlir::AffineExpr> derived; // of each dim: what it stands for, or null
  llvm::SmallVector<mlir::AffineExpr> variables;
  llvm::SmallVector<DimRange> ranges;
  llvm::DenseMap<mlir::AffineExpr, size_t> numbers;
};

} // namespace kiln

#endif
