// Norms in primitives:
//
//   %d = %x - mean(%x)
//   %y = %d / sqrt(mean(%d * %d) + eps) * %g + %b     =>    %y = layer_norm(%x, %g, %b)
//
// and the same without a mean that is subtracted, rms_norm. A norm is found from its root: what is
// under it must be a mean of squares along the last dims, and every value that its users make must
// be what was squared, times the inverse root; a factor may be multiplied in before, between or
// after.
#include "passes/recognize/Expression.h"
#include "passes/recognize/Recognize.h"

using namespace mlir;
using namespace kiln;
using namespace kiln::graph;
using namespace kiln::recognize;

namespace {

/// The mean of a value along dims `axis` and those after it.
struct Mean {
  Value of;
  int64_t axis;
};

/// What is under a root, and what it normalizes.
struct Norm {
  Value x;       // what the norm's op takes
  Value centred; // x, or x less its mean
  Value mean;    // null where it is not centred
  int64_t axis;
  double eps;

  RankedTensorType type() const { return tensorOf(x); }
  bool isParameter(Value value) const;
};

/// A value that is a norm, times `factor` where that is not null.
struct Normalized {
  Value value, factor, summand;
};

} // namespace

/// `reduction` where `value` is it with its dims kept, by itself or through a reshape.
static ComputeOp keptReduction(Value value, ArrayRef<StringRef> kinds) {
  if (ComputeOp reshape = definedBy(value, "reshape"))
    value = reshape.getOperand(0);
  auto op = value.getDefiningOp<ComputeOp>();
  return op && op.getNumOperands() == 1 && llvm::is_contained(kinds, op.getKind()) ? op
                                                                                   : ComputeOp();
}

static std::optional<Mean> meanOf(Value value) {
  double factor = 1; // of a sum
  ComputeOp op = keptReduction(value, {"reduce_mean"});
  if (!op) {
    auto scaled = value.getDefiningOp<ComputeOp>();
    bool divides = scaled && scaled.getKind() == "div";
    if (!scaled || (!divides && scaled.getKind() != "mul"))
      return std::nullopt;
    for (auto [number, sum] : {std::pair(1, 0), std::pair(0, 1)}) {
      if (divides && number == 0)
        continue;
      std::optional<double> given = scalarOf(scaled.getOperand(number));
      ComputeOp found = keptReduction(scaled.getOperand(sum), {"reduce_sum"});
      if (!given || !found || *given == 0)
        continue;
      op = found;
      factor = divides ? 1 / *given : *given;
    }
    if (!op)
      return std::nullopt;
  }
  Value input = op.getOperand(0);
  RankedTensorType from = tensorOf(input), to = tensorOf(value);
  auto axes = op.getParams().getAs<DenseI64ArrayAttr>("axes");
  int64_t axis = axes ? from.getRank() - int64_t(axes.size()) : 0;
  if (!axes || axes.empty() || to.getRank() != from.getRank() || !isFloat(input))
    return std::nullopt;
  SmallVector<FlatSymbolRefAttr> names = dimNames(from), kept = dimNames(to);
  double count = 1;
  for (int64_t dim = 0; dim < from.getRank(); ++dim) {
    bool isReduced = llvm::is_contained(axes.asArrayRef(), dim);
    int64_t extent = from.getDimSize(dim);
    if (isReduced != (dim >= axis) ||
        (isReduced ? to.getDimSize(dim) != 1
                   : to.getDimSize(dim) != extent || names[dim] != kept[dim]))
      return std::nullopt;
    if (isReduced)
      count *= ShapedType::isDynamic(extent) ? 0 : double(extent);
  }
  if (op.getKind() == "reduce_sum" &&
      (count == 0 || !isNumber(factor * count, 1, from.getElementType())))
    return std::nullopt;
  return Mean{input, axis};
}

