// Code generation of a planned module for one target. Between the stages:
//   emitKernels    functions over tiles of dynamic height
//   split          full tiles and specialised remainders: every height static, before vectorization
//   lowerToLLVM    LLVM dialect, no maths call left
//   emitObject     machine code
//   linkImage      a position-independent image without imports
#include "compiler/GenerateCode.h"
#include "codegen/LinkImage.h"
#include "codegen/LowerToLLVM.h"
#include "codegen/Target.h"
#include "mlir/Pass/PassManager.h"
#include "passes/Passes.h"

using namespace mlir;
using namespace kiln;

static LogicalResult splitAndLower(ModuleOp kernels, const Target &target) {
  PassManager passes(kernels.getContext());
  passes.addPass(createSplitDynamicLoops());
  if (failed(passes.run(kernels)))
    return failure();
  return lowerToLLVM(kernels, target);
}

llvm::Expected<KernelImage> kiln::generateCode(ModuleOp module, const Target &target,
                                               const CodegenOptions &options,
                                               CodeListing *listing) {
  KernelImage image;
  llvm::Expected<OwningOpRef<ModuleOp>> code = emitKernels(module, target, options, image);
  if (!code)
    return code.takeError();
  if (llvm::Error error =
          withDiagnostics(module.getContext(), "lowering to LLVM for " + target.name,
                          [&] { return splitAndLower(**code, target); }))
    return error;
  if (listing) {
    auto text = emitObject(**code, target, listing->kind);
    if (!text)
      return text.takeError();
    listing->text = std::move(*text);
  }
  llvm::Expected<llvm::SmallVector<char, 0>> object = emitObject(**code, target);
  if (!object)
    return object.takeError();
  if (llvm::Error error = linkImage(*object, image))
    return error;
  return image;
}
