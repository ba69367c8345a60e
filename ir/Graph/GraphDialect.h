// The graph dialect: what models are made of. Specification: ir/Graph/README.md.
#ifndef KILN_IR_GRAPH_GRAPHDIALECT_H
#define KILN_IR_GRAPH_GRAPHDIALECT_H

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/IR/TensorEncoding.h"
#include "mlir/Interfaces/ControlFlowInterfaces.h"
#include "mlir/Interfaces/FunctionInterfaces.h"
#include "mlir/Interfaces/InferTypeOpInterface.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

namespace kiln::graph {

/// How an op may take part in a fused region.
enum class FusionKind {
  Elementwise,   // element (i, j) from elements (i, j): joins its producer's or consumer's region
  RowReduction,  // row i from row i, needing all of it (norms): joins as prologue of a contraction
  HeadReduction, // the same for each run of columns (norms of heads): prologue of attention
  Contraction,   // row i from row i and a weight: heads a region
  Gather,        // rows picked by index: joins as prologue
  View,          // columns of a row: joins any consumer
  Attention,     // heads a region; takes views, head norms and rope of its operands
  Rotary,        // per-head rotation: prologue of attention
  Alone,         // row i from row i and weights: a region of its own
  Array,         // any element from any: joins its consumer's region as its record allows
};

} // namespace kiln::graph

#include "ir/Graph/GraphDialect.h.inc"
#include "ir/Graph/GraphInterfaces.h.inc"
#define GET_ATTRDEF_CLASSES
#include "ir/Graph/GraphAttrs.h.inc"
#define GET_TYPEDEF_CLASSES
#include "ir/Graph/GraphTypes.h.inc"
#define GET_OP_CLASSES
#include "ir/Graph/GraphOps.h.inc"

namespace kiln::graph {

/// The dims encoding of a tensor type, null where all dims are static.
DimsAttr getDims(mlir::Type type);
/// The stored encoding of a weight's type, or null.
StoredAttr getStored(mlir::Type type);
/// tensor<shape x element> with as many leading entries of `like`'s dims as the shape has
/// dynamic dims.
mlir::RankedTensorType withShape(mlir::RankedTensorType like, llvm::ArrayRef<int64_t> shape);
/// The size of a tensor's leading dim and the symbol that names it (null where static).
mlir::FlatSymbolRefAttr getRowSymbol(mlir::Type type);
/// Positions of a module's dims in declaration order; every affine map of the IR counts them so.
llvm::SmallVector<DimOp> getDeclaredDims(mlir::Operation *module);

} // namespace kiln::graph

#endif
