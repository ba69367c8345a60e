// The kernel-list entry of attention over arrays (the operator "attention" of graph.compute).
#ifndef KILN_CODEGEN_ATTENTION_DENSEATTENTION_H
#define KILN_CODEGEN_ATTENTION_DENSEATTENTION_H

#include "codegen/KernelEmitter.h"

namespace kiln {

/// Online softmax by vectors, a query in each lane.
const KernelEmitter &denseAttentionEmitter();

} // namespace kiln

#endif
