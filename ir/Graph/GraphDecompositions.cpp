// The meaning of every graph op in upstream dialects: linalg, tensor, arith and math on tensors
// with any number of rows, static or dynamic. Activations are f32; a stored weight comes in as
// `graph.dequantize`, which whoever uses a decomposition turns into loads of the stored form. These
// are the reference that faster kernels are tested against, so each is the plainest form of its
// formula. Those of experts are in GraphExperts.cpp. Attention has none: it writes the cache, which
// tensors cannot say (codegen/reference/ReferenceAttention.cpp has its loops).
#include "ir/Graph/TensorBuilder.h"

using namespace mlir;
using namespace kiln;
using namespace kiln::graph;

// ---- Picking rows and columns ---------------------------------------------------------------

/// out[i, j] = table[indices[i], j]
static Decomposition pickRows(Operation *op, OpBuilder &builder, Value indices, Value table) {
  if (!areF32(table))
    return failure();
  TensorBuilder t(op, builder);
  table = logical(t, table);
  Value picked =
      t.elementwise(resultType(op), indices,
                    [&](TensorBuilder &t, ValueRange elements) -> Value {
                      Value row = arith::IndexCastOp::create(t.b, t.b.getIndexType(), elements[0]);
                      Value column = linalg::IndexOp::create(t.b, 1);
                      return tensor::ExtractOp::create(t.b, table, ValueRange{row, column});
                    },
                    /*perRow=*/{0});
  return SmallVector<Value>{picked};
}

Decomposition EmbedOp::decompose(OpBuilder &builder) {
  return pickRows(*this, builder, getIds(), getTable());
}

Decomposition GatherOp::decompose(OpBuilder &builder) {
  return pickRows(*this, builder, getRows(), getInput());
}

Decomposition SliceOp::decompose(OpBuilder &builder) {
  TensorBuilder t(*this, builder);
  RankedTensorType type = resultType(*this);
  OpFoldResult rows = builder.getIndexAttr(type.getDimSize(0));
  if (type.isDynamicDim(0))
    rows = tensor::DimOp::create(t.b, getInput(), 0).getResult();
  OpFoldResult zero = builder.getIndexAttr(0), one = builder.getIndexAttr(1);
  Value slice = tensor::ExtractSliceOp::create(t.b, type, getInput(),
                                               {zero, builder.getIndexAttr(getOffset())},
                                               {rows, builder.getIndexAttr(getSize())}, {one, one});
  return SmallVector<Value>{slice};
}

// ---- Contraction ----------------------------------------------------------------------------

/// out[i, j] = sum over k of x[i, k] w[j, k]
Decomposition MatmulOp::decompose(OpBuilder &builder) {
  if (!areF32(getOperands()))
    return failure();
  TensorBuilder t(*this, builder);
  Value input = getInput(), weight = logical(t, getWeight());
  Value sums = t.empty(resultType(*this), input);
  sums = linalg::FillOp::create(t.b, t.f32(0), sums).getResult(0);
  Value product =
      t.generic({input, weight}, sums, {t.map({0, 2}, 3), t.map({1, 2}, 3), t.map({0, 1}, 3)},
                {utils::IteratorType::parallel, utils::IteratorType::parallel,
                 utils::IteratorType::reduction},
                [](TensorBuilder &t, ValueRange e) { return t.add(e[2], t.mul(e[0], e[1])); });
  return SmallVector<Value>{product};
}

// ---- Norms ----------------------------------------------------------------------------------

/// 1 / sqrt(sum / columns + eps) of each row's sum.
static Value inverseRoot(TensorBuilder &t, Value sums, int64_t columns, double eps) {
  return t.elementwise(cast<RankedTensorType>(sums.getType()), sums,
                       [&](TensorBuilder &t, ValueRange e) {
                         Value mean = t.div(e[0], t.f32(double(columns)));
                         Value root = math::SqrtOp::create(t.b, t.add(mean, t.f32(eps)));
                         return t.div(t.f32(1), root);
                       });
}

