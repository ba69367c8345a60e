// Arithmetic of f64, of scalars and of vectors alike.
#ifndef KILN_CODEGEN_LANES_H
#define KILN_CODEGEN_LANES_H

#include "mlir/Dialect/Arith/IR/Arith.h"

namespace kiln {

/// Builds ops on values of one shape.
struct Lanes {
  mlir::ImplicitLocOpBuilder &b;
  mlir::Type shape; // f64 or a vector of f64

  mlir::Type of(mlir::Type element) const {
    if (auto vector = llvm::dyn_cast<mlir::VectorType>(shape))
      return vector.clone(element);
    return element;
  }
  mlir::Value constant(mlir::TypedAttr value) const {
    if (auto vector = llvm::dyn_cast<mlir::VectorType>(of(value.getType())))
      return mlir::arith::ConstantOp::create(
          b, mlir::SplatElementsAttr::get(vector, mlir::Attribute(value)));
    return mlir::arith::ConstantOp::create(b, value);
  }
  mlir::Value constant(double value) const { return constant(b.getF64FloatAttr(value)); }
  mlir::Value integer(int64_t value) const { return constant(b.getI64IntegerAttr(value)); }
  mlir::Value add(mlir::Value x, mlir::Value y) const {
    return mlir::arith::AddFOp::create(b, x, y);
  }
  mlir::Value sub(mlir::Value x, mlir::Value y) const {
    return mlir::arith::SubFOp::create(b, x, y);
  }
  mlir::Value mul(mlir::Value x, mlir::Value y) const {
    return mlir::arith::MulFOp::create(b, x, y);
  }
  mlir::Value div(mlir::Value x, mlir::Value y) const {
    return mlir::arith::DivFOp::create(b, x, y);
  }
  /// ((c[0] z + c[1]) z + ...) z + c[n-1]
  mlir::Value horner(mlir::Value z, llvm::ArrayRef<double> coefficients) const {
    mlir::Value sum = constant(coefficients.front());
    for (double coefficient : coefficients.drop_front())
      sum = add(mul(sum, z), constant(coefficient));
    return sum;
  }
  mlir::Value is(mlir::arith::CmpFPredicate predicate, mlir::Value x, double y) const {
    return mlir::arith::CmpFOp::create(b, predicate, x, constant(y));
  }
  /// Whether a bit of an i64 is set.
  mlir::Value bit(mlir::Value value, int64_t mask) const {
    mlir::Value masked = mlir::arith::AndIOp::create(b, value, integer(mask));
    return mlir::arith::CmpIOp::create(b, mlir::arith::CmpIPredicate::ne, masked, integer(0));
  }
  mlir::Value select(mlir::Value condition, mlir::Value x, mlir::Value y) const {
    return mlir::arith::SelectOp::create(b, condition, x, y);
  }
  mlir::Value negateIf(mlir::Value condition, mlir::Value x) const {
    return select(condition, mlir::arith::NegFOp::create(b, x), x);
  }
  /// The same bits as integers, or as numbers.
  mlir::Value bits(mlir::Value x) const {
    return mlir::arith::BitcastOp::create(b, of(b.getI64Type()), x);
  }
  mlir::Value fromBits(mlir::Value x) const { return mlir::arith::BitcastOp::create(b, shape, x); }
};

} // namespace kiln

#endif
