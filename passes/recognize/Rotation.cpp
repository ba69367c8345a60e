// Rotary embedding in primitives, halves of a head as pairs:
//
//   %y = %x * %cos + concat(-%x[d/2:], %x[:d/2]) * %sin          =>    %y = rotate(%x, %cos, %sin)
//
// or as two products joined, %x[:d/2] * %cos - %x[d/2:] * %sin and %x[d/2:] * %cos + %x[:d/2] *
// %sin; there the pairs may also be neighbours, slices of step 2 that are stacked. The op takes one
// cosine for each pair: cosines of whole heads must be seen to hold each half twice.
#include "passes/recognize/Expression.h"
#include "passes/recognize/Recognize.h"

using namespace mlir;
using namespace kiln;
using namespace kiln::graph;
using namespace kiln::recognize;

namespace {

/// Elements of the last dim of a value: first, first + step, …, `count` of them.
struct Part {
  Value of;
  int64_t first, step, count;
};

/// The two halves of a tensor's last dim.
struct Pair {
  Value x;
  bool interleaved;
};

} // namespace

static std::optional<Part> partOf(Value value) {
  ComputeOp slice = definedBy(value, "slice");
  if (!slice || slice.getNumOperands() != 1 || tensorOf(value).getRank() != 4)
    return std::nullopt;
  RankedTensorType from = tensorOf(slice.getOperand(0)), to = tensorOf(value);
  ArrayRef<int64_t> starts = intsParam(slice, "starts"), steps = intsParam(slice, "steps");
  SmallVector<FlatSymbolRefAttr> names = dimNames(from), kept = dimNames(to);
  for (int64_t dim = 0; dim < 3; ++dim)
    if (starts[dim] != 0 || steps[dim] != 1 || from.getDimSize(dim) != to.getDimSize(dim) ||
        names[dim] != kept[dim])
      return std::nullopt;
  if (from.isDynamicDim(3) || to.isDynamicDim(3) || getStored(from))
    return std::nullopt;
  return Part{slice.getOperand(0), starts[3], steps[3], to.getDimSize(3)};
}

/// Whether two values are the first and the second elements of all pairs of a tensor.
static std::optional<Pair> pairOf(Value first, Value second) {
  std::optional<Part> left = partOf(first), right = partOf(second);
  if (!left || !right || left->of != right->of || left->count != right->count ||
      left->step != right->step || left->first != 0 ||
      tensorOf(left->of).getDimSize(3) != 2 * left->count)
    return std::nullopt;
  if (left->step == 1 && right->first == left->count)
    return Pair{left->of, false};
  if (left->step == 2 && right->first == 1)
    return Pair{left->of, true};
  return std::nullopt;
}

static Value negated(Value value) {
  if (ComputeOp neg = definedBy(value, "neg"))
    return neg.getOperand(0);
  if (ComputeOp mul = definedBy(value, "mul"))
    for (auto [number, other] : {std::pair(1, 0), std::pair(0, 1)})
      if (scalarOf(mul.getOperand(number)) == -1.0)
        return mul.getOperand(other);
  return {};
}

/// Both operands of an op of that kind, where its value is used once.
static std::optional<std::pair<Value, Value>> operandsOf(Value value, StringRef kind) {
  ComputeOp op = definedBy(value, kind);
  if (!op || op.getNumOperands() != 2 || !value.hasOneUse())
    return std::nullopt;
  return std::pair(op.getOperand(0), op.getOperand(1));
}

// ---- Cosines and sines ------------------------------------------------------------------------

