// Turns the kernels of a planned module into functions for one target: chooses and emits.
#ifndef KILN_CODEGEN_EMITKERNELS_H
#define KILN_CODEGEN_EMITKERNELS_H

#include "codegen/KernelImage.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/Support/Error.h"

namespace kiln {

struct Target;

struct CodegenOptions {
  /// Use only the kernel-list entry of this name and the last (reference) one; for tests.
  std::string onlyKernel;
};

/// Runs `work` and turns its diagnostics into an error that says what was being done.
llvm::Error withDiagnostics(mlir::MLIRContext *context, const llvm::Twine &what,
                            llvm::function_ref<mlir::LogicalResult()> work);

/// The kernels of `module` (exec.kernel ops) as functions of a new module, each by the first
/// entry of the target's list that takes it. Fills everything of `image` but code and entries.
llvm::Expected<mlir::OwningOpRef<mlir::ModuleOp>> emitKernels(mlir::ModuleOp module,
                                                              const Target &target,
                                                              const CodegenOptions &options,
                                                              KernelImage &image);

} // namespace kiln

#endif
