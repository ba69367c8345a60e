// Sizes that exporters write as text: "past_length + length", "2*N", "(h - 1) // 2".
#ifndef KILN_COMPILER_IMPORT_ONNX_DIMEXPRESSION_H
#define KILN_COMPILER_IMPORT_ONNX_DIMEXPRESSION_H

#include "mlir/IR/AffineExpr.h"
#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/ADT/StringRef.h"

namespace kiln {

/// The value of an expression of dims: names, whole numbers, + - * // and parentheses. `find` gives
/// the dim of a name, or null. Null where the text is anything else, a lone name included.
mlir::AffineExpr parseDimExpression(llvm::StringRef text, mlir::MLIRContext *context,
                                    llvm::function_ref<mlir::AffineExpr(llvm::StringRef)> find);

} // namespace kiln

#endif
