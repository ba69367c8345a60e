// More tables of operators: see the list in ir/Graph/Operators.h.
#ifndef KILN_IR_GRAPH_OPERATORS_FAMILIES_H
#define KILN_IR_GRAPH_OPERATORS_FAMILIES_H

#include "ir/Graph/Operators.h"

namespace kiln::graph {

llvm::ArrayRef<Operator> poolOperators();     // pooling
llvm::ArrayRef<Operator> resampleOperators(); // resizing, sampling, regions
llvm::ArrayRef<Operator> overlapOperators();  // transposed and deformed convolution
llvm::ArrayRef<Operator> attentionOperators();
const Operator &linearAttentionOperator(); // of attentionOperators

} // namespace kiln::graph

#endif
