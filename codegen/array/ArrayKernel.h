// The emitter "array": any kernel of `graph.compute` ops, from their records.
#ifndef KILN_CODEGEN_ARRAY_ARRAYKERNEL_H
#define KILN_CODEGEN_ARRAY_ARRAYKERNEL_H

#include "codegen/KernelEmitter.h"

namespace kiln {

const KernelEmitter &arrayEmitter();

} // namespace kiln

#endif
