// Attention in primitives:
//
//   %s = matmul(scale * %q, %k transposed) + %mask
//   %y = matmul(softmax(%s), %v)                    =>    %y = attention(%q, %k, %v, %mask)
//
// It is found from the product with the values. Scales of queries, keys and scores become one;
// masks are summands, or truths that choose between a score and a great negative number; what only
// rearranges queries, keys and values is taken in by the op, which reads heads before rows or rows
// before heads, and key heads that several query heads share.
//
// A query that no key is shown to gives zeros, where a softmax of infinities would give NaN.
#include "passes/recognize/Heads.h"
#include "passes/recognize/Recognize.h"
#include <cmath>

using namespace mlir;
using namespace kiln;
using namespace kiln::graph;
using namespace kiln::recognize;

/// What is not shown has a score of at most this: adding a score to it changes nothing that counts.
static constexpr double kHidden = -1e9;

namespace {

/// A mask of scores: summands, or where `fill` is set truths of which those equal to `shows` let a
/// key be seen and the others give the score `fill`.
struct Mask {
  Value value;
  std::optional<double> fill;
  bool shows = true;
};

/// The scores of an attention, read from the softmax down to the product of queries and keys.
struct Scores {
  ComputeOp product;
  SmallVector<Mask> masks;
  double scale = 1, softcap = 0;
};

} // namespace

/// Scores as product * scale, perhaps squashed; `value` is one of the chain's values.
static bool readScaled(Value value, Scores &scores) {
  if (!value.hasOneUse())
    return false;
  auto op = value.getDefiningOp<ComputeOp>();
  if (!op || op->getNumResults() != 1)
    return false;
  StringRef kind = op.getKind();
  if (kind == "matmul" && op.getNumOperands() == 2) {
    scores.product = op;
    return true;
  }
  if (kind == "softcap" && scores.softcap == 0 && scores.scale == 1) {
    scores.softcap = floatParam(op, "limit");
    return scores.softcap > 0 && readScaled(op.getOperand(0), scores);
  }
  if (kind == "tanh" && scores.softcap == 0 && scores.scale > 0) { // scale * tanh(s / scale)
    double cap = scores.scale;
    Scores inner;
    if (!readScaled(op.getOperand(0), inner) || inner.softcap != 0)
      return false;
    scores.product = inner.product;
    scores.softcap = cap;
    scores.scale = inner.scale * cap;
    return true;
  }
  auto scaled = scaledOf(op);
  if (!scaled)
    return false;
  scores.scale *= scaled->second;
  return readScaled(scaled->first, scores);
}

/// Scores with their masks.
static bool readScores(Value value, Scores &scores) {
  if (!value.hasOneUse())
    return false;
  auto op = value.getDefiningOp<ComputeOp>();
  if (!op)
    return false;
  RankedTensorType type = tensorOf(value);
  auto fits = [&](Value inner, Value mask) {
    return sameShape(inner.getType(), type) && broadcastsTo(mask, type) &&
           tensorOf(mask).getRank() > 0;
  };
  auto tryWith = [&](Value inner, Mask mask) {
    Scores below = scores;
    if (!fits(inner, mask.value) || !readScores(inner, below))
      return false;
    scores = below;
    scores.masks.push_back(mask);
    return true;
  };
  if (op.getKind() == "add")
    for (auto [inner, mask] : {std::pair(0, 1), std::pair(1, 0)})
      if (tryWith(op.getOperand(inner), {op.getOperand(mask), std::nullopt, true}))
        return true;
  if (op.getKind() == "where")
    for (auto [inner, number] : {std::pair(1, 2), std::pair(2, 1)})
      if (std::optional<double> fill = scalarOf(op.getOperand(number));
          fill && *fill <= kHidden &&
          tryWith(op.getOperand(inner), {op.getOperand(0), *fill, inner == 1}))
        return true;
  return readScaled(value, scores);
}

