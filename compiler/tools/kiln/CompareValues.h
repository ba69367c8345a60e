// How far an array is from the one that was expected.
#ifndef KILN_TOOLS_COMPAREVALUES_H
#define KILN_TOOLS_COMPAREVALUES_H

#include "compiler/values/Value.h"

namespace kiln {

struct Difference {
  std::string problem; // where types or shapes differ, and nothing else was compared
  int64_t elements = 0, mismatches = 0;
  double largestAbsolute = 0; // |found - expected|
  double largestRelative = 0; // that over |expected|, where this is not 0
  int64_t worst = -1;         // the first element of the largest excess over the tolerance
  bool agrees() const { return problem.empty() && mismatches == 0; }
};

/// An element agrees where |found - expected| <= absolute + relative * |expected|, both are NaN or
/// the same infinity; integers and booleans where they are equal, or within the tolerance if
/// `integersToo`.
Difference compareValues(const Value &found, const Value &expected, double relative,
                         double absolute, bool integersToo);

} // namespace kiln

#endif
