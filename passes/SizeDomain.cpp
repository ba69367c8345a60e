// How sizes compare. A linear function over a box is decided by its value in one corner; where
// variables hang together (a product and its factors, a number of lines of 64 bytes and the bytes
// in them) the corner is one that no dims have, and the polynomials that bound the variables
// decide.
#include "passes/SizeDomain.h"
#include <algorithm>

using namespace kiln;
using llvm::ArrayRef;

SizeDomain::SizeDomain(ArrayRef<DimRange> ranges) : dims(ranges.begin(), ranges.end()) {
  for (unsigned i = 0; i < dims.size(); ++i)
    variables.push_back({dims[i], SizePolynomial::dim(i), SizePolynomial::dim(i)});
}

size_t SizeDomain::getLength(const LinearBytes &function) const {
  size_t length = 1;
  for (size_t i = 1; i < function.size(); ++i)
    if (function[i] != 0)
      length += variables[i - 1].length + 3; // times a coefficient, plus
  return length;
}

bool SizeDomain::isAtMost(const LinearBytes &left, const LinearBytes &right) const {
  // The least that right - left can be.
  auto slope = [&](size_t i) { return right[i + 1] - left[i + 1]; };
  __int128 least = __int128(right[0]) - left[0];
  bool isSimple = true;
  for (size_t i = 0; i < variables.size(); ++i) {
    DimRange range = variables[i].range;
    constexpr __int128 most = __int128(1) << 100;
    __int128 change = __int128(slope(i)) * (slope(i) < 0 ? range.max : range.min);
    least += std::clamp<__int128>(change, -most, most);
    isSimple &= slope(i) >= 0;
  }
  if (least >= 0 || isSimple)
    return least >= 0;
  SizePolynomial difference = SizePolynomial::constant(right[0] - left[0]);
  for (size_t i = 0; i < variables.size(); ++i) {
    const SizeVariable &variable = variables[i];
    const SizePolynomial &bound = slope(i) < 0 ? variable.high : variable.low;
    if (slope(i) == 0)
      continue;
    if (bound.isKnown())
      difference.add(bound, slope(i));
    else
      difference.add(
          SizePolynomial::constant(slope(i) < 0 ? variable.range.max : variable.range.min),
          slope(i));
  }
  return difference.isNonNegative(dims);
}

int64_t kiln::evaluate(const LinearBytes &function, ArrayRef<int64_t> values) {
  int64_t result = function.front();
  for (size_t i = 0; i < values.size(); ++i)
    result += function[i + 1] * values[i];
  return result;
}

int64_t kiln::evaluate(const LargestBytes &functions, ArrayRef<int64_t> values) {
  int64_t result = 0;
  for (const LinearBytes &function : functions)
    result = std::max(result, evaluate(function, values));
  return result;
}