/// The softmax over the last dim that gives `value`, if nothing else needs it. Infinite scores may
/// be guarded: where(isnan(p), 0, p).
static ComputeOp softmaxOf(Value value) {
  if (!value.hasOneUse())
    return {};
  if (ComputeOp where = definedBy(value, "where")) {
    ComputeOp isNan = definedBy(where.getOperand(0), "isnan");
    Value inner = where.getOperand(2);
    if (!isNan || isNan.getOperand(0) != inner || scalarOf(where.getOperand(1)) != 0.0 ||
        !sameShape(inner.getType(), value.getType()) || !isNan.getResult(0).hasOneUse() ||
        std::distance(inner.use_begin(), inner.use_end()) != 2)
      return {};
    value = inner;
  }
  ComputeOp softmax = definedBy(value, "softmax");
  return softmax && intParam(softmax, "axis") == tensorOf(value).getRank() - 1 ? softmax
                                                                               : ComputeOp();
}

// ---- Masks ------------------------------------------------------------------------------------

static Value asFourDims(PatternRewriter &b, Location loc, Value value) {
  RankedTensorType type = tensorOf(value);
  SmallVector<int64_t> shape(4 - type.getRank(), 1);
  SmallVector<FlatSymbolRefAttr> names(4 - type.getRank());
  llvm::append_range(shape, type.getShape());
  llvm::append_range(names, dimNames(type));
  return makeReshape(b, loc, value, shape, names);
}

static Value scalar(PatternRewriter &b, Location loc, double value) {
  auto type = RankedTensorType::get({}, b.getF32Type());
  return ConstantOp::create(b, loc, DenseElementsAttr::get(type, float(value)));
}

static RankedTensorType withElement(Value value, Type element) {
  RankedTensorType type = tensorOf(value);
  return RankedTensorType::get(type.getShape(), element, getDims(type));
}

/// A mask as the op takes it: truths where what is hidden is hidden wholly, else summands.
static Value operandOf(PatternRewriter &b, Location loc, const Mask &mask, bool asSummand) {
  Value value = mask.value;
  if (!mask.fill) {
    ComputeOp where = definedBy(value, "where");
    bool chooses = where && !asSummand && scalarOf(where.getOperand(1)) == 0.0 &&
                   scalarOf(where.getOperand(2)) == -INFINITY &&
                   sameShape(where.getOperand(0).getType(), value.getType());
    return chooses ? where.getOperand(0) : value;
  }
  if (std::isinf(*mask.fill) && !asSummand)
    return mask.shows ? value
                      : makeCompute(b, loc, "not", value, withElement(value, b.getI1Type()));
  Value nothing = scalar(b, loc, 0), hidden = scalar(b, loc, *mask.fill);
  return makeCompute(b, loc, "where",
                     {value, mask.shows ? nothing : hidden, mask.shows ? hidden : nothing},
                     withElement(value, b.getF32Type()));
}

static Value joinMasks(PatternRewriter &b, Location loc, ArrayRef<Mask> masks) {
  Value all;
  for (const Mask &mask : masks) {
    Value value = asFourDims(b, loc, operandOf(b, loc, mask, masks.size() > 1));
    if (!all) {
      all = value;
      continue;
    }
    RankedTensorType left = tensorOf(all), right = tensorOf(value);
    SmallVector<int64_t> shape(left.getShape());
    SmallVector<FlatSymbolRefAttr> names = dimNames(left), others = dimNames(right);
    for (int64_t dim = 0; dim < 4; ++dim)
      if (shape[dim] == 1) {
        shape[dim] = right.getDimSize(dim);
        names[dim] = others[dim];
      }
    all = makeCompute(b, loc, "add", {all, value}, tensorType(b.getF32Type(), shape, names));
  }
  return all;
}

// ---- The op -----------------------------------------------------------------------------------

/// The layout that keys and values are read in: one that both have, or heads first.
static bool keysHeadsFirst(const Heads &key, const Heads &value) {
  return (key.canBe(true) && value.canBe(true)) || !(key.canBe(false) && value.canBe(false));
}

/// Whether dim i of both is the same.
static bool agree(const Heads &left, const Heads &right, int64_t dim) {
  return left.extent(dim) == right.extent(dim) && left.name(dim) == right.name(dim);
}

