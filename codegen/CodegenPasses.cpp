// The stages of code generation as passes: thin shells around emitKernels, lowerTiles and
// lowerToLLVM.
#include "codegen/CodegenPasses.h"
#include "codegen/EmitKernels.h"
#include "codegen/LowerTiles.h"
#include "codegen/LowerToLLVM.h"
#include "codegen/reference/Passes.h"
#include "codegen/reference/Reference.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlow.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/Pass/Pass.h"

using namespace mlir;
using namespace kiln;

namespace {

/// A stage that needs a target: finds it and runs on the module.
template <typename Derived> struct TargetPass : PassWrapper<Derived, OperationPass<ModuleOp>> {
  explicit TargetPass(TargetLookup lookup) : lookup(lookup) {}
  TargetPass(const TargetPass &other)
      : PassWrapper<Derived, OperationPass<ModuleOp>>(other), lookup(other.lookup) {}

  void getDependentDialects(DialectRegistry &registry) const override {
    registry.insert<arith::ArithDialect, cf::ControlFlowDialect, exec::ExecDialect,
                    func::FuncDialect, LLVM::LLVMDialect, math::MathDialect, memref::MemRefDialect,
                    scf::SCFDialect, vector::VectorDialect>();
    registerReferenceDialects(registry);
  }

  void runOnOperation() override {
    ModuleOp module = this->getOperation();
    llvm::Expected<const Target *> found = lookup(target);
    if (!found) {
      module.emitError(llvm::toString(found.takeError()));
      return this->signalPassFailure();
    }
    if (failed(static_cast<Derived *>(this)->run(module, **found)))
      this->signalPassFailure();
  }

  TargetLookup lookup;
  Pass::Option<std::string> target{*this, "target", llvm::cl::desc("Name of a target"),
                                   llvm::cl::init("host")};
};

struct EmitKernelsPass : TargetPass<EmitKernelsPass> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(EmitKernelsPass)
  using TargetPass::TargetPass;
  StringRef getArgument() const override { return "emit-kernels"; }
  StringRef getDescription() const override {
    return "Turn kernels into functions with tile loops";
  }

  LogicalResult run(ModuleOp module, const Target &target) {
    KernelImage image;
    llvm::Expected<OwningOpRef<ModuleOp>> code = emitKernels(module, target, {}, image);
    if (!code)
      return module.emitError(llvm::toString(code.takeError()));
    for (auto kernel : llvm::make_early_inc_range(module.getOps<exec::KernelOp>()))
      kernel.erase();
    Block &body = *module.getBody();
    body.getOperations().splice(body.end(), (*code)->getBody()->getOperations());
    return success();
  }
};

struct LowerTilesPass : TargetPass<LowerTilesPass> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(LowerTilesPass)
  using TargetPass::TargetPass;
  StringRef getArgument() const override { return "lower-tiles"; }
  StringRef getDescription() const override { return "Lower tile ops of static height to vectors"; }
  LogicalResult run(ModuleOp module, const Target &target) { return lowerTiles(module, target); }
};

struct LowerToLLVMPass : TargetPass<LowerToLLVMPass> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(LowerToLLVMPass)
  using TargetPass::TargetPass;
  StringRef getArgument() const override { return "lower-to-llvm"; }
  StringRef getDescription() const override {
    return "Lower kernel functions without tile loops to the LLVM dialect";
  }
  LogicalResult run(ModuleOp module, const Target &target) { return lowerToLLVM(module, target); }
};

} // namespace

void kiln::registerCodegenPasses(TargetLookup lookup) {
  registerPass([lookup] { return std::make_unique<EmitKernelsPass>(lookup); });
  registerPass([lookup] { return std::make_unique<LowerTilesPass>(lookup); });
  registerPass([lookup] { return std::make_unique<LowerToLLVMPass>(lookup); });
  registerReferencePasses();
}
