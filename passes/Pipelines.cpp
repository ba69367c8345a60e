// The passes from imported graph to planned schedule, in order, with what holds between them.
#include "passes/Pipelines.h"
#include "mlir/Pass/PassRegistry.h"
#include "mlir/Transforms/Passes.h"
#include "passes/Passes.h"

using namespace mlir;
using namespace kiln;

void kiln::buildGraphPipeline(OpPassManager &passes, const GraphOptions &options) {
  // One op for each op of the model, one weight for each tensor of the source, formats as in the
  // source.
  passes.addNestedPass<graph::FuncOp>(createCanonicalizerPass());
  passes.addNestedPass<graph::FuncOp>(createFoldConstants());
  passes.addNestedPass<graph::FuncOp>(createCSEPass());
  passes.addNestedPass<graph::FuncOp>(createRecognizeOperators());
  // What a model wrote out in primitives has its name; transposes around attention are part of it.
  passes.addNestedPass<graph::FuncOp>(createCancelTransposes());
  passes.addNestedPass<graph::FuncOp>(createCSEPass());
  // No op has only constant operands; no op is dead; equal pure ops are one (so that "the same
  // input" is the same value for what follows).
  passes.addPass(createFuseHorizontalMatmuls());
  passes.addNestedPass<graph::FuncOp>(createCanonicalizerPass());
  // Matmuls of one input are one, unless their results meet elementwise. The set of weights is
  // final.
  QuantizeWeightsOptions quantize;
  quantize.format = options.format;
  quantize.keepBlocks = options.keepBlocks;
  llvm::append_range(quantize.overrides, options.overrides);
  passes.addPass(createQuantizeWeights(quantize));
  passes.addPass(createAssignWeightLayouts());
  // Weights are stored as they will be in the artifact, and the types of their uses say so. CSE may
  // merge uses of one weight now.
  passes.addNestedPass<graph::FuncOp>(createCSEPass());
  passes.addNestedPass<graph::FuncOp>(createFuseRegions());
  // A function is uses, regions and a return; what passes between regions lives in memory.
  passes.addPass(createFormKernels());
  // exec: a function is declarations and launches in program order; kernels are distinct.
  passes.addNestedPass<exec::FuncOp>(createInsertBarriers());
  // Launches between two barriers are independent.
  passes.addNestedPass<exec::FuncOp>(createPlanMemory());
  // Every buffer has its place; buffers alive between the same two barriers do not overlap.
}

void kiln::registerKilnPassesAndPipelines() {
  registerKilnPasses();
  registerCanonicalizerPass();
  registerCSEPass();
  PassPipelineRegistration<GraphOptions>(
      "kiln-graph", "From an imported graph module to an exec module with planned memory",
      buildGraphPipeline);
}