/// x [n, g d] normalised over each run of d columns.
static Decomposition normalizeHeads(TensorBuilder &t, Value x, Value weight, RankedTensorType type,
                                    double eps) {
  int64_t size = cast<RankedTensorType>(weight.getType()).getDimSize(0);
  RankedTensorType perHead = withShape(type, {type.getDimSize(0), type.getDimSize(1) / size});
  Value sums = t.empty(perHead, x);
  sums = linalg::FillOp::create(t.b, t.f32(0), sums).getResult(0);
  // A tensor that says how long the sum is: stored weights do not become operands.
  Value extent = t.empty(RankedTensorType::get({size}, t.b.getF32Type()), Value());
  sums = t.generic(extent, sums, {t.map({2}, 3), t.map({0, 1}, 3)},
                   {utils::IteratorType::parallel, utils::IteratorType::parallel,
                    utils::IteratorType::reduction},
                   [&](TensorBuilder &t, ValueRange e) -> Value {
                     Value row = linalg::IndexOp::create(t.b, 0),
                           head = linalg::IndexOp::create(t.b, 1);
                     Value first = arith::MulIOp::create(t.b, head, t.index(size));
                     Value column =
                         arith::AddIOp::create(t.b, first, linalg::IndexOp::create(t.b, 2));
                     Value element = tensor::ExtractOp::create(t.b, x, ValueRange{row, column});
                     return t.add(e[1], t.mul(element, element));
                   });
  Value inverse = inverseRoot(t, sums, size, eps);
  Value result = t.elementwise(type, x, [&](TensorBuilder &t, ValueRange e) -> Value {
    Value row = linalg::IndexOp::create(t.b, 0), column = linalg::IndexOp::create(t.b, 1);
    Value head = arith::DivUIOp::create(t.b, column, t.index(size));
    Value inHead = arith::RemUIOp::create(t.b, column, t.index(size));
    Value scale = tensor::ExtractOp::create(t.b, inverse, ValueRange{row, head});
    Value factor = tensor::ExtractOp::create(t.b, weight, ValueRange{inHead});
    return t.mul(t.mul(e[0], scale), factor);
  });
  return SmallVector<Value>{result};
}

/// Zhang and Sennrich, "Root Mean Square Layer Normalization" (2019), eq. 4, with eps under the
/// root.
Decomposition RmsNormOp::decompose(OpBuilder &builder) {
  if (!areF32(getOperands()))
    return failure();
  TensorBuilder t(*this, builder);
  Value x = getInput(), weight = logical(t, getWeight());
  RankedTensorType type = resultType(*this);
  if (getFusionKind() == FusionKind::HeadReduction)
    return normalizeHeads(t, x, weight, type, getEps().convertToDouble());
  Value squares = t.rowSum(x, {}, [](TensorBuilder &t, ValueRange e) { return t.mul(e[0], e[0]); });
  Value inverse = inverseRoot(t, squares, type.getDimSize(1), getEps().convertToDouble());
  Value result =
      t.elementwise(type, {x, inverse, weight},
                    [](TensorBuilder &t, ValueRange e) { return t.mul(t.mul(e[0], e[1]), e[2]); },
                    /*perRow=*/{1});
  return SmallVector<Value>{result};
}

