// Sizes of buffers as linear functions, for the planner of the arena.
#ifndef KILN_PASSES_BUFFERSIZES_H
#define KILN_PASSES_BUFFERSIZES_H

#include "ir/Exec/ExecDialect.h"
#include "passes/SizeDomain.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/STLFunctionalExtras.h"

namespace kiln {

/// The variables that the sizes of a function's buffers are linear in: its dims, then products of
/// dims and quotients, each with the range that it has while the dims lie in theirs.
class SizeVariables {
public:
  explicit SizeVariables(exec::FuncOp func);

  /// A size, of at least as many bytes as the expression says. Fewer terms than variables stand for
  /// zeros.
  LinearBytes getLinear(mlir::AffineExpr bytes);
  /// The expressions of the dims for functions.
  mlir::AffineMapAttr getMap(const LargestBytes &functions) const;
  /// The largest value that an expression can have, at most 2^62.
  int64_t getLargest(mlir::AffineExpr expr) const;

  size_t getDimCount() const { return dims.size(); }
  size_t getVariableCount() const { return expressions.size(); }
  SizeDomain getDomain() const;
  /// Values of all variables on a grid of the dims that callers choose, as fine as a number of
  /// points allows; the first is that of the least dims, the second that of the greatest.
  std::vector<llvm::SmallVector<int64_t>> getPoints(size_t most) const;
  /// Operations that an artifact needs for one function of all variables.
  size_t getLength() const;

private:
  struct Dim {
    DimRange range;
    mlir::AffineMap value; // null: a dim that is given or computed
    bool isFixed;          // depends on no computed dim
    bool isComputed;
  };
  struct Bounds {
    SizePolynomial low, high;
    bool isExact() const { return low == high; }
  };
  Bounds getBounds(mlir::AffineExpr expr) const;
  bool isNonNegative(const SizePolynomial &polynomial) const;
  int64_t evaluate(mlir::AffineExpr expr, llvm::ArrayRef<int64_t> values) const;
  std::pair<int64_t, int64_t> getRange(mlir::AffineExpr expr) const;
  llvm::SmallVector<int64_t> getPoint(llvm::function_ref<double(size_t)> stepOf) const;
  size_t getVariable(mlir::AffineExpr expr);
  size_t getLines(mlir::AffineExpr bytes);

  mlir::MLIRContext *context;
  std::vector<Dim> dims;
  std::vector<mlir::AffineExpr> expressions; // of each variable
  std::vector<SizeVariable> described;       // parallel to the expressions
  std::map<SizePolynomial, size_t> exact;    // variables that are polynomials
  std::map<SizePolynomial, size_t> lines;    // of so many bytes
  llvm::DenseMap<mlir::AffineExpr, size_t> others;
};

} // namespace kiln

#endif
