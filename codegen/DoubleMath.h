// Maths functions of f64 for kernels, which have no libm.
#ifndef KILN_CODEGEN_DOUBLEMATH_H
#define KILN_CODEGEN_DOUBLEMATH_H

#include "mlir/IR/PatternMatch.h"

namespace kiln {

/// Expands exp and log of f64 (scalars and vectors) within 1e-15 of their size. Other functions of
/// f64 that would need libm are computed in f32.
void populateDoubleMathPatterns(mlir::RewritePatternSet &patterns);

} // namespace kiln

#endif
