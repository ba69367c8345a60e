// Convolutions and matrix products that no fast kernel took.
#ifndef KILN_COMPILER_SLOWPRODUCTS_H
#define KILN_COMPILER_SLOWPRODUCTS_H

#include "codegen/KernelImage.h"
#include "mlir/IR/BuiltinOps.h"

namespace kiln {

/// A line for the user where products of some size are computed by kernels without tiles: the
/// target, the names of their nodes and why, the first few; "" where there are none. `image` is of
/// the kernels of `module`.
std::string describeSlowProducts(mlir::ModuleOp module, const KernelImage &image);

} // namespace kiln

#endif
