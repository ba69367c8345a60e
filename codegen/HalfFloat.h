// Conversions between f32 and the 16-bit floats in integer arithmetic, for targets whose LLVM
// lowering of them would be a call (x86-64 before F16C) and for code that must not care.
#ifndef KILN_CODEGEN_HALFFLOAT_H
#define KILN_CODEGEN_HALFFLOAT_H

#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace kiln {

/// f32 of an f16's bits: i16 or a vector of i16 -> f32 or a vector of f32. Exact for every value.
mlir::Value emitHalfToFloat(mlir::ImplicitLocOpBuilder &b, mlir::Value bits);
/// The bits of the f16 nearest to an f32 (ties to even); NaN gives a quiet NaN.
mlir::Value emitFloatToHalf(mlir::ImplicitLocOpBuilder &b, mlir::Value value);
/// f32 of a bf16's bits.
mlir::Value emitBrainToFloat(mlir::ImplicitLocOpBuilder &b, mlir::Value bits);

} // namespace kiln

#endif
