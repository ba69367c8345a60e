// Floats of any format as the nearest of another: LLVM's APFloat, and what it leaves open.
#ifndef KILN_COMPILER_VALUES_FLOATBITS_H
#define KILN_COMPILER_VALUES_FLOATBITS_H

#include "llvm/ADT/APFloat.h"

namespace kiln {

/// The bits of the number of a format that is nearest, ties to even. A format that has neither NaN
/// nor infinity takes zero and its largest number for them, as ONNX's tests of float4e2m1 do (its
/// text, https://onnx.ai/onnx/technical/float4.html, takes 6 for NaN too).
uint64_t toFloatBits(double number, const llvm::fltSemantics &format);

/// The number that a format's bits stand for.
double fromFloatBits(uint64_t bits, const llvm::fltSemantics &format);

} // namespace kiln

#endif
