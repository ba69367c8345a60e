// Whether one size is never above another is whether a polynomial is nowhere below 0 in a box. In
// the Bernstein form, where a polynomial is a mean of its coefficients with weights that are
// positive in the box, it suffices that no coefficient is negative; for polynomials in which no dim
// is squared the coefficients are the values in the corners, and nothing is missed (G. Garloff,
// "The Bernstein algorithm", Interval Computations 2, 1993).
#include "passes/SizePolynomial.h"
#include <cmath>
#include <numeric>
#include <tuple>

using namespace kiln;
using Number = SizePolynomial::Number;

static constexpr size_t kMaxTerms = 64, kMaxCoefficients = 4096;
static constexpr unsigned kMaxDegree = 8;
static constexpr double kLargest = 1e36; // below 2^120
static constexpr int64_t kLargestDenominator = int64_t(1) << 40;

static bool multiplyInto(Number &left, Number right) {
  if (std::fabs(double(left) * double(right)) > kLargest)
    return false;
  left *= right;
  return true;
}

static bool addInto(Number &left, Number right) {
  if (std::fabs(double(left) + double(right)) > kLargest)
    return false;
  left += right;
  return true;
}

SizePolynomial SizePolynomial::unknown() {
  SizePolynomial result;
  result.denominator = 0;
  return result;
}

SizePolynomial SizePolynomial::constant(int64_t value) {
  SizePolynomial result;
  result.addTerm({}, value);
  return result;
}

SizePolynomial SizePolynomial::dim(unsigned dim) {
  SizePolynomial result;
  Exponents exponents(dim + 1, 0);
  exponents[dim] = 1;
  result.addTerm(exponents, 1);
  return result;
}

void SizePolynomial::addTerm(const Exponents &exponents, Number coefficient) {
  Number &sum = terms[exponents];
  if (!addInto(sum, coefficient)) {
    *this = unknown();
    return;
  }
  if (sum == 0)
    terms.erase(exponents);
  if (terms.size() > kMaxTerms)
    *this = unknown();
}

bool SizePolynomial::scale(Number factor) {
  for (auto &[exponents, coefficient] : terms)
    if (!multiplyInto(coefficient, factor))
      return false;
  return true;
}

static Number greatestDivisor(Number a, Number b) {
  while (b != 0)
    std::tie(a, b) = std::pair(b, a % b);
  return a < 0 ? -a : a;
}

/// Without factors that numerators and denominator share, so that equal polynomials look equal.
void SizePolynomial::reduce() {
  Number divisor = denominator;
  for (const auto &[exponents, coefficient] : terms)
    divisor = greatestDivisor(divisor, coefficient);
  if (divisor <= 1)
    return;
  for (auto &[exponents, coefficient] : terms)
    coefficient /= divisor;
  denominator /= int64_t(divisor);
}

void SizePolynomial::add(const SizePolynomial &other, int64_t factor) {
  if (!isKnown() || !other.isKnown()) {
    *this = unknown();
    return;
  }
  int64_t divisor = std::gcd(denominator, other.denominator), times = other.denominator / divisor;
  if (denominator > kLargestDenominator / times || !scale(times)) {
    *this = unknown();
    return;
  }
  denominator *= times;
  for (const auto &[exponents, coefficient] : other.terms) {
    Number term = coefficient;
    if (!multiplyInto(term, denominator / other.denominator) || !multiplyInto(term, factor)) {
      *this = unknown();
      return;
    }
    addTerm(exponents, term);
    if (!isKnown())
      return;
  }
  reduce();
}