static bool isAttention(const Heads &query, const Heads &key, const Heads &value) {
  int64_t heads = query.extent(1), keyHeads = key.extent(1);
  bool shares = !ShapedType::isDynamic(heads) && !ShapedType::isDynamic(keyHeads) && keyHeads > 0 &&
                heads % keyHeads == 0;
  return agree(query, key, 0) && agree(query, value, 0) && agree(key, value, 1) &&
         (shares || agree(query, key, 1)) && agree(key, value, 2) && agree(query, key, 3);
}

/// The transpose that alone uses a result [batch, heads, rows, depth], where it puts rows before
/// heads; its operand may have fewer dims.
static ComputeOp rowsBeforeHeads(Value result) {
  ComputeOp user = onlyUser(result);
  if (!user || user.getKind() != "transpose")
    return {};
  int64_t lead = 4 - tensorOf(result).getRank();
  SmallVector<int64_t> found, wanted;
  auto isLong = [&](int64_t dim) {
    return dim >= lead && tensorOf(result).getDimSize(dim - lead) != 1;
  };
  for (int64_t dim : intsParam(user, "perm"))
    if (isLong(dim + lead))
      found.push_back(dim + lead);
  for (int64_t dim : Heads::memoryOrder(false))
    if (isLong(dim))
      wanted.push_back(dim);
  return found == wanted ? user : ComputeOp();
}

/// [batch, heads, rows, width] in memory with rows or heads first.
static RankedTensorType resultType(const Heads &query, const Heads &value, bool headsFirst) {
  SmallVector<int64_t> shape;
  SmallVector<FlatSymbolRefAttr> names;
  for (int64_t dim : Heads::memoryOrder(headsFirst)) {
    const Heads &from = dim == 3 ? value : query;
    shape.push_back(from.extent(dim));
    names.push_back(from.name(dim));
  }
  return tensorType(tensorOf(query.value).getElementType(), shape, names);
}

namespace {

struct NameAttention : OpRewritePattern<ComputeOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(ComputeOp op, PatternRewriter &b) const override {
    if (op.getKind() != "matmul" || op.getNumOperands() != 2)
      return failure();
    RankedTensorType type = tensorOf(op.getResult(0));
    if (!type.getElementType().isF32() || type.getRank() < 2 || type.getRank() > 4)
      return failure();
    ComputeOp softmax = softmaxOf(op.getOperand(0));
    Scores scores;
    if (!softmax || !readScores(softmax.getOperand(0), scores))
      return failure();
    Value operands[] = {scores.product.getOperand(0), scores.product.getOperand(1),
                        op.getOperand(1)};
    for (Value operand : operands)
      if (!tensorOf(operand).getElementType().isF32() ||
          tensorOf(operand).getRank() != type.getRank())
        return failure();
    Heads query = Heads::of(operands[0]);
    query.peel({/*scale=*/true, /*repeats=*/false});
    Heads key, value;
    for (bool repeats :
         {true, false}) { // heads that are repeated are so in both, or count as they are
      key = Heads::of(operands[1]);
      value = Heads::of(operands[2]);
      std::swap(key.dims[2], key.dims[3]); // a product's right matrix is [depth, keys]
      key.peel({/*scale=*/true, repeats});
      value.peel({/*scale=*/false, repeats});
      if (agree(key, value, 1))
        break;
    }
    if (!isAttention(query, key, value))
      return failure();
    scores.scale *= query.scale * key.scale;
    if (scores.softcap > 0 && scores.scale <= 0)
      return failure();
    build(op, scores, query, key, value, b);
    return success();
  }

private:
  static void build(ComputeOp op, const Scores &scores, const Heads &query, const Heads &key,
                    const Heads &value, PatternRewriter &b) {
    Location loc = op.getLoc();
    b.setInsertionPoint(op);
    bool queryFirst = query.canBe(true) || !query.canBe(false);
    bool keyFirst = keysHeadsFirst(key, value);
    ComputeOp transpose = rowsBeforeHeads(op.getResult(0));
    SmallVector<Value> operands{query.make(b, loc, queryFirst), key.make(b, loc, keyFirst),
                                value.make(b, loc, keyFirst)};
    int64_t mask = -1;
    if (Value joined = joinMasks(b, loc, scores.masks)) {
      mask = int64_t(operands.size());
      operands.push_back(joined);
    }
    auto number = [&](StringRef name, int64_t value) {
      return b.getNamedAttr(name, b.getI64IntegerAttr(value));
    };
    NamedAttribute params[] = {number("q_heads_first", queryFirst),
                               number("kv_heads_first", keyFirst),
                               number("y_heads_first", !transpose),
                               number("mask", mask),
                               number("offsets", -1),
                               number("lengths", -1),
                               b.getNamedAttr("scale", b.getF64FloatAttr(scores.scale)),
                               b.getNamedAttr("softcap", b.getF64FloatAttr(scores.softcap)),
                               number("causal", 0),
                               number("left", -1),
                               number("right", -1),
                               number("scores", 0)};
    Value result = makeCompute(b, loc, "attention", operands,
                               resultType(query, value, /*headsFirst=*/!transpose), params);
    ComputeOp last = transpose ? transpose : op;
    RankedTensorType wanted = tensorOf(last.getResult(0));
    if (transpose)
      b.setInsertionPoint(transpose);
    b.replaceOp(last, makeReshape(b, loc, result, wanted.getShape(), dimNames(wanted)));
  }
};

