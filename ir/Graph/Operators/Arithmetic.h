// Arithmetic on elements of one type: what sums, extremes and products of any element type are made
// of.
#ifndef KILN_IR_GRAPH_OPERATORS_ARITHMETIC_H
#define KILN_IR_GRAPH_OPERATORS_ARITHMETIC_H

#include "ir/Graph/Operators.h"

namespace kiln::graph {

inline mlir::Type elementOf(mlir::Value tensor) { return tensorOf(tensor).getElementType(); }

/// Elements are as code has them (ElementBuilder::codeType).
class Arithmetic {
public:
  Arithmetic(ElementBuilder &e, mlir::Type type)
      : e(e), b(e.b), type(type), code(ElementBuilder::codeType(type)) {}

  ElementBuilder &e;
  mlir::ImplicitLocOpBuilder &b;
  const mlir::Type type, code;

  bool isFloat() const { return llvm::isa<mlir::FloatType>(type); }
  bool isUnsigned() const { return type.isUnsignedInteger() || type.isInteger(1); }
  /// A float that code has wider than memory.
  bool isNarrowFloat() const { return isFloat() && type.getIntOrFloatBitWidth() < 32; }

  mlir::Value constant(double value) const { return e.constant(type, value); }
  /// What every element is not smaller, or not greater than.
  mlir::Value least() const;
  mlir::Value greatest() const;

  mlir::Value add(mlir::Value x, mlir::Value y) const;
  mlir::Value sub(mlir::Value x, mlir::Value y) const;
  mlir::Value mul(mlir::Value x, mlir::Value y) const;
  /// Of integers towards zero; by zero nothing.
  mlir::Value div(mlir::Value x, mlir::Value y) const;
  mlir::Value min(mlir::Value x, mlir::Value y) const;
  mlir::Value max(mlir::Value x, mlir::Value y) const;
  mlir::Value abs(mlir::Value x) const;
  mlir::Value less(mlir::Value x, mlir::Value y) const;
  mlir::Value sqrt(mlir::Value x) const { return mlir::math::SqrtOp::create(b, x); }
  mlir::Value exp(mlir::Value x) const { return mlir::math::ExpOp::create(b, x); }
  mlir::Value log(mlir::Value x) const { return mlir::math::LogOp::create(b, x); }

  // Terms of sums and products in any order, so that loops over them become vectors.
  mlir::Value addTerm(mlir::Value sum, mlir::Value x) const;
  mlir::Value addProduct(mlir::Value sum, mlir::Value x, mlir::Value y) const;
  mlir::Value mulFactor(mlir::Value product, mlir::Value x) const;
  /// sum + x * y, in the order of the program.
  mlir::Value multiplyAdd(mlir::Value x, mlir::Value y, mlir::Value sum) const;

  /// An element of another tensor as this type has it.
  mlir::Value read(mlir::Value tensor, mlir::ValueRange indices) const {
    return e.convert(e.read(tensor, indices), elementOf(tensor), type);
  }
};

// Checks of records: each says what it wants of an op's params.
mlir::LogicalResult verifyInts(ComputeOp op, llvm::StringRef name, size_t count, int64_t least);
mlir::LogicalResult verifyInt(ComputeOp op, llvm::StringRef name, int64_t least, int64_t most);
mlir::LogicalResult verifyFloat(ComputeOp op, llvm::StringRef name);
mlir::LogicalResult verifyText(ComputeOp op, llvm::StringRef name,
                               llvm::ArrayRef<llvm::StringRef> choices);
mlir::LogicalResult verifyCounts(ComputeOp op, unsigned leastOperands, unsigned mostOperands,
                                 unsigned mostResults = 1);

} // namespace kiln::graph

#endif