/// Ba, Kiros and Hinton, "Layer Normalization" (2016), eq. 4, with the biased variance and eps
/// under the root. Two passes: the variance of the centred values does not cancel.
Decomposition LayerNormOp::decompose(OpBuilder &builder) {
  if (!areF32(getOperands()))
    return failure();
  TensorBuilder t(*this, builder);
  Value x = getInput(), weight = logical(t, getWeight()), bias = logical(t, getBias());
  RankedTensorType type = resultType(*this);
  int64_t columns = type.getDimSize(1);
  Value sums = t.rowSum(x, {}, [](TensorBuilder &, ValueRange e) { return e[0]; });
  Value means = t.elementwise(
      cast<RankedTensorType>(sums.getType()), sums,
      [&](TensorBuilder &t, ValueRange e) { return t.div(e[0], t.f32(double(columns))); });
  Value squares = t.rowSum(x, means, [](TensorBuilder &t, ValueRange e) {
    Value centred = t.sub(e[0], e[1]);
    return t.mul(centred, centred);
  });
  Value inverse = inverseRoot(t, squares, columns, getEps().convertToDouble());
  Value result = t.elementwise(type, {x, means, inverse, weight, bias},
                               [](TensorBuilder &t, ValueRange e) {
                                 return t.add(t.mul(t.mul(t.sub(e[0], e[1]), e[2]), e[3]), e[4]);
                               },
                               /*perRow=*/{1, 2});
  return SmallVector<Value>{result};
}

// ---- Rotary position embedding --------------------------------------------------------------

/// Su et al., "RoFormer" (2021), eq. 34, with the pairs (i, i + rotary_dim/2) of the Hugging Face
/// checkpoints. The angle is computed in f64: a position of a million times a frequency in f32
/// would be wrong in the second digit.
Decomposition RopeOp::decompose(OpBuilder &builder) {
  if (!areF32(getInput()))
    return failure();
  TensorBuilder t(*this, builder);
  Value x = getInput();
  int64_t headDim = getHeadDim(), rotary = getRotaryDim(), half = rotary / 2;
  SmallVector<double> frequencies = getFrequencies();
  Value table = arith::ConstantOp::create(
      t.b, DenseElementsAttr::get(RankedTensorType::get({half}, builder.getF64Type()),
                                  ArrayRef<double>(frequencies)));
  Value result = t.elementwise(
      resultType(*this), {x, getPositions()},
      [&](TensorBuilder &t, ValueRange e) -> Value {
        ImplicitLocOpBuilder &b = t.b;
        Value row = linalg::IndexOp::create(b, 0), column = linalg::IndexOp::create(b, 1);
        Value inHead = arith::RemUIOp::create(b, column, t.index(headDim));
        Value first = arith::CmpIOp::create(b, arith::CmpIPredicate::ult, inHead, t.index(half));
        Value rotated =
            arith::CmpIOp::create(b, arith::CmpIPredicate::ult, inHead, t.index(rotary));
        // Element i of a pair reads i + half, and the other way round.
        Value after = arith::AddIOp::create(b, column, t.index(half));
        Value before = arith::SubIOp::create(b, column, t.index(half));
        Value other = arith::SelectOp::create(b, first, after, before);
        other = arith::SelectOp::create(b, rotated, other, column);
        Value partner = tensor::ExtractOp::create(b, x, ValueRange{row, other});

        Value pair = arith::RemUIOp::create(b, inHead, t.index(half));
        Value frequency = tensor::ExtractOp::create(b, table, ValueRange{pair});
        Value position = arith::SIToFPOp::create(b, b.getF64Type(), e[1]);
        Value angle = t.mul(position, frequency);
        Value sine = arith::TruncFOp::create(b, b.getF32Type(), math::SinOp::create(b, angle));
        Value cosine = arith::TruncFOp::create(b, b.getF32Type(), math::CosOp::create(b, angle));
        if (getFactor() != 1) {
          sine = t.mul(sine, t.f32(getFactor()));
          cosine = t.mul(cosine, t.f32(getFactor()));
        }
        // x[i] cos - x[i + half] sin and x[i + half] cos + x[i] sin
        Value turn = t.mul(partner, sine);
        Value signedTurn = arith::SelectOp::create(b, first, t.negate(turn), turn);
        Value turned = t.add(t.mul(e[0], cosine), signedTurn);
        return arith::SelectOp::create(b, rotated, turned, e[0]);
      },
      /*perRow=*/{1});
  return SmallVector<Value>{result};
}

