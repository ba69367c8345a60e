// The decompositions as a pass, for kiln-opt and for tests.
#ifndef KILN_CODEGEN_REFERENCE_PASSES_H
#define KILN_CODEGEN_REFERENCE_PASSES_H

#include "mlir/IR/PatternMatch.h"
#include "mlir/Pass/Pass.h"
#include <memory>

namespace kiln {

/// Replaces ops of DecomposableOpInterface by their decompositions.
void populateDecomposeGraphPatterns(mlir::RewritePatternSet &patterns);

/// `decompose-graph`.
/// Does: replaces every graph op that has a decomposition.
/// Requires: nothing.
/// Guarantees: only attention and declarations of the graph dialect are left, and
///   `graph.dequantize` of the weights that the decompositions read.
std::unique_ptr<mlir::Pass> createDecomposeGraphPass();

/// Registers the passes of this folder by name.
void registerReferencePasses();

} // namespace kiln

#endif
