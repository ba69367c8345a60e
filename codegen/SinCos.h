// Sine and cosine for kernels, which have no libm: polynomials in f64 after an exact reduction.
#ifndef KILN_CODEGEN_SINCOS_H
#define KILN_CODEGEN_SINCOS_H

#include "mlir/IR/ImplicitLocOpBuilder.h"
#include <utility>

namespace kiln {

/// (sin, cos) of an angle in turns (1 turn = 2 pi radians), |angle| < 2^48. The angle is an f64 or
/// a vector of f64; the results are f32 or vectors of f32 with an error below 0.51 ulp of 1. Emits
/// arith ops alone: nothing that becomes a call, and no instruction beyond f64 add and multiply.
std::pair<mlir::Value, mlir::Value> emitSinCos(mlir::ImplicitLocOpBuilder &b,
                                               mlir::Value angleInTurns);

} // namespace kiln

#endif
