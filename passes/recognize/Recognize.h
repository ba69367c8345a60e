// Operators that a model writes out in primitives, found and named: one file for each family.
#ifndef KILN_PASSES_RECOGNIZE_RECOGNIZE_H
#define KILN_PASSES_RECOGNIZE_RECOGNIZE_H

#include "mlir/IR/PatternMatch.h"

namespace kiln::recognize {

void populateActivations(mlir::RewritePatternSet &patterns);
void populateNorms(mlir::RewritePatternSet &patterns);
void populateAttention(mlir::RewritePatternSet &patterns);
void populateRotations(mlir::RewritePatternSet &patterns);

} // namespace kiln::recognize

#endif
