// Maths functions of f64 for kernels, which have no libm.
#ifndef KILN_CODEGEN_WIDEMATH_H
#define KILN_CODEGEN_WIDEMATH_H

#include "mlir/IR/PatternMatch.h"

namespace kiln {

/// Expands exp, log, log1p, sin, cos, asin, acos, atan, tanh and erf of f64, scalars and vectors,
/// into additions, multiplications, divisions and square roots, within a few units in the last
/// place. sin and cos lose digits beyond |x| = 2^20.
void populateWideMathPatterns(mlir::RewritePatternSet &patterns);

} // namespace kiln

#endif
