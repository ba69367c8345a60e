// Floats of 16, 8 and 4 bits by integer arithmetic: scalars, exact in both directions.
#ifndef KILN_CODEGEN_ARRAY_NARROWFLOAT_H
#define KILN_CODEGEN_ARRAY_NARROWFLOAT_H

#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace kiln {

/// Whether a type is a float of less than 32 bits.
bool isNarrowFloat(mlir::Type type);
/// The f32 of a narrow float's bits, an integer of its width (8 bits at least).
mlir::Value emitFromBits(mlir::ImplicitLocOpBuilder &b, mlir::Value bits, mlir::FloatType type);
/// The bits of the narrow float nearest to an f32, ties to even. What is too large becomes
/// infinite, or NaN where the type has no infinity, or the largest where it has neither.
mlir::Value emitToBits(mlir::ImplicitLocOpBuilder &b, mlir::Value value, mlir::FloatType type);

} // namespace kiln

#endif
