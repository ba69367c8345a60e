// The parts of a program that come from attributes of the module and from code generation.
#ifndef KILN_COMPILER_ARTIFACT_DESCRIBEFACTS_H
#define KILN_COMPILER_ARTIFACT_DESCRIBEFACTS_H

#include "compiler/artifact/ProgramDescription.h"

namespace kiln {

/// Fills facts and language_model from `graph.facts` and `graph.language_model`.
llvm::Error describeFacts(mlir::ModuleOp module, schema::ProgramT &program);

} // namespace kiln

#endif
