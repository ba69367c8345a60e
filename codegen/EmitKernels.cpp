// Turns the kernels of a planned module into functions for one target. For each kernel the target's
// ordered list is asked, best entry first; reasons of those that refuse are kept for `kiln
// inspect`.
#include "codegen/EmitKernels.h"
#include "codegen/KernelEmitter.h"
#include "codegen/Target.h"
#include "ir/Exec/ExecDialect.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlow.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/Verifier.h"

using namespace mlir;
using namespace kiln;

llvm::Error kiln::withDiagnostics(MLIRContext *context, const llvm::Twine &what,
                                  llvm::function_ref<LogicalResult()> work) {
  std::string text;
  ScopedDiagnosticHandler handler(context, [&](Diagnostic &diagnostic) {
    llvm::raw_string_ostream(text) << "\n  " << diagnostic.getLocation() << ": " << diagnostic;
    return success();
  });
  if (succeeded(work()))
    return llvm::Error::success();
  return llvm::createStringError(what + text);
}

static const KernelEmitter *choose(exec::KernelOp kernel, const Target &target,
                                   const CodegenOptions &options,
                                   std::vector<std::string> &refused) {
  for (const KernelEmitter *emitter : target.kernels) {
    bool last = emitter == target.kernels.back();
    if (!options.onlyKernel.empty() && emitter->name != options.onlyKernel && !last)
      continue;
    std::optional<std::string> reason = emitter->refuse(kernel, target);
    if (!reason)
      return emitter;
    refused.push_back((emitter->name + ": " + *reason).str());
  }
  return nullptr;
}

llvm::Expected<OwningOpRef<ModuleOp>> kiln::emitKernels(ModuleOp module, const Target &target,
                                                        const CodegenOptions &options,
                                                        KernelImage &image) {
  MLIRContext *context = module.getContext();
  context->loadDialect<arith::ArithDialect, cf::ControlFlowDialect, func::FuncDialect,
                       LLVM::LLVMDialect, math::MathDialect, memref::MemRefDialect, scf::SCFDialect,
                       vector::VectorDialect, exec::ExecDialect>();
  image.target = target.name;
  image.machine = target.elfMachine;
  image.features = target.requiredFeatures;
  OwningOpRef<ModuleOp> code = ModuleOp::create(UnknownLoc::get(context));
  OpBuilder builder(code->getBodyRegion());
  for (auto kernel : module.getOps<exec::KernelOp>()) {
    KernelImage::Kernel entry;
    entry.name = kernel.getSymName().str();
    const KernelEmitter *emitter = choose(kernel, target, options, entry.refused);
    if (!emitter)
      return llvm::createStringError("kernel " + entry.name + ": no entry of target " +
                                     target.name + " takes it");
    entry.implementation = emitter->name.str();
    FailureOr<KernelCode> emitted;
    builder.setInsertionPointToEnd(code->getBody());
    if (llvm::Error error = withDiagnostics(
            context, "kernel " + entry.name + ", " + emitter->name + ": cannot be emitted", [&] {
              emitted = emitter->emit(kernel, target, builder);
              return success(succeeded(emitted));
            }))
      return error;
    entry.items = emitted->items;
    entry.scratchBytes = emitted->scratchBytes;
    entry.counters = emitted->counters;
    image.kernels.push_back(std::move(entry));
  }
  if (llvm::Error error =
          withDiagnostics(context, "emitted kernels do not verify", [&] { return verify(*code); }))
    return error;
  return code;
}
