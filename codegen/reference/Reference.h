// The two kernel emitters that need nothing of a target: "reference", which takes every kernel, and
// "loops", which takes kernels of row lookups and elementwise ops and computes 16 columns at a
// time.
#ifndef KILN_CODEGEN_REFERENCE_REFERENCE_H
#define KILN_CODEGEN_REFERENCE_REFERENCE_H

#include "codegen/KernelEmitter.h"

namespace kiln {

/// One row at a time from the ops' decompositions; attention as plain loops. Last in every
/// target's list. Needs the dialects and interfaces of registerReferenceDialects in the context.
const KernelEmitter &referenceEmitter();

/// Kernels of embed, gather, slice, norms, elementwise ops and constants, 16 lanes at a time.
const KernelEmitter &loopsEmitter();

/// What referenceEmitter builds with: upstream dialects and their bufferization interfaces. The
/// emitter loads them itself where it is not called from inside a multithreaded pass.
void registerReferenceDialects(mlir::DialectRegistry &registry);

} // namespace kiln

#endif
