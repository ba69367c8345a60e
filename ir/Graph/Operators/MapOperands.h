// How many operands an operator takes that works element by element.
#ifndef KILN_IR_GRAPH_OPERATORS_MAPOPERANDS_H
#define KILN_IR_GRAPH_OPERATORS_MAPOPERANDS_H

#include "llvm/ADT/StringRef.h"

namespace kiln::graph {

/// Of a map operator's name; 1 of those that are none.
unsigned mapOperands(llvm::StringRef kind);

} // namespace kiln::graph

#endif