void SizePolynomial::multiply(const SizePolynomial &other) {
  if (!isKnown() || !other.isKnown() || denominator > kLargestDenominator / other.denominator) {
    *this = unknown();
    return;
  }
  SizePolynomial result;
  for (const auto &[left, a] : terms)
    for (const auto &[right, b] : other.terms) {
      Exponents exponents(std::max(left.size(), right.size()), 0);
      for (size_t i = 0; i < exponents.size(); ++i)
        exponents[i] = (i < left.size() ? left[i] : 0) + (i < right.size() ? right[i] : 0);
      Number product = a;
      if (llvm::any_of(exponents, [](uint8_t degree) { return degree > kMaxDegree; }) ||
          !multiplyInto(product, b)) {
        *this = unknown();
        return;
      }
      result.addTerm(exponents, product);
      if (!result.isKnown()) {
        *this = unknown();
        return;
      }
    }
  result.denominator = denominator * other.denominator;
  result.reduce();
  *this = std::move(result);
}

void SizePolynomial::divide(int64_t divisor) {
  if (!isKnown() || divisor <= 0 || denominator > kLargestDenominator / divisor) {
    *this = unknown();
    return;
  }
  denominator *= divisor;
  reduce();
}

static int64_t choose(unsigned n, unsigned k) {
  int64_t result = 1;
  for (unsigned i = 1; i <= k; ++i)
    result = result * (n - k + i) / i;
  return result;
}

/// From the coefficients of powers of x, for x from range.min to range.max, to positive multiples
/// of the Bernstein coefficients. `values` has degree + 1 entries, `stride` apart.
static bool toBernstein(Number *values, size_t stride, unsigned degree, DimRange range) {
  Number width = Number(range.max) - range.min;
  // x = min + width * t, in powers of t.
  Number scale = 1;
  for (unsigned j = 0; j <= degree; ++j) {
    Number sum = 0, power = 1;
    for (unsigned i = j; i <= degree; ++i) {
      Number term = values[i * stride];
      if (!multiplyInto(term, choose(i, j)) || !multiplyInto(term, power) || !addInto(sum, term))
        return false;
      if (i < degree && !multiplyInto(power, range.min))
        return false;
    }
    values[j * stride] = sum; // not read again: later sums begin above j
    if (!multiplyInto(values[j * stride], scale) || (j < degree && !multiplyInto(scale, width)))
      return false;
  }
  int64_t multiple = 1;
  for (unsigned i = 0; i <= degree; ++i)
    multiple = std::lcm(multiple, choose(degree, i));
  for (unsigned j = degree + 1; j-- > 0;) {
    Number sum = 0;
    for (unsigned i = 0; i <= j; ++i) {
      Number term = values[i * stride];
      if (!multiplyInto(term, choose(j, i) * (multiple / choose(degree, i))) || !addInto(sum, term))
        return false;
    }
    values[j * stride] = sum; // the next sums are of lower ones alone
  }
  return true;
}

bool SizePolynomial::isNonNegative(llvm::ArrayRef<DimRange> box) const {
  if (!isKnown())
    return false;
  llvm::SmallVector<unsigned> degrees(box.size(), 0);
  for (const auto &[exponents, coefficient] : terms)
    for (size_t i = 0; i < exponents.size(); ++i) {
      if (i >= box.size())
        return false;
      degrees[i] = std::max<unsigned>(degrees[i], exponents[i]);
    }
  size_t count = 1;
  llvm::SmallVector<size_t> strides;
  for (unsigned degree : degrees) {
    strides.push_back(count);
    count *= degree + 1;
    if (count > kMaxCoefficients)
      return false;
  }
  std::vector<Number> values(count, 0);
  for (const auto &[exponents, coefficient] : terms) {
    size_t place = 0;
    for (size_t i = 0; i < exponents.size(); ++i)
      place += exponents[i] * strides[i];
    values[place] = coefficient;
  }
  for (size_t dim = 0; dim < box.size(); ++dim) {
    if (degrees[dim] == 0)
      continue;
    size_t length = strides[dim] * (degrees[dim] + 1);
    for (size_t outer = 0; outer < count; outer += length)
      for (size_t inner = 0; inner < strides[dim]; ++inner)
        if (!toBernstein(&values[outer + inner], strides[dim], degrees[dim], box[dim]))
          return false;
  }
  return llvm::all_of(values, [](Number value) { return value >= 0; });
}
