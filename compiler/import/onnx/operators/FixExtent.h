// Sizes that an operator needs to be fixed.
#ifndef KILN_COMPILER_IMPORT_ONNX_OPERATORS_FIXEXTENT_H
#define KILN_COMPILER_IMPORT_ONNX_OPERATORS_FIXEXTENT_H

#include "compiler/import/onnx/ArrayBuilder.h"

namespace kiln {

/// Makes a dim of an array a fixed one. Where its size cannot be told the call checks it; false
/// where it certainly has another. `what` names it in the call's error.
inline bool fixExtent(ArrayBuilder &a, Array &x, int64_t dim, int64_t extent,
                      const llvm::Twine &what) {
  if (x.extent(dim) >= 0)
    return x.extent(dim) == extent;
  Shape shape = x.shape;
  shape[dim] = a.number(extent);
  if (!a.sameOrRequired(x.shape[dim], shape[dim], what))
    return false;
  x = a.reshapeUnchecked(x, shape);
  return true;
}

} // namespace kiln

#endif
