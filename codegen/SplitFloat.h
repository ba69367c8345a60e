// An f32 as a sum of bf16.
#ifndef KILN_CODEGEN_SPLITFLOAT_H
#define KILN_CODEGEN_SPLITFLOAT_H

#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace kiln::emit {

/// bf16 numbers that a finite f32 is the exact sum of, but for what is below the least of them.
inline constexpr int64_t kFloatParts = 3;

/// The parts of a vector of f32, the largest first, as f32 whose lower halves are zeros: each the
/// highest 8 bits of what the parts before it leave. An infinite number's other parts are NaN.
llvm::SmallVector<mlir::Value> emitSplitFloat(mlir::ImplicitLocOpBuilder &b, mlir::Value x);

} // namespace kiln::emit

#endif
