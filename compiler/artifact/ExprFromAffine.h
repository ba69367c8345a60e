// Affine expressions of the dims as the postfix programs of the artifact.
#ifndef KILN_COMPILER_ARTIFACT_EXPRFROMAFFINE_H
#define KILN_COMPILER_ARTIFACT_EXPRFROMAFFINE_H

#include "compiler/artifact/ProgramDescription.h"
#include "mlir/IR/AffineMap.h"
#include "llvm/Support/Error.h"

namespace kiln {

/// The map's symbols are the function's dims in order; several results mean their maximum. Fails
/// where the expression is deeper or longer than the format allows, or uses what it does not have.
llvm::Expected<std::unique_ptr<schema::ExprT>> exprFromAffine(mlir::AffineMap map);
llvm::Expected<std::unique_ptr<schema::ExprT>> exprFromAffine(mlir::AffineExpr expr,
                                                              unsigned dimCount);
std::unique_ptr<schema::ExprT> constantExpr(int64_t value);

} // namespace kiln

#endif