/// Whether the second half of the last dim repeats the first, as far as the ops tell.
static bool hasEqualHalves(Value value) {
  for (unsigned steps = 0; steps < 12; ++steps) {
    auto op = value.getDefiningOp<ComputeOp>();
    if (!op)
      return false;
    StringRef kind = op.getKind();
    int64_t last = tensorOf(value).getRank() - 1;
    if (kind == "concat")
      return op.getNumOperands() == 2 && intParam(op, "axis") == last &&
             op.getOperand(0) == op.getOperand(1);
    if (kind == "reshape") { // the last dim must be kept
      RankedTensorType from = tensorOf(op.getOperand(0)), to = tensorOf(value);
      if (from.getRank() == 0 || from.isDynamicDim(from.getRank() - 1) ||
          from.getShape().back() != to.getShape().back())
        return false;
      value = op.getOperand(0);
    } else if (kind == "slice" && op.getNumOperands() == 1) {
      RankedTensorType from = tensorOf(op.getOperand(0)), to = tensorOf(value);
      if (from.isDynamicDim(last) || from.getShape().back() != to.getShape().back() ||
          intsParam(op, "steps")[last] != 1)
        return false;
      value = op.getOperand(0);
    } else if (kind == "gather") {
      RankedTensorType from = tensorOf(op.getOperand(0)), to = tensorOf(value);
      if (intParam(op, "axis") >= from.getRank() - 1 || from.isDynamicDim(from.getRank() - 1) ||
          from.getShape().back() != to.getShape().back())
        return false;
      value = op.getOperand(0);
    } else if (kind == "cos" || kind == "sin" || kind == "cast") {
      value = op.getOperand(0);
    } else if (kind == "mul" || kind == "div") { // with a number
      bool isRight = scalarOf(op.getOperand(1)).has_value();
      if (!isRight && (kind == "div" || !scalarOf(op.getOperand(0))))
        return false;
      value = op.getOperand(isRight ? 0 : 1);
    } else {
      return false;
    }
  }
  return false;
}

/// Which of dims 1 and 2 of a tensor [batch, …, …, depth] are its heads: that along which the
/// angles are the same; nullopt where neither is.
static std::optional<bool> areHeadsFirst(Value angles, RankedTensorType x) {
  RankedTensorType own = tensorOf(angles);
  int64_t lead = 4 - own.getRank();
  if (lead < 0 || own.getRank() < 1)
    return std::nullopt;
  auto extent = [&](int64_t dim) { return dim < lead ? 1 : own.getDimSize(dim - lead); };
  SmallVector<FlatSymbolRefAttr> names = dimNames(own), wanted = dimNames(x);
  for (int64_t dim = 0; dim < 3; ++dim)
    if (extent(dim) != 1 && (extent(dim) != x.getDimSize(dim) || names[dim - lead] != wanted[dim]))
      return std::nullopt;
  if (extent(1) == 1 && (extent(2) != 1 || x.getDimSize(2) == 1))
    return true;
  if (extent(2) == 1 && extent(1) != 1)
    return false;
  return std::nullopt;
}

/// Angles [batch or 1, rows, pairs], the first `pairs` of those that are given.
static Value anglesOf(PatternRewriter &b, Location loc, Value angles, bool headsFirst,
                      int64_t pairs) {
  RankedTensorType own = tensorOf(angles);
  int64_t lead = 4 - own.getRank();
  SmallVector<FlatSymbolRefAttr> ownNames = dimNames(own), names;
  SmallVector<int64_t> shape;
  for (int64_t dim : {0, headsFirst ? 2 : 1, 3}) {
    shape.push_back(dim < lead ? 1 : own.getDimSize(dim - lead));
    names.push_back(dim < lead ? FlatSymbolRefAttr() : ownNames[dim - lead]);
  }
  Value flat = makeReshape(b, loc, angles, shape, names);
  if (shape[2] == pairs)
    return flat;
  shape[2] = pairs;
  NamedAttribute params[] = {
      b.getNamedAttr("starts", b.getDenseI64ArrayAttr(SmallVector<int64_t>(3, 0))),
      b.getNamedAttr("steps", b.getDenseI64ArrayAttr(SmallVector<int64_t>(3, 1)))};
  return makeCompute(b, loc, "slice", flat, tensorType(own.getElementType(), shape, names), params);
}

