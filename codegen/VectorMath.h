// Maths functions on vectors of f32, faster than the general expansions and as exact as is said.
#ifndef KILN_CODEGEN_VECTORMATH_H
#define KILN_CODEGEN_VECTORMATH_H

#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace kiln::emit {

/// 2^x for finite x <= 127, exactly 0 below -125 and exactly 1 at 0. A polynomial of degree 3
/// (relative error below 2e-4), 4 (5e-6) or 5 (3e-7).
mlir::Value emitExp2(mlir::ImplicitLocOpBuilder &b, mlir::Value x, int64_t degree);

/// tanh x within 3e-7; NaN for NaN.
mlir::Value emitTanh(mlir::ImplicitLocOpBuilder &b, mlir::Value x);

/// x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) within 2e-6 of its size; NaN for NaN.
mlir::Value emitGeluTanh(mlir::ImplicitLocOpBuilder &b, mlir::Value x);

/// x/2 (1 + erf(x / sqrt 2)) within 3e-7 of |x|; NaN for NaN.
mlir::Value emitGelu(mlir::ImplicitLocOpBuilder &b, mlir::Value x);

/// x / (1 + e^-x) within 1.5e-6 of its size (e^-x of a large x is only that exact); NaN for NaN.
mlir::Value emitSilu(mlir::ImplicitLocOpBuilder &b, mlir::Value x);

} // namespace kiln::emit

#endif
