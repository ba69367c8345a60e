// The kernel-list entry of products of two activations (the operator "matmul" of graph.compute).
#ifndef KILN_CODEGEN_ARRAY_PACKEDMATMUL_H
#define KILN_CODEGEN_ARRAY_PACKEDMATMUL_H

#include "codegen/KernelEmitter.h"

namespace kiln {

/// Tiles of f32 whose sums stay in registers; few columns of the right matrix packed at a time.
const KernelEmitter &packedMatmulEmitter();

} // namespace kiln

#endif
