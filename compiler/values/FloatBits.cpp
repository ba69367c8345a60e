#include "compiler/values/FloatBits.h"
#include <cmath>
#include <limits>

using llvm::APFloat;

uint64_t kiln::toFloatBits(double number, const llvm::fltSemantics &format) {
  bool lost, isFinite = !APFloat::semanticsHasNaN(format);
  if (isFinite && std::isinf(number))
    return APFloat::getLargest(format, std::signbit(number)).bitcastToAPInt().getZExtValue();
  APFloat rounded(isFinite && std::isnan(number) ? 0.0 : number);
  rounded.convert(format, APFloat::rmNearestTiesToEven, &lost);
  return rounded.bitcastToAPInt().getZExtValue();
}

double kiln::fromFloatBits(uint64_t bits, const llvm::fltSemantics &format) {
  unsigned width = APFloat::getSizeInBits(format);
  APFloat number(format, llvm::APInt(width, bits & (~uint64_t(0) >> (64 - width))));
  if (number.isNaN())
    return std::numeric_limits<double>::quiet_NaN();
  bool lost;
  number.convert(APFloat::IEEEdouble(), APFloat::rmNearestTiesToEven, &lost);
  return number.convertToDouble();
}
