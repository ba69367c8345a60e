// What the map operators share: how many operands each takes; casts, which have a file of their
// own.
#ifndef KILN_IR_GRAPH_OPERATORS_MAPOPERANDS_H
#define KILN_IR_GRAPH_OPERATORS_MAPOPERANDS_H

#include "ir/Graph/Operators.h"

namespace kiln::graph {

/// Of a map operator's name; 1 of those that are none.
unsigned mapOperands(llvm::StringRef kind);

/// "cast": `saturate` keeps what is too large for a small float within it, `round` says which power
/// of two a float without a mantissa becomes.
mlir::Value castElement(ElementBuilder &e, ComputeOp op, mlir::ValueRange x);
/// "bitcast": the same bits as another type of as many.
mlir::Value bitcastElement(ElementBuilder &e, ComputeOp op, mlir::ValueRange x);

} // namespace kiln::graph

#endif