/// What a variance or mean of squares plus eps is of.
static std::optional<Norm> normUnder(Value sum) {
  Norm norm;
  auto add = definedBy(sum, "add");
  std::optional<double> eps;
  Value variance;
  for (auto [number, other] : {std::pair(1, 0), std::pair(0, 1)})
    if (add && !eps && (eps = scalarOf(add.getOperand(number))))
      variance = add.getOperand(other);
  if (!eps || *eps < 0 || !sameShape(variance.getType(), sum.getType()))
    return std::nullopt;
  norm.eps = *eps;
  if (ComputeOp sub = definedBy(variance, "sub")) { // mean of squares less the mean's square
    std::optional<Mean> squares = meanOf(sub.getOperand(0));
    Value mean = squareOf(sub.getOperand(1));
    std::optional<Mean> inner = mean ? meanOf(mean) : std::nullopt;
    if (!squares || !inner || squareOf(squares->of) != inner->of || squares->axis != inner->axis)
      return std::nullopt;
    norm.x = inner->of;
    norm.mean = mean;
    norm.axis = inner->axis;
    return norm;
  }
  std::optional<Mean> squares = meanOf(variance);
  norm.centred = squares ? squareOf(squares->of) : Value();
  if (!norm.centred || !sameShape(norm.centred.getType(), squares->of.getType()))
    return std::nullopt;
  norm.x = norm.centred;
  norm.axis = squares->axis;
  if (ComputeOp sub = definedBy(norm.centred, "sub"))
    if (std::optional<Mean> inner = meanOf(sub.getOperand(1));
        inner && inner->of == sub.getOperand(0) && inner->axis == norm.axis) {
      norm.x = inner->of;
      norm.mean = sub.getOperand(1);
    }
  return norm;
}

/// Whether a value may be a factor or summand of the norm's op: of the normalized dims, or made of
/// constants.
bool Norm::isParameter(Value value) const {
  if (!isFloat(value) || tensorOf(value).getElementType() != type().getElementType() ||
      !broadcastsTo(value, type()))
    return false;
  if (scalarOf(value))
    return true;
  RankedTensorType own = tensorOf(value);
  int64_t outer = std::max<int64_t>(own.getRank() - (type().getRank() - axis), 0);
  bool isOfRow = llvm::all_of(own.getShape().take_front(outer), [](int64_t e) { return e == 1; });
  return own.hasStaticShape() && (isOfRow || isConstantLike(value));
}

namespace {

/// Finds every value that a root and its users make of a norm.
class Users {
public:
  explicit Users(const Norm &norm) : norm(norm) {}

  /// False where some use is none of a norm. `inverse`: `root` is 1 / the root, times `factor`.
  bool follow(Value root, bool inverse, Value factor) {
    for (Operation *user : root.getUsers())
      if (auto op = dyn_cast<ComputeOp>(user); !op || !followUser(op, root, inverse, factor))
        return false;
    return !root.use_empty();
  }
  SmallVector<Normalized> found;

private:
  /// Whether a value is what is normalized, times a factor (null: 1).
  bool isCentred(Value value, Value &factor) {
    factor = {};
    if (isWhole(value))
      return true;
    ComputeOp mul = definedBy(value, "mul");
    for (unsigned i = 0; mul && i < 2; ++i)
      if (isWhole(mul.getOperand(i)) && norm.isParameter(mul.getOperand(1 - i))) {
        factor = mul.getOperand(1 - i);
        return true;
      }
    return false;
  }
  bool isWhole(Value value) {
    if (value == norm.centred)
      return true;
    ComputeOp sub = definedBy(value, "sub");
    return sub && norm.mean && sub.getOperand(0) == norm.x && sub.getOperand(1) == norm.mean;
  }
  bool add(Value value, Value factor) {
    if (!sameShape(value.getType(), norm.type()))
      return false;
    found.push_back({value, factor, {}});
    return true;
  }
  bool followUser(ComputeOp op, Value root, bool inverse, Value factor) {
    Value result = op.getResult(0), own;
    if (!inverse && op.getKind() == "reciprocal")
      return follow(result, true, {});
    if (!inverse && op.getKind() == "div" && op.getOperand(1) == root) {
      if (scalarOf(op.getOperand(0)) == 1.0)
        return follow(result, true, {});
      return isCentred(op.getOperand(0), own) && add(result, own);
    }
    Value other = inverse ? otherOperand(op, "mul", root) : Value();
    if (!other)
      return false;
    if (isCentred(other, own))
      return (!own || !factor) && add(result, own ? own : factor);
    if (!factor && norm.isParameter(other))
      return follow(result, true, other);
    return followShifted(op, root, other, factor);
  }
  /// x * root + (summand - mean * root), as batch norms are written: each half is a user of the
  /// root.
  bool followShifted(ComputeOp op, Value root, Value other, Value factor) {
    if (!norm.mean || !factor)
      return false;
    if (other == norm.mean) { // the other half finds this one
      ComputeOp sub = onlyUser(op.getResult(0));
      ComputeOp sum = sub && sub.getKind() == "sub" ? onlyUser(sub.getResult(0)) : ComputeOp();
      Value first = otherOperand(sum, "add", sub ? sub.getResult(0) : Value());
      return first && otherOperand(first.getDefiningOp<ComputeOp>(), "mul", root) == norm.x;
    }
    if (other != norm.x)
      return false;
    ComputeOp sum = onlyUser(op.getResult(0));
    Value second = otherOperand(sum, "add", op.getResult(0));
    ComputeOp sub = second ? definedBy(second, "sub") : ComputeOp();
    if (!sub || !norm.isParameter(sub.getOperand(0)) ||
        otherOperand(sub.getOperand(1).getDefiningOp<ComputeOp>(), "mul", root) != norm.mean ||
        !add(sum.getResult(0), factor))
      return false;
    found.back().summand = sub.getOperand(0);
    return true;
  }

