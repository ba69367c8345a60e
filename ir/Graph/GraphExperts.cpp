// Layers of experts: verifiers and meanings of `route`, `experts_matmul` and `combine`. A token's
// routes are its experts' numbers, best first, then their weights, in one row of f32 (numbers are
// exact).
#include "ir/Graph/GraphShapes.h"
#include "ir/Graph/TensorBuilder.h"

using namespace mlir;
using namespace kiln;
using namespace kiln::graph;

FusionKind RouteOp::getFusionKind() { return FusionKind::Alone; }
FusionKind ExpertsMatmulOp::getFusionKind() { return FusionKind::Alone; }
FusionKind CombineOp::getFusionKind() { return FusionKind::Alone; }

// ---- Verifiers ------------------------------------------------------------------------------

LogicalResult RouteOp::verify() {
  Type logits = getLogits().getType(), result = getResult().getType();
  if (failed(expectRank(*this, "logits", logits, 2)) ||
      failed(expectRank(*this, "result", result, 2)) ||
      failed(expectSameRows(*this, "result", result, logits)))
    return failure();
  int64_t used = getUsed(), experts = cast<RankedTensorType>(logits).getDimSize(1);
  if (used < 1 || used > experts)
    return emitOpError() << "used: expected 1 to " << experts << ", found " << used;
  return expectLast(*this, "result", result, 2 * used);
}

LogicalResult ExpertsMatmulOp::verify() {
  Type input = getInput().getType(), result = getResult().getType();
  for (Type type : {input, Type(getRoutes().getType()), Type(getWeight().getType()), result})
    if (failed(expectRank(*this, "operands and result", type, 2)))
      return failure();
  int64_t used = getUsed(), experts = getExperts();
  auto weight = cast<RankedTensorType>(getWeight().getType());
  int64_t columns = cast<RankedTensorType>(input).getDimSize(1), depth = weight.getDimSize(1);
  if (used < 1 || experts < used || weight.getDimSize(0) % experts)
    return emitOpError() << used << " of " << experts << " experts do not share " << weight;
  if (columns != depth && columns != used * depth)
    return emitOpError() << "input: expected rows of " << depth << " or " << used * depth
                         << ", found " << input;
  return failure(
      failed(expectSameRows(*this, "result", result, input)) ||
      failed(expectSameRows(*this, "routes", getRoutes().getType(), input)) ||
      failed(expectLast(*this, "routes", getRoutes().getType(), 2 * used)) ||
      failed(expectLast(*this, "result", result, used * (weight.getDimSize(0) / experts))));
}

LogicalResult CombineOp::verify() {
  Type input = getInput().getType(), routes = getRoutes().getType(), result = getResult().getType();
  for (Type type : {input, routes, result})
    if (failed(expectRank(*this, "operands and result", type, 2)))
      return failure();
  int64_t used = cast<RankedTensorType>(routes).getDimSize(1) / 2;
  return failure(failed(expectSameRows(*this, "result", result, input)) ||
                 failed(expectSameRows(*this, "routes", routes, input)) ||
                 failed(expectLast(*this, "input", input,
                                   used * cast<RankedTensorType>(result).getDimSize(1))));
}

// ---- Meanings -------------------------------------------------------------------------------

static constexpr utils::IteratorType parallel = utils::IteratorType::parallel,
                                     reduction = utils::IteratorType::reduction;

static Value asFloat(TensorBuilder &t, Value index) {
  Value integer = arith::IndexCastOp::create(t.b, t.b.getI32Type(), index);
  return arith::SIToFPOp::create(t.b, t.b.getF32Type(), integer);
}

static Value filled(TensorBuilder &t, RankedTensorType type, Value rows, double value) {
  return linalg::FillOp::create(t.b, t.f32(value), t.empty(type, rows)).getResult(0);
}