static LogicalResult rotate(ComputeOp last, const Pair &pair, Value cosines, Value sines,
                            PatternRewriter &b) {
  RankedTensorType x = tensorOf(pair.x);
  int64_t pairs = x.getDimSize(3) / 2;
  std::optional<bool> headsFirst = areHeadsFirst(cosines, x);
  if (!headsFirst || areHeadsFirst(sines, x) != headsFirst || !x.getElementType().isF32() ||
      !sameShape(last.getResult(0).getType(), x))
    return failure();
  for (Value angles : {cosines, sines}) {
    RankedTensorType own = tensorOf(angles);
    int64_t width = own.getShape().back();
    if (!own.getElementType().isF32() || getStored(own) ||
        !(width == pairs || (width == 2 * pairs && !pair.interleaved && hasEqualHalves(angles))))
      return failure();
  }
  b.setInsertionPoint(last);
  Location loc = last.getLoc();
  Value operands[] = {pair.x, anglesOf(b, loc, cosines, *headsFirst, pairs),
                      anglesOf(b, loc, sines, *headsFirst, pairs)};
  NamedAttribute params[] = {b.getNamedAttr("heads_first", b.getI64IntegerAttr(*headsFirst)),
                             b.getNamedAttr("interleaved", b.getI64IntegerAttr(pair.interleaved))};
  b.replaceOp(last, makeCompute(b, loc, "rotate", operands, tensorOf(last.getResult(0)), params));
  return success();
}

// ---- Patterns ---------------------------------------------------------------------------------

