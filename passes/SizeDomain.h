// Sizes as functions of variables, and what is known of these: how sizes compare for all dims.
#ifndef KILN_PASSES_SIZEDOMAIN_H
#define KILN_PASSES_SIZEDOMAIN_H

#include "passes/SizePolynomial.h"
#include <vector>

namespace kiln {

/// A linear function of the variables with non-negative coefficients, in bytes:
/// terms[0] + terms[1] * variable 0 + terms[2] * variable 1 + …
using LinearBytes = llvm::SmallVector<int64_t, 6>;
/// The largest of one or more linear functions.
using LargestBytes = std::vector<LinearBytes>;

/// What a size is linear in: a dim, or something that follows from dims and lies between two
/// polynomials of them; unknown ones say nothing.
struct SizeVariable {
  DimRange range;
  SizePolynomial low, high;
  unsigned length = 1; // operations that its value takes
};

/// The variables, and the box that the dims lie in.
class SizeDomain {
public:
  SizeDomain() = default;
  /// Dims that are the variables.
  SizeDomain(llvm::ArrayRef<DimRange> dims);
  SizeDomain(std::initializer_list<DimRange> dims) : SizeDomain(llvm::ArrayRef<DimRange>(dims)) {}
  SizeDomain(std::vector<SizeVariable> variables, std::vector<DimRange> dims)
      : variables(std::move(variables)), dims(std::move(dims)) {}

  size_t getVariableCount() const { return variables.size(); }
  const SizeVariable &getVariable(size_t i) const { return variables[i]; }
  /// Operations that the value of a function takes.
  size_t getLength(const LinearBytes &function) const;
  /// True where it is proven that left <= right for all dims.
  bool isAtMost(const LinearBytes &left, const LinearBytes &right) const;

private:
  std::vector<SizeVariable> variables;
  std::vector<DimRange> dims;
};

/// The value where the variables have these values.
int64_t evaluate(const LinearBytes &function, llvm::ArrayRef<int64_t> values);
int64_t evaluate(const LargestBytes &functions, llvm::ArrayRef<int64_t> values);

} // namespace kiln

#endif
