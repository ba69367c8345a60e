// The table of contents of the compiler from imported graph to planned schedule.
#ifndef KILN_PASSES_PIPELINES_H
#define KILN_PASSES_PIPELINES_H

#include "mlir/Pass/PassManager.h"
#include "mlir/Pass/PassOptions.h"

namespace kiln {

struct GraphOptions : mlir::PassPipelineOptions<GraphOptions> {
  Option<std::string> format{*this, "format", llvm::cl::desc("Weights: none, q8 or q4"),
                             llvm::cl::init("none")};
  Option<bool> keepBlocks{*this, "keep-blocks",
                          llvm::cl::desc("Weights whose sources are quantized blocks keep them"),
                          llvm::cl::init(false)};
  ListOption<std::string> overrides{*this, "overrides",
                                    llvm::cl::desc("name=format: the format of matching weights")};
};

/// Adds the passes from an imported graph module to an exec module ready for code generation.
void buildGraphPipeline(mlir::OpPassManager &passes, const GraphOptions &options);

/// Makes every pass and the pipeline `kiln-graph` known by name (kiln-opt).
void registerKilnPassesAndPipelines();

} // namespace kiln

#endif
