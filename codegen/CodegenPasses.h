// The stages of code generation as passes, so that kiln-opt can run each alone.
#ifndef KILN_CODEGEN_CODEGENPASSES_H
#define KILN_CODEGEN_CODEGENPASSES_H

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

namespace kiln {

struct Target;

/// Finds a target by name; code generation knows no concrete target itself.
using TargetLookup = llvm::Expected<const Target *> (*)(llvm::StringRef name);

/// Registers, each with the option `target` (default "host"):
///   emit-kernels   exec.kernel ops become functions with tile loops
///   lower-tiles    tile ops of static height become vectors; requires split-dynamic-loops
///   lower-to-llvm  functions without tile loops become the LLVM dialect
/// and the passes of codegen/reference.
void registerCodegenPasses(TargetLookup lookup);

} // namespace kiln

#endif
