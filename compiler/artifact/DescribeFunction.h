// Describes one function for the runtime.
#ifndef KILN_COMPILER_ARTIFACT_DESCRIBEFUNCTION_H
#define KILN_COMPILER_ARTIFACT_DESCRIBEFUNCTION_H

#include "compiler/artifact/ProgramDescription.h"
#include "ir/Exec/ExecDialect.h"
#include "llvm/ADT/StringMap.h"

namespace kiln {

/// `kernels` and `weights`: positions in the program, by symbol. Memory must be planned.
llvm::Expected<std::unique_ptr<schema::FunctionT>>
describeFunction(exec::FuncOp func, const llvm::StringMap<unsigned> &kernels,
                 const llvm::StringMap<unsigned> &weights, const schema::ProgramT &program);

} // namespace kiln

#endif
