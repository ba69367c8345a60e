// Decides which ops of a function share a region. FuseRegions.cpp builds the regions.
#ifndef KILN_PASSES_GROUPREGIONS_H
#define KILN_PASSES_GROUPREGIONS_H

#include "ir/Graph/GraphDialect.h"
#include "llvm/ADT/SetVector.h"
#include <vector>

namespace kiln {

/// Ops that become one kernel.
struct RegionGroup {
  llvm::SmallVector<mlir::Operation *> ops; // in program order; an op may be in several groups
  llvm::SmallVector<mlir::Value> results;   // values of it that are needed outside
};

/// Groups ops that follow each other in a block; the groups come in an order in which they can run.
/// Fails where an op is neither a weight use, a constant, nor fusable.
mlir::FailureOr<std::vector<RegionGroup>> groupRegions(llvm::ArrayRef<mlir::Operation *> line);

} // namespace kiln

#endif
