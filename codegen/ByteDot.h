// How a target multiplies bytes: an entry of its own, so that kernels of codes ask for no machine.
#ifndef KILN_CODEGEN_BYTEDOT_H
#define KILN_CODEGEN_BYTEDOT_H

#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace kiln {

/// Products of four neighbouring bytes, summed exactly (modulo 2^32).
struct ByteDot {
  llvm::StringLiteral name;
  /// Whether the bytes of `x` are read as unsigned; else they are signed, as those of `w` are.
  bool isUnsigned;
  int64_t width; // lanes of a vector; divides 16
  /// sum + x . w in each lane: vectors of `width` i32, whose four bytes are codes.
  mlir::Value (*emit)(mlir::ImplicitLocOpBuilder &b, mlir::Value sum, mlir::Value x, mlir::Value w);
};

/// With nothing but multiplications, for any target.
extern const ByteDot plainByteDot;

/// The same for vectors of 16 lanes.
mlir::Value emitByteDot(mlir::ImplicitLocOpBuilder &b, const ByteDot &dot, mlir::Value sum,
                        mlir::Value x, mlir::Value w);

} // namespace kiln

#endif
