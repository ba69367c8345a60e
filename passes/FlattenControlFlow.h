// Lowers blocks of regions and control flow to a flat line of steps.
#ifndef KILN_PASSES_FLATTENCONTROLFLOW_H
#define KILN_PASSES_FLATTENCONTROLFLOW_H

#include "ir/Exec/ExecDialect.h"
#include "ir/Graph/GraphDialect.h"
#include "mlir/IR/IRMapping.h"

namespace kiln {

/// The schedule that a block becomes part of.
class ScheduleTarget {
public:
  ScheduleTarget(graph::FuncOp func)
      : dims(graph::getDeclaredDims(func->getParentOp())), builder(func) {}
  virtual ~ScheduleTarget() = default;

  /// Appends a region: a launch, or nothing where its result is its operand's memory in another
  /// shape. Results that `values` knows already are written there.
  virtual mlir::LogicalResult addRegion(graph::FusedOp fused) = 0;
  /// New memory for a value that an op other than a region gives.
  virtual mlir::FailureOr<mlir::Value> addBuffer(mlir::Operation *op, mlir::Value value) = 0;

  llvm::SmallVector<graph::DimOp> dims;
  mlir::OpBuilder builder; // at the end of the schedule
  mlir::IRMapping values;  // values of the graph function -> buffers
};

/// The only op of a region that puts elements into another shape and does nothing else, or null.
graph::ComputeOp getReshape(graph::FusedOp fused);

/// Appends what a block does, up to its terminator, to the schedule: its regions, and `graph.if`,
/// `graph.loop` and `graph.set_dims` whose blocks are regions again.
mlir::LogicalResult flattenControlFlow(mlir::Block &block, ScheduleTarget &target);

} // namespace kiln

#endif