/// Of each expert, how many are better: a larger logit, or an equal one and a smaller number.
static Value rankExperts(TensorBuilder &t, Value logits) {
  auto type = cast<RankedTensorType>(logits.getType());
  return t.generic(
      {logits, logits}, filled(t, type, logits, 0),
      {t.map({0, 1}, 3), t.map({0, 2}, 3), t.map({0, 1}, 3)}, {parallel, parallel, reduction},
      [](TensorBuilder &t, ValueRange e) -> Value {
        using arith::CmpFPredicate;
        Value number = linalg::IndexOp::create(t.b, 1);
        Value other = linalg::IndexOp::create(t.b, 2);
        Value before = arith::CmpIOp::create(t.b, arith::CmpIPredicate::ult, other, number);
        Value equal = arith::CmpFOp::create(t.b, CmpFPredicate::OEQ, e[1], e[0]);
        Value larger = arith::CmpFOp::create(t.b, CmpFPredicate::OGT, e[1], e[0]);
        Value better = arith::OrIOp::create(t.b, larger, arith::AndIOp::create(t.b, equal, before));
        Value one = arith::SelectOp::create(t.b, better, t.f32(1), t.f32(0));
        return t.add(e[2], one);
      });
}

/// For each rank below `used`, the term of the expert that has it.
static Value pickRanks(TensorBuilder &t, Value logits, Value ranks, int64_t used,
                       TensorBuilder::Body term) {
  auto type = cast<RankedTensorType>(logits.getType());
  RankedTensorType picked = withShape(type, {type.getDimSize(0), used});
  return t.generic({logits, ranks}, filled(t, picked, logits, 0),
                   {t.map({0, 2}, 3), t.map({0, 2}, 3), t.map({0, 1}, 3)},
                   {parallel, parallel, reduction}, [&](TensorBuilder &t, ValueRange e) -> Value {
                     Value rank = asFloat(t, linalg::IndexOp::create(t.b, 1));
                     Value has = arith::CmpFOp::create(t.b, arith::CmpFPredicate::OEQ, e[1], rank);
                     Value added = arith::SelectOp::create(t.b, has, term(t, e), t.f32(0));
                     return t.add(e[2], added);
                   });
}

/// Shazeer et al., "Outrageously Large Neural Networks" (2017), without noise: softmax over all
/// experts, of which the best are kept, and, where `normalize`, divided by their sum.
Decomposition RouteOp::decompose(OpBuilder &builder) {
  if (!areF32(getLogits()))
    return failure();
  TensorBuilder t(*this, builder);
  Value logits = getLogits();
  RankedTensorType type = resultType(*this), column = withShape(type, {type.getDimSize(0)});
  int64_t used = getUsed();
  Value peaks =
      t.generic(logits, filled(t, column, logits, -3e38), {t.map({0, 1}, 2), t.map({0}, 2)},
                {parallel, reduction}, [](TensorBuilder &t, ValueRange e) -> Value {
                  return arith::MaximumFOp::create(t.b, e[1], e[0]);
                });
  Value powers = t.elementwise(
      cast<RankedTensorType>(logits.getType()), {logits, peaks},
      [](TensorBuilder &t, ValueRange e) { return t.exp(t.sub(e[0], e[1])); }, /*perRow=*/{1});
  Value ranks = rankExperts(t, logits);
  Value numbers = pickRanks(t, powers, ranks, used, [](TensorBuilder &t, ValueRange) -> Value {
    return asFloat(t, linalg::IndexOp::create(t.b, 2));
  });
  Value weights =
      pickRanks(t, powers, ranks, used, [](TensorBuilder &, ValueRange e) { return e[0]; });
  Value sums = t.rowSum(getNormalize() ? weights : powers, {},
                        [](TensorBuilder &, ValueRange e) { return e[0]; });
  Value result = t.elementwise(
      type, sums,
      [&](TensorBuilder &t, ValueRange e) -> Value {
        Value row = linalg::IndexOp::create(t.b, 0), column = linalg::IndexOp::create(t.b, 1);
        Value rank = arith::RemUIOp::create(t.b, column, t.index(used));
        Value number = tensor::ExtractOp::create(t.b, numbers, ValueRange{row, rank});
        Value weight = tensor::ExtractOp::create(t.b, weights, ValueRange{row, rank});
        Value isNumber =
            arith::CmpIOp::create(t.b, arith::CmpIPredicate::ult, column, t.index(used));
        return arith::SelectOp::create(t.b, isNumber, number, t.div(weight, e[0]));
      },
      /*perRow=*/{0});
  return SmallVector<Value>{result};
}

