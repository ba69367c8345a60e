// Array ops read as formulas: what patterns of all families ask of a value.
#ifndef KILN_PASSES_RECOGNIZE_EXPRESSION_H
#define KILN_PASSES_RECOGNIZE_EXPRESSION_H

#include "ir/Graph/Operators.h"
#include "mlir/IR/PatternMatch.h"

namespace kiln::recognize {

using graph::ComputeOp;

/// The op that computes a value, where it is an array op of that kind.
ComputeOp definedBy(mlir::Value value, llvm::StringRef kind);
/// The only op that uses a value, once, where it is an array op; or null.
ComputeOp onlyUser(mlir::Value value);
/// The number that all elements of a constant are, if there is one.
std::optional<double> scalarOf(mlir::Value value);
/// Whether two numbers are the same but for the rounding of constants to a type.
bool isNumber(double value, double wanted, mlir::Type element);

bool sameShape(mlir::Type left, mlir::Type right);
bool isFloat(mlir::Value value);
/// Whether broadcasting `value` to `type` gives that type, every dim being 1 or the type's own.
bool broadcastsTo(mlir::Value value, mlir::RankedTensorType type);
/// Whether a value follows from constants and weights alone, through a few ops.
bool isConstantLike(mlir::Value value, unsigned depth = 4);

/// The names of a type's dims, null for those that are fixed.
llvm::SmallVector<mlir::FlatSymbolRefAttr> dimNames(mlir::RankedTensorType type);
/// A tensor type from sizes and the names of those that are dynamic.
mlir::RankedTensorType tensorType(mlir::Type element, llvm::ArrayRef<int64_t> shape,
                                  llvm::ArrayRef<mlir::FlatSymbolRefAttr> names);

/// c0 + c1 x + c2 x^2 + c3 x^3.
using Polynomial = std::array<double, 4>;
/// A value as a polynomial in another, element by element, of the other's shape.
std::optional<Polynomial> polynomialIn(mlir::Value value, mlir::Value x, unsigned depth = 8);
/// The values that polynomialIn may find `value` to be a polynomial in, itself first.
llvm::SmallVector<mlir::Value> basesOf(mlir::Value value);
/// k where value = k x.
std::optional<double> multipleOf(mlir::Value value, mlir::Value x);

/// x and k, where `op` is k x or x / (1 / k), k is not 0, and x has the result's shape.
std::optional<std::pair<mlir::Value, double>> scaledOf(ComputeOp op);

/// Whether `op` is x + y or x y (by its kind), in either order; the other operand.
mlir::Value otherOperand(ComputeOp op, llvm::StringRef kind, mlir::Value one);
/// The square of what a value is, or null: x x, or x to the power of 2.
mlir::Value squareOf(mlir::Value value);

mlir::Value makeCompute(mlir::PatternRewriter &b, mlir::Location loc, llvm::StringRef kind,
                        mlir::ValueRange operands, mlir::RankedTensorType type,
                        llvm::ArrayRef<mlir::NamedAttribute> params = {});
/// `value` with another shape of as many elements; itself where it has it already.
mlir::Value makeReshape(mlir::PatternRewriter &b, mlir::Location loc, mlir::Value value,
                        llvm::ArrayRef<int64_t> shape,
                        llvm::ArrayRef<mlir::FlatSymbolRefAttr> names);
mlir::Value makeTranspose(mlir::PatternRewriter &b, mlir::Location loc, mlir::Value value,
                          llvm::ArrayRef<int64_t> perm);

} // namespace kiln::recognize

#endif
