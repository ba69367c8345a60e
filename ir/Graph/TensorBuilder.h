// Builds decompositions of graph ops: linalg ops whose outputs are fresh tensors.
#ifndef KILN_IR_GRAPH_TENSORBUILDER_H
#define KILN_IR_GRAPH_TENSORBUILDER_H

#include "ir/Graph/GraphDialect.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace kiln::graph {

using Decomposition = mlir::FailureOr<llvm::SmallVector<mlir::Value>>;

/// Builds linalg ops whose outputs are fresh tensors with as many rows as a given value.
struct TensorBuilder {
  mlir::ImplicitLocOpBuilder b;

  TensorBuilder(mlir::Operation *op, mlir::OpBuilder &builder) : b(op->getLoc(), builder) {}

  mlir::AffineMap map(llvm::ArrayRef<unsigned> dims, unsigned rank) {
    return mlir::AffineMap::getMultiDimMapWithTargets(rank, dims, b.getContext());
  }
  mlir::Value f32(double value) {
    return mlir::arith::ConstantOp::create(b, b.getF32FloatAttr(float(value)));
  }
  mlir::Value index(int64_t value) { return mlir::arith::ConstantIndexOp::create(b, value); }

  /// An uninitialised tensor; a dynamic leading dim is taken from `rows`.
  mlir::Value empty(mlir::RankedTensorType type, mlir::Value rows) {
    llvm::SmallVector<mlir::Value> sizes;
    if (type.isDynamicDim(0))
      sizes.push_back(mlir::tensor::DimOp::create(b, rows, 0));
    return mlir::tensor::EmptyOp::create(b, type, sizes);
  }

  using Body = llvm::function_ref<mlir::Value(TensorBuilder &, mlir::ValueRange)>;

  /// One linalg.generic; `maps` has one map per input and the output's last. `body` gets the
  /// inputs' elements, then the output's.
  mlir::Value generic(mlir::ValueRange inputs, mlir::Value output,
                      llvm::ArrayRef<mlir::AffineMap> maps,
                      llvm::ArrayRef<mlir::utils::IteratorType> iterators, Body body) {
    return mlir::linalg::GenericOp::create(
               b, output.getType(), inputs, output, maps, iterators,
               [&](mlir::OpBuilder &inner, mlir::Location loc, mlir::ValueRange elements) {
                 mlir::OpBuilder::InsertionGuard guard(b);
                 b.restoreInsertionPoint(inner.saveInsertionPoint());
                 mlir::Value result = body(*this, elements);
                 mlir::linalg::YieldOp::create(b, result);
               })
        .getResult(0);
  }

  /// out[i, j] (or out[j]) from elements at the same place; rank-1 inputs of a rank-2 output are
  /// broadcast over rows, unless they are named in `perRow` and broadcast over columns.
  mlir::Value elementwise(mlir::RankedTensorType type, mlir::ValueRange inputs, Body body,
                          llvm::ArrayRef<unsigned> perRow = {}) {
    unsigned rank = type.getRank();
    llvm::SmallVector<mlir::AffineMap> maps;
    for (auto [position, input] : llvm::enumerate(inputs)) {
      unsigned inputRank = mlir::cast<mlir::RankedTensorType>(input.getType()).getRank();
      if (inputRank == rank)
        maps.push_back(b.getMultiDimIdentityMap(rank));
      else
        maps.push_back(map({llvm::is_contained(perRow, position) ? 0 : rank - 1}, rank));
    }
    maps.push_back(b.getMultiDimIdentityMap(rank));
    llvm::SmallVector<mlir::utils::IteratorType> iterators(rank,
                                                           mlir::utils::IteratorType::parallel);
    return generic(inputs, empty(type, inputs.front()), maps, iterators, body);
  }

  /// The sum over columns of `body` on x [n, d] and further [n] inputs -> [n].
  mlir::Value rowSum(mlir::Value x, mlir::ValueRange perRow, Body body) {
    auto type = mlir::cast<mlir::RankedTensorType>(x.getType());
    llvm::SmallVector<mlir::Value> inputs{x};
    llvm::SmallVector<mlir::AffineMap> maps{b.getMultiDimIdentityMap(2)};
    for (mlir::Value value : perRow) {
      inputs.push_back(value);
      maps.push_back(map({0}, 2));
    }
    maps.push_back(map({0}, 2));
    mlir::Value sums = empty(withShape(type, type.getShape().take_front()), x);
    sums = mlir::linalg::FillOp::create(b, f32(0), sums).getResult(0);
    return generic(inputs, sums, maps,
                   {mlir::utils::IteratorType::parallel, mlir::utils::IteratorType::reduction},
                   [&](TensorBuilder &t, mlir::ValueRange elements) -> mlir::Value {
                     mlir::Value term = body(t, elements.drop_back());
                     return mlir::arith::AddFOp::create(t.b, elements.back(), term);
                   });
  }

  // Scalar arithmetic inside a body.
  mlir::Value add(mlir::Value x, mlir::Value y) { return mlir::arith::AddFOp::create(b, x, y); }
  mlir::Value sub(mlir::Value x, mlir::Value y) { return mlir::arith::SubFOp::create(b, x, y); }
  mlir::Value mul(mlir::Value x, mlir::Value y) { return mlir::arith::MulFOp::create(b, x, y); }
  mlir::Value div(mlir::Value x, mlir::Value y) { return mlir::arith::DivFOp::create(b, x, y); }
  mlir::Value exp(mlir::Value x) { return mlir::math::ExpOp::create(b, x); }
  mlir::Value negate(mlir::Value x) { return mlir::arith::NegFOp::create(b, x); }
};

/// A weight as the plain tensor of its values.
inline mlir::Value logical(TensorBuilder &t, mlir::Value weight) {
  if (!getStored(weight.getType()))
    return weight;
  auto type = mlir::cast<mlir::RankedTensorType>(weight.getType());
  auto plain = mlir::RankedTensorType::get(type.getShape(), t.b.getF32Type());
  return DequantizeOp::create(t.b, plain, weight);
}

/// Whether all are f32 tensors: nothing else is decomposed. Asked before anything is built.
inline bool areF32(mlir::ValueRange values) {
  return llvm::all_of(values.getTypes(), [](mlir::Type type) {
    return mlir::cast<mlir::RankedTensorType>(type).getElementType().isF32();
  });
}

inline mlir::RankedTensorType resultType(mlir::Operation *op) {
  return mlir::cast<mlir::RankedTensorType>(op->getResult(0).getType());
}

} // namespace kiln::graph

#endif
