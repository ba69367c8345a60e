// Runs any pass of the compiler on textual IR: kiln-opt --pass-pipeline='…' file.mlir, or
// kiln-opt --fuse-regions file.mlir.
#include "codegen/CodegenPasses.h"
#include "ir/Exec/ExecDialect.h"
#include "ir/Graph/GraphDialect.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlow.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"
#include "passes/Pipelines.h"
#include "targets/Targets.h"

using namespace mlir;

static void registerDialects(DialectRegistry &registry) {
  registry.insert<kiln::graph::GraphDialect, kiln::exec::ExecDialect>();
  registry.insert<affine::AffineDialect, arith::ArithDialect, bufferization::BufferizationDialect,
                  cf::ControlFlowDialect, func::FuncDialect, linalg::LinalgDialect,
                  LLVM::LLVMDialect, math::MathDialect, memref::MemRefDialect, scf::SCFDialect,
                  tensor::TensorDialect, vector::VectorDialect>();
}

/// The passes of each library, one line for each.
static void registerPasses() {
  kiln::registerKilnPassesAndPipelines();
  kiln::registerCodegenPasses(kiln::findTarget);
}

int main(int argc, char **argv) {
  DialectRegistry registry;
  registerDialects(registry);
  registerPasses();
  return asMainReturnCode(MlirOptMain(argc, argv, "Kiln's pass driver\n", registry));
}