  const Norm &norm;
};

struct NameNorm : OpRewritePattern<ComputeOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(ComputeOp op, PatternRewriter &b) const override {
    bool inverse = false;
    if (op.getKind() == "pow") {
      std::optional<double> power = scalarOf(op.getOperand(1));
      if (power != 0.5 && power != -0.5)
        return failure();
      inverse = power == -0.5;
    } else if (op.getKind() != "sqrt") {
      return failure();
    }
    std::optional<Norm> norm = normUnder(op.getOperand(0));
    if (!norm || getStored(norm->x.getType()))
      return failure();
    Users users(*norm);
    if (!users.follow(op.getResult(0), inverse, {}))
      return failure();
    for (Normalized &normalized : users.found)
      replace(*norm, normalized, b);
    return success();
  }

private:
  static void replace(const Norm &norm, Normalized normalized, PatternRewriter &b) {
    // Where all users multiply with factors of their own, each gets its norm.
    SmallVector<Normalized> all;
    if (!normalized.factor)
      for (Operation *user : normalized.value.getUsers()) {
        Value other = otherOperand(dyn_cast<ComputeOp>(user), "mul", normalized.value);
        if (!other || other == normalized.value || !norm.isParameter(other) ||
            !sameShape(user->getResult(0).getType(), norm.type())) {
          all.clear();
          break;
        }
        all.push_back({user->getResult(0), other, {}});
      }
    if (all.empty())
      all.push_back(normalized);
    for (Normalized &one : all) {
      ComputeOp sum = one.factor && !one.summand ? onlyUser(one.value) : ComputeOp();
      Value summand = otherOperand(sum, "add", one.value);
      if (summand && norm.isParameter(summand) &&
          sameShape(sum.getResult(0).getType(), norm.type())) {
        one.value = sum.getResult(0);
        one.summand = summand;
      }
      build(norm, one, b);
    }
  }
  static void build(const Norm &norm, const Normalized &one, PatternRewriter &b) {
    Operation *last = one.value.getDefiningOp();
    b.setInsertionPoint(last);
    SmallVector<Value> operands{norm.x};
    for (Value parameter : {one.factor, one.summand})
      if (parameter)
        operands.push_back(parameter);
    NamedAttribute params[] = {b.getNamedAttr("axis", b.getI64IntegerAttr(norm.axis)),
                               b.getNamedAttr("eps", b.getF64FloatAttr(norm.eps))};
    b.replaceOp(last, makeCompute(b, last->getLoc(), norm.mean ? "layer_norm" : "rms_norm",
                                  operands, tensorOf(one.value), params));
  }
};

} // namespace

void recognize::populateNorms(RewritePatternSet &patterns) {
  patterns.add<NameNorm>(patterns.getContext());
}
