// Emits kernels around attention over the paged KV cache.
#ifndef KILN_CODEGEN_ATTENTION_H
#define KILN_CODEGEN_ATTENTION_H

#include "codegen/KernelEmitter.h"

namespace kiln {

/// The kernel-list entry of attention: online softmax over pages, K and V read once per group of
/// query heads.
const KernelEmitter &attentionEmitter();

} // namespace kiln

#endif