// ---- Attention ------------------------------------------------------------------------------

Decomposition AttentionOp::decompose(OpBuilder &) {
  return failure(); // writes the cache: see the head of this file
}

// ---- Elementwise ----------------------------------------------------------------------------

static Decomposition mapElements(Operation *op, OpBuilder &builder, TensorBuilder::Body body) {
  if (!areF32(op->getOperands()))
    return failure();
  TensorBuilder t(op, builder);
  SmallVector<Value> inputs;
  for (Value operand : op->getOperands())
    inputs.push_back(logical(t, operand));
  return SmallVector<Value>{t.elementwise(resultType(op), inputs, body)};
}

#define KILN_DECOMPOSE_WITH(Op, declaration, expression)                                           \
  Decomposition Op::decompose(OpBuilder &builder) {                                                \
    declaration;                                                                                   \
    return mapElements(*this, builder,                                                             \
                       [&](TensorBuilder &t, ValueRange e) -> Value { return expression; });       \
  }
#define KILN_DECOMPOSE(Op, expression)                                                             \
  Decomposition Op::decompose(OpBuilder &builder) {                                                \
    return mapElements(*this, builder,                                                             \
                       [](TensorBuilder &t, ValueRange e) -> Value { return expression; });        \
  }
KILN_DECOMPOSE(AddOp, t.add(e[0], e[1]))
KILN_DECOMPOSE(SubOp, t.sub(e[0], e[1]))
KILN_DECOMPOSE(MulOp, t.mul(e[0], e[1]))
KILN_DECOMPOSE(DivOp, t.div(e[0], e[1]))
KILN_DECOMPOSE_WITH(ScaleOp, double number = getFactor().convertToDouble(),
                    t.mul(e[0], t.f32(number)))
KILN_DECOMPOSE_WITH(SoftcapOp, double number = getLimit().convertToDouble(),
                    t.mul(math::TanhOp::create(t.b, t.mul(e[0], t.f32(1 / number))), t.f32(number)))
KILN_DECOMPOSE(NegOp, t.negate(e[0]))
KILN_DECOMPOSE(ExpOp, t.exp(e[0]))
KILN_DECOMPOSE(TanhOp, math::TanhOp::create(t.b, e[0]))
KILN_DECOMPOSE(SigmoidOp, t.div(t.f32(1), t.add(t.f32(1), t.exp(t.negate(e[0])))))
KILN_DECOMPOSE(SiluOp, t.div(e[0], t.add(t.f32(1), t.exp(t.negate(e[0])))))

/// x > 0 ? x : 0, so that NaN gives 0 as in the op's folder.
static Value relu(TensorBuilder &t, Value x) {
  Value positive = arith::CmpFOp::create(t.b, arith::CmpFPredicate::OGT, x, t.f32(0));
  return arith::SelectOp::create(t.b, positive, x, t.f32(0));
}
KILN_DECOMPOSE(ReluOp, relu(t, e[0]))

// Hendrycks and Gimpel, "Gaussian Error Linear Units" (2016): the exact form and the tanh form.
static Value gelu(TensorBuilder &t, Value x) {
  Value erf = math::ErfOp::create(t.b, t.mul(x, t.f32(M_SQRT1_2)));
  return t.mul(t.mul(x, t.f32(0.5)), t.add(t.f32(1), erf));
}
static Value geluTanh(TensorBuilder &t, Value x) {
  Value cube = t.mul(t.mul(x, x), x);
  Value inner = t.add(x, t.mul(cube, t.f32(0.044715)));
  Value tanh = math::TanhOp::create(t.b, t.mul(inner, t.f32(std::sqrt(M_2_PI))));
  return t.mul(t.mul(x, t.f32(0.5)), t.add(t.f32(1), tanh));
}
KILN_DECOMPOSE(GeluOp, gelu(t, e[0]))
KILN_DECOMPOSE(GeluTanhOp, geluTanh(t, e[0]))
