// Calling LLVM's x86 intrinsics by name.
#ifndef KILN_TARGETS_X86_64_INTRINSICS_H
#define KILN_TARGETS_X86_64_INTRINSICS_H

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace kiln {

inline mlir::Value callIntrinsic(mlir::ImplicitLocOpBuilder &b, llvm::StringRef name,
                                 mlir::Type result, mlir::ValueRange operands) {
  return mlir::LLVM::CallIntrinsicOp::create(b, result, b.getStringAttr(name), operands)
      .getResult(0);
}

inline void callIntrinsic(mlir::ImplicitLocOpBuilder &b, llvm::StringRef name,
                          mlir::ValueRange operands) {
  mlir::LLVM::CallIntrinsicOp::create(b, b.getStringAttr(name), operands);
}

} // namespace kiln

#endif
