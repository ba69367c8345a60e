// Quantization written out in arithmetic: what QuantizeLinear, QLinearConv and others share.
#ifndef KILN_COMPILER_IMPORT_ONNX_OPERATORS_QUANTIZE_H
#define KILN_COMPILER_IMPORT_ONNX_OPERATORS_QUANTIZE_H

#include "compiler/import/onnx/NodeImport.h"

namespace kiln {

/// A scale or zero point as it is broadcast to `x`: of the whole tensor (one element), of each
/// index of `axis`, or of blocks of `block` indices. An empty array after fail().
Array spreadParameter(NodeImport &n, const Array &parameter, const Array &x, int64_t axis,
                      int64_t block);
/// round(x / scale) + zero, saturated to `element`, an integer type or float of 8 bits; `zero` may
/// be absent. Scale and zero are broadcast already.
Array quantize(ArrayBuilder &a, const Array &x, const Array &scale, const Array &zero,
               mlir::Type element, bool saturate = true);
/// (x - zero) * scale in f32, rounded to `element`.
Array dequantize(ArrayBuilder &a, const Array &x, const Array &scale, const Array &zero,
                 mlir::Type element);

} // namespace kiln

#endif
