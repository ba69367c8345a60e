// The vector form of an elementwise op, from its decomposition.
#ifndef KILN_CODEGEN_REFERENCE_VECTORIZEBODY_H
#define KILN_CODEGEN_REFERENCE_VECTORIZEBODY_H

#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace kiln {

/// The op's result for one lane each of `operands`: all f32, or all vectors of f32 of one length.
/// The op's fusion kind is Elementwise. Null (with a diagnostic) where it has no decomposition.
mlir::Value emitElementwise(mlir::ImplicitLocOpBuilder &b, mlir::Operation *op,
                            mlir::ValueRange operands);

} // namespace kiln

#endif
