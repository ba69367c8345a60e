// Emits kernels around attention over the paged KV cache.
#ifndef KILN_CODEGEN_ATTENTION_H
#define KILN_CODEGEN_ATTENTION_H

#include "codegen/KernelEmitter.h"

namespace kiln {

// The kernel-list entries of attention: online softmax over pages, K and V read once per group of
// query heads.

/// Any target: FMA on vectors.
const KernelEmitter &attentionEmitter();
/// Prefill through the target's matrix unit; the rest as above.
const KernelEmitter &matrixAttentionEmitter();

} // namespace kiln

#endif
