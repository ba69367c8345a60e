// Operators of an ArrayBuilder that compute: shapes are inferred, known elements are computed at
// once.
#include "compiler/import/onnx/ArrayBuilder.h"
#include "compiler/import/onnx/KnownElements.h"
#include "ir/Graph/Operators/MapOperands.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using namespace kiln;

// ---- Elementwise ------------------------------------------------------------------------------

std::optional<Shape> ArrayBuilder::broadcastShapes(ArrayRef<AffineExpr> x, ArrayRef<AffineExpr> y) {
  if (x.size() < y.size())
    std::swap(x, y);
  Shape result(x);
  size_t skipped = x.size() - y.size();
  for (size_t i = 0; i < y.size(); ++i) {
    AffineExpr left = simplify(x[skipped + i]), right = simplify(y[i]);
    AffineExpr &size = result[skipped + i];
    auto fixedLeft = dyn_cast<AffineConstantExpr>(left),
         fixedRight = dyn_cast<AffineConstantExpr>(right);
    if (left == right || (fixedRight && fixedRight.getValue() == 1))
      size = left;
    else if (fixedLeft && fixedLeft.getValue() == 1)
      size = right;
    else if (fixedLeft && fixedRight)
      return std::nullopt;
    else if (fixedLeft || fixedRight)
      size = fixedLeft ? left : right; // the other one is the same, or 1
    else
      size = largest(left, right);
  }
  return result;
}

Array ArrayBuilder::map(StringRef kind, ArrayRef<Array> operands, Type element,
                        DictionaryAttr given) {
  for (const Array &operand : operands)
    if (!operand.element)
      return failed() ? Array() : fail(kind + ": an operand is no tensor");
  if (operands.size() != graph::mapOperands(kind))
    return fail(llvm::formatv("{0} takes {1} operands, found {2}", kind, graph::mapOperands(kind),
                              operands.size()));
  if (!element)
    element = operands[0].element;
  Shape shape = operands[0].shape;
  for (const Array &operand : operands.drop_front()) {
    std::optional<Shape> joined = broadcastShapes(shape, operand.shape);
    if (!joined)
      return fail(llvm::formatv("{0}: shapes {1} and {2} do not broadcast", kind, describe(shape),
                                describe(operand.shape)));
    shape = std::move(*joined);
  }
  if (!given || given.empty() || kind == "mod")
    if (std::optional<Array> folded = foldMap(kind, operands, element, shape))
      return *folded;
  if (kind == "cast" && operands[0].element == element)
    return operands[0];
  Array result = compute(kind, operands, element, shape, given);
  carryScaledSum(kind, operands, result);
  return result;
}

Array ArrayBuilder::cast(const Array &x, Type element) {
  if (x.element == element)
    return x;
  return map("cast", x, element);
}

// ---- Reductions and products ------------------------------------------------------------------

Array ArrayBuilder::reduce(StringRef kind, const Array &x, ArrayRef<int64_t> axes, bool keepDims) {
  if (!x.element)
    return {};
  Shape shape;
  for (auto [dim, size] : llvm::enumerate(x.shape)) {
    bool reduced = llvm::is_contained(axes, int64_t(dim));
    if (!reduced || keepDims)
      shape.push_back(reduced ? number(1) : size);
  }
  // Products and sums of known integers: sizes that a model computes from shapes.
  const SmallVector<AffineExpr> *known = expressionsOf(x);
  if (known && axes.size() == x.shape.size() && isa<IntegerType>(x.element) &&
      (kind == "prod" || kind == "sum")) {
    AffineExpr total = number(kind == "prod");
    for (AffineExpr value : *known)
      total = kind == "prod" ? total * value : total + value;
    Array result = integer(simplify(total), x.element);
    result.shape = shape;
    return result;
  }
  return compute(("reduce_" + kind).str(), x, x.element, shape,
                 params({{"axes", attr(axes)}, {"keep_dims", attr(int64_t(keepDims))}}));
}

Array ArrayBuilder::matmul(const Array &x, const Array &y) {
  if (!x.element || !y.element)
    return {};
  if (x.rank() == 0 || y.rank() == 0)
    return fail("matmul: a scalar is no matrix");
  Array left = x, right = y;
  if (x.rank() == 1)
    left = reshape(x, {number(1), x.shape[0]});
  if (y.rank() == 1)
    right = reshape(y, {y.shape[0], number(1)});
  AffineExpr depth = left.shape.back(), columns = right.shape.back();
  if (!sameOrRequired(depth, right.shape[right.rank() - 2], "the depth of a matmul"))
    return fail(llvm::formatv("matmul of {0} and {1}", describe(x.shape), describe(y.shape)));
  Shape batch(ArrayRef(left.shape).drop_back(2));
  std::optional<Shape> joined = broadcastShapes(batch, ArrayRef(right.shape).drop_back(2));
  if (!joined)
    return fail(llvm::formatv("matmul of {0} and {1}", describe(x.shape), describe(y.shape)));
  Shape shape = *joined;
  shape.push_back(left.shape[left.rank() - 2]);
  shape.push_back(columns);
  Array result;
  // Kernels with weights prepare their rows, which are no constants.
  Value weight =
      right.rank() == 2 && left.element.isF32() && !isConstant(left) && right.extent(0) > 0
          ? weightOf(right, /*transpose=*/true)
          : Value();
  if (weight) {
    AffineExpr rows = product(ArrayRef(left.shape).drop_back());
    Array flat = reshapeUnchecked(left, {rows, right.shape[0]});
    RankedTensorType type = typeOf(left.element, {rows, columns});
    result =
        fromValue(graph::MatmulOp::create(b, location, type, valueOf(flat), weight).getResult());
    result.shape = {simplify(rows), columns};
    result = reshape(result, shape);
  } else {
    result = compute("matmul", {left, right}, left.element, shape);
  }
  Shape wanted = *joined;
  if (x.rank() > 1)
    wanted.push_back(left.shape[left.rank() - 2]);
  if (y.rank() > 1)
    wanted.push_back(columns);
  return wanted.size() == shape.size() ? result : reshape(result, wanted);
}