namespace {

struct OfCompute : OpRewritePattern<ComputeOp> {
  using OpRewritePattern::OpRewritePattern;
};

/// x * cosines + concat(-second, first) * sines.
struct NameHalfRotation : OfCompute {
  using OfCompute::OfCompute;
  LogicalResult matchAndRewrite(ComputeOp op, PatternRewriter &b) const override {
    if (op.getKind() != "add" || tensorOf(op.getResult(0)).getRank() != 4)
      return failure();
    for (auto [plain, turned] : {std::pair(0, 1), std::pair(1, 0)}) {
      auto left = operandsOf(op.getOperand(plain), "mul");
      auto right = operandsOf(op.getOperand(turned), "mul");
      if (!left || !right)
        return failure();
      for (auto [swapped, sines] : {*right, std::pair(right->second, right->first)}) {
        ComputeOp concat = definedBy(swapped, "concat");
        if (!concat || concat.getNumOperands() != 2 || intParam(concat, "axis") != 3 ||
            !swapped.hasOneUse())
          continue;
        Value second = negated(concat.getOperand(0));
        std::optional<Pair> pair = second ? pairOf(concat.getOperand(1), second) : std::nullopt;
        if (!pair || pair->interleaved)
          continue;
        for (auto [x, cosines] : {*left, std::pair(left->second, left->first)})
          if (x == pair->x && succeeded(rotate(op, *pair, cosines, sines, b)))
            return success();
      }
    }
    return failure();
  }
};

/// concat(first * cosines - second * sines, second * cosines + first * sines), or the two stacked.
struct NameJoinedRotation : OfCompute {
  using OfCompute::OfCompute;
  LogicalResult matchAndRewrite(ComputeOp op, PatternRewriter &b) const override {
    ComputeOp concat = op.getKind() == "reshape" ? definedBy(op.getOperand(0), "concat") : op;
    bool stacks = concat != op;
    if (!concat || concat.getKind() != "concat" || concat.getNumOperands() != 2)
      return failure();
    Value parts[] = {concat.getOperand(0), concat.getOperand(1)};
    int64_t axis = intParam(concat, "axis");
    if (axis != tensorOf(parts[0]).getRank() - 1 || tensorOf(op.getResult(0)).getRank() != 4)
      return failure();
    if (stacks) { // [..., pairs, 1] twice
      for (Value &part : parts) {
        ComputeOp reshape = definedBy(part, "reshape");
        RankedTensorType type = tensorOf(part);
        if (!reshape || axis != 4 || type.getDimSize(4) != 1 ||
            tensorOf(reshape.getOperand(0)).getRank() != 4 ||
            tensorOf(reshape.getOperand(0)).getShape() != type.getShape().drop_back() ||
            getDims(reshape.getOperand(0).getType()) != getDims(type))
          return failure();
        part = reshape.getOperand(0);
      }
    }
    auto minus = operandsOf(parts[0], "sub"), plus = operandsOf(parts[1], "add");
    if (!minus || !plus)
      return failure();
    auto a = operandsOf(minus->first, "mul"), s = operandsOf(minus->second, "mul");
    if (!a || !s)
      return failure();
    for (auto [first, cosines] : {*a, std::pair(a->second, a->first)})
      for (auto [second, sines] : {*s, std::pair(s->second, s->first)}) {
        std::optional<Pair> pair = pairOf(first, second);
        if (pair && pair->interleaved == stacks && isSum(*plus, first, second, cosines, sines) &&
            succeeded(rotate(op, *pair, cosines, sines, b)))
          return success();
      }
    return failure();
  }

private:
  static bool isProduct(Value value, Value left, Value right) {
    auto both = operandsOf(value, "mul");
    return both && ((both->first == left && both->second == right) ||
                    (both->first == right && both->second == left));
  }
  static bool isSum(std::pair<Value, Value> sum, Value first, Value second, Value cosines,
                    Value sines) {
    return (isProduct(sum.first, second, cosines) && isProduct(sum.second, first, sines)) ||
           (isProduct(sum.second, second, cosines) && isProduct(sum.first, first, sines));
  }
};

/// The first elements of heads turned, the others as they were: the op does that.
struct TakeUnturned : OfCompute {
  using OfCompute::OfCompute;
  LogicalResult matchAndRewrite(ComputeOp op, PatternRewriter &b) const override {
    if (op.getKind() != "concat" || op.getNumOperands() != 2 || intParam(op, "axis") != 3)
      return failure();
    ComputeOp rotation = definedBy(op.getOperand(0), "rotate");
    std::optional<Part> rest = partOf(op.getOperand(1));
    if (!rotation || !rotation.getResult(0).hasOneUse() || !rest)
      return failure();
    std::optional<Part> turned = partOf(rotation.getOperand(0));
    RankedTensorType cosines = tensorOf(rotation.getOperand(1));
    if (!turned || turned->of != rest->of || turned->first != 0 || turned->step != 1 ||
        rest->step != 1 || rest->first != turned->count ||
        rest->first + rest->count != tensorOf(rest->of).getDimSize(3) ||
        cosines.getShape().back() * 2 != turned->count)
      return failure();
    SmallVector<Value> operands(rotation.getOperands());
    operands[0] = rest->of;
    auto whole = ComputeOp::create(b, op.getLoc(), op->getResultTypes(), rotation.getKindAttr(),
                                   operands, rotation.getParams());
    b.replaceOp(op, whole);
    return success();
  }
};

/// Transposes of heads and rows follow a rotation: attention takes them in.
struct TurnBeforeTranspose : OfCompute {
  using OfCompute::OfCompute;
  LogicalResult matchAndRewrite(ComputeOp op, PatternRewriter &b) const override {
    if (op.getKind() != "rotate")
      return failure();
    ComputeOp transpose = definedBy(op.getOperand(0), "transpose");
    if (!transpose || intsParam(transpose, "perm") != ArrayRef<int64_t>{0, 2, 1, 3} ||
        !transpose.getResult(0).hasOneUse())
      return failure();
    SmallVector<Value> operands(op.getOperands());
    operands[0] = transpose.getOperand(0);
    NamedAttrList params(op.getParams());
    params.set("heads_first", b.getI64IntegerAttr(!intParam(op, "heads_first")));
    auto turned =
        ComputeOp::create(b, op.getLoc(), TypeRange(operands[0].getType()), op.getKindAttr(),
                          operands, params.getDictionary(b.getContext()));
    b.replaceOp(op, makeTranspose(b, op.getLoc(), turned.getResult(0), {0, 2, 1, 3}));
    return success();
  }
};

} // namespace

void recognize::populateRotations(RewritePatternSet &patterns) {
  patterns.add<NameHalfRotation, NameJoinedRotation, TakeUnturned, TurnBeforeTranspose>(
      patterns.getContext());
}
