// Products of codes: what convolutions and matmuls of quantized tensors become.
#ifndef KILN_COMPILER_IMPORT_ONNX_OPERATORS_CODEPRODUCTS_H
#define KILN_COMPILER_IMPORT_ONNX_OPERATORS_CODEPRODUCTS_H

#include "compiler/import/onnx/operators/ImageWindow.h"

namespace kiln {

/// A constant matrix of codes less their zero points, as a product of codes has it.
struct CodeMatrix {
  mlir::Value weight;           // i8 [rows, taps * D], D: channels rounded up to quads
  std::vector<int64_t> sums;    // of each row's codes
  std::vector<int64_t> amounts; // of their magnitudes

  int64_t rows() const { return int64_t(sums.size()); }

  /// Of the kernel of a convolution [M, C/g, taps...] and of the right operand of a matmul, [K, N]
  /// or, transposed, [N, K]: 8-bit constants. nullopt where they are none, or where a code less its
  /// zero point (one for all, or one for each row) does not fit i8.
  static std::optional<CodeMatrix> ofKernel(ArrayBuilder &a, const Array &kernel,
                                            llvm::ArrayRef<int64_t> zeros);
  static std::optional<CodeMatrix> ofMatrix(ArrayBuilder &a, const Array &matrix, bool transposed,
                                            llvm::ArrayRef<int64_t> zeros);
};

/// Whether an array holds codes of 8 bits.
bool areBytes(const Array &x);
/// Elements of a constant of integers, or 0 where it is absent; nullopt where they are not known.
std::optional<std::vector<int64_t>> zerosOf(ArrayBuilder &a, const Array &zero);
/// Codes with constant scales and zeros along an axis; nullopt where they are not constant.
std::optional<Codes> makeCodes(ArrayBuilder &a, const Array &codes, const Array &scale,
                               const Array &zero, int64_t axis);

/// The i32 sums of (x - zero) * w + bias, channels last: x is an image [N, C, spatial...] under a
/// window, or rows [..., K] without one. `bias` may be empty.
Array sumCodes(ArrayBuilder &a, const Array &x, int64_t zero, const CodeMatrix &matrix,
               llvm::ArrayRef<int64_t> bias, const ImageWindow *window, int64_t groups);

/// A convolution, or a matmul with a matrix [K, N] ([N, K] transposed), of what codes stand for, in
/// f32; `bias` (a vector, i32 codes or f32) may be absent. An empty array where they cannot be
/// multiplied as codes: the caller then multiplies numbers.
Array convolveCodes(ArrayBuilder &a, const Codes &x, const Codes &kernel, const Array &bias,
                    const ImageWindow &window, int64_t groups);
Array multiplyCodes(ArrayBuilder &a, const Codes &x, const Codes &matrix, bool transposed,
                    const Array &bias);

/// What follows from a product of codes, rounded to codes at once; empty where x is no such.
Array quantizeSum(ArrayBuilder &a, const Array &x, double scale, int64_t zero, mlir::Type element,
                  int64_t low, int64_t high);

} // namespace kiln

#endif