/// Takes transposes around an attention into it.
struct TakeTransposes : OpRewritePattern<ComputeOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(ComputeOp op, PatternRewriter &b) const override {
    if (op.getKind() != "attention")
      return failure();
    auto readOperand = [&](unsigned operand, StringRef layout) {
      Heads heads = Heads::of(op.getOperand(operand));
      if (!intParam(op, layout))
        std::swap(heads.dims[1], heads.dims[2]);
      heads.peel({/*scale=*/false, /*repeats=*/operand > 0});
      return heads;
    };
    Heads query = readOperand(0, "q_heads_first"), key = readOperand(1, "kv_heads_first"),
          value = readOperand(2, "kv_heads_first");
    bool keyFirst = keysHeadsFirst(key, value), queryFirst = query.canBe(true);
    bool takesKeys = isTransposed(op.getOperand(1)) && isTransposed(op.getOperand(2)) &&
                     key.canBe(keyFirst) && value.canBe(keyFirst) && agree(key, value, 1);
    bool takesQuery = isTransposed(op.getOperand(0)) && query.canBe(queryFirst);
    ComputeOp transpose = intParam(op, "y_heads_first") && op.getNumResults() == 1
                              ? rowsBeforeHeads(op.getResult(0))
                              : ComputeOp();
    if (!takesKeys && !takesQuery && !transpose)
      return failure();
    SmallVector<Value> operands(op.getOperands());
    NamedAttrList params(op.getParams());
    if (takesQuery) {
      operands[0] = query.make(b, op.getLoc(), queryFirst);
      params.set("q_heads_first", b.getI64IntegerAttr(queryFirst));
    }
    if (takesKeys) {
      operands[1] = key.make(b, op.getLoc(), keyFirst);
      operands[2] = value.make(b, op.getLoc(), keyFirst);
      params.set("kv_heads_first", b.getI64IntegerAttr(keyFirst));
    }
    SmallVector<Type> types(op->getResultTypes());
    if (transpose) {
      types[0] = resultType(query, value, /*headsFirst=*/false);
      params.set("y_heads_first", b.getI64IntegerAttr(0));
    }
    auto taken = ComputeOp::create(b, op.getLoc(), types, op.getKindAttr(), operands,
                                   params.getDictionary(b.getContext()));
    if (!transpose) {
      b.replaceOp(op, taken);
      return success();
    }
    RankedTensorType wanted = tensorOf(transpose.getResult(0));
    b.setInsertionPoint(transpose);
    b.replaceOp(transpose, makeReshape(b, op.getLoc(), taken.getResult(0), wanted.getShape(),
                                       dimNames(wanted)));
    return success();
  }

private:
  static bool isTransposed(Value value) { return bool(definedBy(value, "transpose")); }
};

} // namespace

void recognize::populateAttention(RewritePatternSet &patterns) {
  patterns.add<NameAttention, TakeTransposes>(patterns.getContext());
}
