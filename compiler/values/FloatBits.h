// Floats of any format as the nearest of another: LLVM's APFloat, and what it leaves open.
#ifndef KILN_COMPILER_VALUES_FLOATBITS_H
#define KILN_COMPILER_VALUES_FLOATBITS_H

#include "llvm/ADT/APFloat.h"

namespace kiln {

/// The bits of the number of a format that is nearest, ties to even. A format without infinity (and
/// without NaN) takes its largest number for it, and zero for NaN: so does ONNX's Cast to
/// float4e2m1 (https://onnx.ai/onnx/technical/float4.html, whose NaN is 6, but not in its tests).
uint64_t toFloatBits(double number, const llvm::fltSemantics &format);

/// The number that a format's bits stand for.
double fromFloatBits(uint64_t bits, const llvm::fltSemantics &format);

} // namespace kiln

#endif
