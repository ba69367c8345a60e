// Keeps the types of `graph.use` equal to what their weights are stored as.
#ifndef KILN_PASSES_WEIGHTUSES_H
#define KILN_PASSES_WEIGHTUSES_H

#include "ir/Graph/GraphDialect.h"
#include "mlir/IR/BuiltinOps.h"

namespace kiln {

/// Gives every `graph.use` in the module its weight's stored type. No op's result type depends on
/// a weight's encoding, so nothing else changes.
inline void updateWeightUses(mlir::ModuleOp module) {
  mlir::SymbolTable symbols(module);
  module.walk([&](graph::WeightRefOp use) {
    if (auto weight = symbols.lookup<graph::WeightOp>(use.getWeight()))
      use.getResult().setType(weight.getStoredType());
  });
}

} // namespace kiln

#endif
