// Lowers a module of kernel functions to the LLVM dialect.
#ifndef KILN_CODEGEN_LOWERTOLLVM_H
#define KILN_CODEGEN_LOWERTOLLVM_H

#include "mlir/IR/BuiltinOps.h"

namespace kiln {

struct Target;

/// From emitted kernels (func, scf, arith, math, vector, memref, exec.tile_*) to the LLVM dialect:
/// lowers tiles, expands maths functions inline. Requires that split-dynamic-loops has run. On
/// failure diagnostics have been emitted.
mlir::LogicalResult lowerToLLVM(mlir::ModuleOp kernels, const Target &target);

} // namespace kiln

#endif
