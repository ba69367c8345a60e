// From one-row tensors to loops over scratch memory.
#ifndef KILN_CODEGEN_REFERENCE_LOWERREFERENCE_H
#define KILN_CODEGEN_REFERENCE_LOWERREFERENCE_H

#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace kiln {

/// Lowers the tensors of a kernel function to scf loops over memrefs. Temporaries get fixed places
/// in the memory at `scratch` (!llvm.ptr, available in the whole body); returns its size in bytes.
mlir::FailureOr<int64_t> lowerReference(mlir::func::FuncOp function, mlir::Value scratch);

} // namespace kiln

#endif
