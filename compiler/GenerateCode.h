// Code generation of a planned module for one target: emit, split, lower, compile, link.
#ifndef KILN_COMPILER_GENERATECODE_H
#define KILN_COMPILER_GENERATECODE_H

#include "codegen/EmitKernels.h"
#include "codegen/EmitObject.h"

namespace kiln {

/// What generateCode leaves for people to read.
struct CodeListing {
  ObjectKind kind = ObjectKind::Assembly;
  llvm::SmallVector<char, 0> text;
};

/// Code for every exec.kernel of `module`. When `listing` is given its text is filled too.
llvm::Expected<KernelImage> generateCode(mlir::ModuleOp module, const Target &target,
                                         const CodegenOptions &options = {},
                                         CodeListing *listing = nullptr);

} // namespace kiln

#endif
