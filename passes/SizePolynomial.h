// Polynomials of dims, by which sizes are compared for all dims within their bounds.
#ifndef KILN_PASSES_SIZEPOLYNOMIAL_H
#define KILN_PASSES_SIZEPOLYNOMIAL_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/SmallVector.h"
#include <cstdint>
#include <map>
#include <tuple>

namespace kiln {

/// Inclusive bounds of a dim, min <= max.
struct DimRange {
  int64_t min, max;
};

/// A polynomial with rational coefficients; one that has outgrown its numbers is unknown, and so is
/// whatever is made with it.
class SizePolynomial {
public:
  using Number = __int128;

  static SizePolynomial constant(int64_t value);
  static SizePolynomial dim(unsigned dim);
  static SizePolynomial unknown();

  bool isKnown() const { return denominator > 0; }
  bool operator==(const SizePolynomial &other) const {
    return terms == other.terms && denominator == other.denominator;
  }
  bool operator<(const SizePolynomial &other) const {
    return std::tie(denominator, terms) < std::tie(other.denominator, other.terms);
  }

  /// Adds `factor` times the other.
  void add(const SizePolynomial &other, int64_t factor = 1);
  void multiply(const SizePolynomial &other);
  /// By a positive number.
  void divide(int64_t divisor);

  /// True where it is proven that the value is at least 0 everywhere in the box.
  bool isNonNegative(llvm::ArrayRef<DimRange> box) const;

private:
  using Exponents = llvm::SmallVector<uint8_t, 8>; // of dim 0, 1, …; without zeros at the end
  void addTerm(const Exponents &exponents, Number coefficient);
  bool scale(Number factor);
  void reduce();

  std::map<Exponents, Number> terms; // none is 0
  int64_t denominator = 1;           // 0: unknown
};

} // namespace kiln

#endif
