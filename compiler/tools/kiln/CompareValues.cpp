// Compares arrays element by element, as numpy.testing.assert_allclose does: its test is
// |found - expected| <= absolute + relative * |expected|, and it compares NaNs and infinities as
// such.
#include "compiler/tools/kiln/CompareValues.h"
#include "compiler/import/Problems.h"
#include <cmath>
#include <cstring>

using namespace kiln;

Difference kiln::compareValues(const Value &found, const Value &expected, double relative,
                               double absolute, bool integersToo) {
  Difference result;
  bool isNameless =
      expected.type == OnnxType::Undefined && expected.elementBytes == found.elementBytes;
  if ((found.type != expected.type && !isNameless) || found.dims != expected.dims) {
    result.problem = "expected " + nameOf(expected.type).str() + " " + printShape(expected.dims) +
                     ", found " + nameOf(found.type).str() + " " + printShape(found.dims);
    return result;
  }
  Value typed = expected;
  typed.type = found.type;
  bool isFloat = nameOf(found.type).contains("float");
  double worstExcess = 0;
  result.elements = found.count();
  for (int64_t i = 0; i < result.elements; ++i) {
    size_t at = size_t(i) * found.elementBytes;
    if (std::memcmp(&found.bytes[at], &typed.bytes[at], found.elementBytes) == 0)
      continue;
    double got = numberAt(found, i), wanted = numberAt(typed, i);
    if ((std::isnan(got) && std::isnan(wanted)) || (isFloat && got == wanted))
      continue;
    double difference = std::fabs(got - wanted);
    if (std::isnan(difference))
      difference = INFINITY;
    result.largestAbsolute = std::max(result.largestAbsolute, difference);
    if (wanted != 0)
      result.largestRelative = std::max(result.largestRelative, difference / std::fabs(wanted));
    double allowed = isFloat || integersToo ? absolute + relative * std::fabs(wanted) : 0;
    bool exact =
        !isFloat && !integersToo; // of wide integers the numbers may be equal, the bits not
    if (std::isfinite(wanted) && !exact && difference <= allowed)
      continue;
    ++result.mismatches;
    double excess = difference - allowed;
    if (result.worst < 0 || excess > worstExcess)
      result.worst = i, worstExcess = excess;
  }
  return result;
}