/// out[i, s M + j] = sum over k of x[i, (s K) + k] w[e M + j, k] with e = routes[i, s]
Decomposition ExpertsMatmulOp::decompose(OpBuilder &builder) {
  if (!areF32(getOperands()))
    return failure();
  TensorBuilder t(*this, builder);
  Value input = getInput(), routes = getRoutes(), weight = logical(t, getWeight());
  auto weightType = cast<RankedTensorType>(weight.getType());
  int64_t outputs = weightType.getDimSize(0) / getExperts(), depth = weightType.getDimSize(1);
  bool isShared = cast<RankedTensorType>(input.getType()).getDimSize(1) == depth;
  // A tensor that says how long the sum is.
  Value extent = t.empty(RankedTensorType::get({depth}, t.b.getF32Type()), Value());
  Value product = t.generic(
      extent, filled(t, resultType(*this), input, 0), {t.map({2}, 3), t.map({0, 1}, 3)},
      {parallel, parallel, reduction}, [&](TensorBuilder &t, ValueRange e) -> Value {
        Value row = linalg::IndexOp::create(t.b, 0), column = linalg::IndexOp::create(t.b, 1);
        Value k = linalg::IndexOp::create(t.b, 2);
        Value slot = arith::DivUIOp::create(t.b, column, t.index(outputs));
        Value number = tensor::ExtractOp::create(t.b, routes, ValueRange{row, slot});
        // Logits that are no numbers give no expert's: the nearest is taken.
        number = arith::MinNumFOp::create(t.b, arith::MaxNumFOp::create(t.b, number, t.f32(0)),
                                          t.f32(double(getExperts() - 1)));
        Value expert = arith::IndexCastOp::create(
            t.b, t.b.getIndexType(), arith::FPToSIOp::create(t.b, t.b.getI32Type(), number));
        Value output = arith::RemUIOp::create(t.b, column, t.index(outputs));
        Value weightRow = arith::AddIOp::create(
            t.b, arith::MulIOp::create(t.b, expert, t.index(outputs)), output);
        Value at = k;
        if (!isShared)
          at = arith::AddIOp::create(t.b, arith::MulIOp::create(t.b, slot, t.index(depth)), k);
        Value x = tensor::ExtractOp::create(t.b, input, ValueRange{row, at});
        Value w = tensor::ExtractOp::create(t.b, weight, ValueRange{weightRow, k});
        return t.add(e[1], t.mul(x, w));
      });
  return SmallVector<Value>{product};
}

/// out[i, j] = sum over s of routes[i, used + s] x[i, s H + j]
Decomposition CombineOp::decompose(OpBuilder &builder) {
  if (!areF32(getOperands()))
    return failure();
  TensorBuilder t(*this, builder);
  Value input = getInput(), routes = getRoutes();
  RankedTensorType type = resultType(*this);
  int64_t used = cast<RankedTensorType>(routes.getType()).getDimSize(1) / 2;
  Value extent = t.empty(RankedTensorType::get({used}, t.b.getF32Type()), Value());
  Value sum =
      t.generic(extent, filled(t, type, input, 0), {t.map({2}, 3), t.map({0, 1}, 3)},
                {parallel, parallel, reduction}, [&](TensorBuilder &t, ValueRange e) -> Value {
                  Value row = linalg::IndexOp::create(t.b, 0),
                        column = linalg::IndexOp::create(t.b, 1);
                  Value slot = linalg::IndexOp::create(t.b, 2);
                  Value weightAt = arith::AddIOp::create(t.b, slot, t.index(used));
                  Value weight = tensor::ExtractOp::create(t.b, routes, ValueRange{row, weightAt});
                  Value first = arith::MulIOp::create(t.b, slot, t.index(type.getDimSize(1)));
                  Value x = tensor::ExtractOp::create(
                      t.b, input, ValueRange{row, arith::AddIOp::create(t.b, first, column)});
                  return t.add(e[1], t.mul(weight, x));
                });
  return SmallVector<Value>{sum};
}
