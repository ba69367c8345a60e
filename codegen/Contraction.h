// Emits kernels around matmuls: one fused region, one pass over the weights.
#ifndef KILN_CODEGEN_CONTRACTION_H
#define KILN_CODEGEN_CONTRACTION_H

#include "codegen/DotStrategy.h"
#include "codegen/KernelEmitter.h"

namespace kiln {

std::optional<std::string> refuseContraction(exec::KernelOp kernel, const Target &target,
                                             const DotStrategy &dot);
mlir::FailureOr<KernelCode> emitContraction(exec::KernelOp kernel, const Target &target,
                                            mlir::OpBuilder &builder, const DotStrategy &dot);

/// The kernel-list entry of contractions that multiply by `dot`.
template <const DotStrategy &dot>
constexpr KernelEmitter contractionEmitter(llvm::StringLiteral name) {
  return {name,
          [](exec::KernelOp kernel, const Target &target) {
            return refuseContraction(kernel, target, dot);
          },
          [](exec::KernelOp kernel, const Target &target, mlir::OpBuilder &builder) {
            return emitContraction(kernel, target, builder, dot);
          }};
}

/// The entry of contractions that multiply many rows by the target's matrix unit, and few rows by
/// the first of the target's dots that takes the format.
const KernelEmitter &matrixContractionEmitter();

/// The entry of graph.experts_matmul (codegen/ExpertsContraction.cpp).
const KernelEmitter &expertsContractionEmitter();

} // namespace kiln

#endif
