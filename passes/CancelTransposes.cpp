// Moves transposes down, past ops that do not care about the order of dims, until they meet their
// inverse or what must have them:
//
//   %t = transpose(%conv) {perm = [0, 3, 1, 2]}      %m = relu(%conv)
//   %m = relu(%t)                               =>
//   %u = transpose(%m) {perm = [0, 2, 3, 1]}         (%u is %m)
//
// Images of ONNX have their channels first, convolutions of the graph have them last; between two
// convolutions nothing of that is left. A transpose that moves only dims of one element is a
// reshape, and reshapes of reshapes are one.
//
// Rows of matrices that are seen with more leading dims move down in the same way, so that what
// follows a matmul elementwise is computed on its rows, in its kernel.
#include "ir/Graph/Operators.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"
#include "passes/Passes.h"

namespace kiln {
#define GEN_PASS_DEF_CANCELTRANSPOSES
#include "passes/Passes.h.inc"
} // namespace kiln

using namespace mlir;
using namespace kiln;
using namespace kiln::graph;

static ComputeOp definedBy(Value value, StringRef kind) {
  auto op = value.getDefiningOp<ComputeOp>();
  return op && op.getKind() == kind ? op : ComputeOp();
}

/// The type of which dim i is dim perm[i] of `type`.
static RankedTensorType permuted(RankedTensorType type, ArrayRef<int64_t> perm) {
  SmallVector<FlatSymbolRefAttr> names(type.getRank());
  unsigned dynamic = 0;
  for (int64_t dim = 0; dim < type.getRank(); ++dim)
    if (type.isDynamicDim(dim))
      names[dim] = getDims(type).getSymbols()[dynamic++];
  SmallVector<int64_t> shape;
  SmallVector<FlatSymbolRefAttr> symbols;
  for (int64_t from : perm) {
    shape.push_back(type.getDimSize(from));
    if (names[from])
      symbols.push_back(names[from]);
  }
  return RankedTensorType::get(shape, type.getElementType(),
                               symbols.empty() ? DimsAttr()
                                               : DimsAttr::get(type.getContext(), symbols));
}

static SmallVector<int64_t> inverseOf(ArrayRef<int64_t> perm) {
  SmallVector<int64_t> inverse(perm.size());
  for (auto [to, from] : llvm::enumerate(perm))
    inverse[from] = int64_t(to);
  return inverse;
}

static Value transpose(PatternRewriter &b, Location loc, Value value, ArrayRef<int64_t> perm) {
  auto params = b.getDictionaryAttr(b.getNamedAttr("perm", b.getDenseI64ArrayAttr(perm)));
  return ComputeOp::create(b, loc, TypeRange(permuted(tensorOf(value), perm)),
                           b.getStringAttr("transpose"), ValueRange(value), params)
      .getResult(0);
}

static Value reshape(PatternRewriter &b, Location loc, Value value, RankedTensorType type) {
  return ComputeOp::create(b, loc, TypeRange(type), b.getStringAttr("reshape"), ValueRange(value),
                           b.getDictionaryAttr({}))
      .getResult(0);
}

namespace {

struct OfCompute : OpRewritePattern<ComputeOp> {
  using OpRewritePattern::OpRewritePattern;
};

/// transpose(transpose(x)), and transposes that are reshapes.
struct SimplifyTranspose : OfCompute {
  using OfCompute::OfCompute;
  LogicalResult matchAndRewrite(ComputeOp op, PatternRewriter &b) const override {
    if (op.getKind() != "transpose")
      return failure();
    ArrayRef<int64_t> perm = intsParam(op, "perm");
    Value input = op.getOperand(0);
    if (llvm::equal(perm, llvm::seq<int64_t>(0, perm.size()))) {
      b.replaceOp(op, input);
      return success();
    }
    if (ComputeOp inner = definedBy(input, "transpose")) {
      SmallVector<int64_t> both;
      for (int64_t from : perm)
        both.push_back(intsParam(inner, "perm")[from]);
      b.replaceOp(op, transpose(b, op.getLoc(), inner.getOperand(0), both));
      return success();
    }
    SmallVector<int64_t> moved; // dims of more than one element, in the result's order
    for (int64_t from : perm)
      if (tensorOf(input).getDimSize(from) != 1)
        moved.push_back(from);
    if (!llvm::is_sorted(moved))
      return failure();
    b.replaceOp(op, reshape(b, op.getLoc(), input, tensorOf(op.getResult(0))));
    return success();
  }
};

struct SimplifyReshape : OfCompute {
  using OfCompute::OfCompute;
  LogicalResult matchAndRewrite(ComputeOp op, PatternRewriter &b) const override {
    if (op.getKind() != "reshape")
      return failure();
    Value input = op.getOperand(0);
    if (input.getType() == op.getResult(0).getType()) {
      b.replaceOp(op, input);
      return success();
    }
    ComputeOp inner = definedBy(input, "reshape");
    if (!inner)
      return failure();
    b.replaceOp(op, reshape(b, op.getLoc(), inner.getOperand(0), tensorOf(op.getResult(0))));
    return success();
  }
};

/// An elementwise op on transposed operands: they are used as they were, the result is transposed.
struct SinkPastMap : OfCompute {
  using OfCompute::OfCompute;
  LogicalResult matchAndRewrite(ComputeOp op, PatternRewriter &b) const override {
    if (operatorOf(op).cost != Cost::Map)
      return failure();
    ArrayRef<int64_t> perm;
    RankedTensorType type = tensorOf(op.getResult(0));
    for (Value operand : op.getOperands()) {
      RankedTensorType own = tensorOf(operand);
      if (ComputeOp inner = definedBy(operand, "transpose");
          inner && own.getRank() == type.getRank()) {
        if (!perm.empty() && perm != intsParam(inner, "perm"))
          return failure();
        perm = intsParam(inner, "perm");
      } else if (!isSmall(operand)) {
        return failure();
      }
    }
    if (perm.empty())
      return failure();
    SmallVector<int64_t> inverse = inverseOf(perm);
    SmallVector<Value> operands;
    for (Value operand : op.getOperands()) {
      ComputeOp inner = definedBy(operand, "transpose");
      RankedTensorType own = tensorOf(operand);
      if (inner && own.getRank() == type.getRank()) {
        operands.push_back(inner.getOperand(0));
        continue;
      }
      if (own.getRank() == 0) {
        operands.push_back(operand);
        continue;
      }
      SmallVector<int64_t> shape(type.getRank() - own.getRank(), 1);
      llvm::append_range(shape, own.getShape());
      auto whole = RankedTensorType::get(shape, own.getElementType());
      if (auto constant = operand.getDefiningOp<ConstantOp>()) {
        auto splat = cast<SplatElementsAttr>(constant.getValue());
        operands.push_back(ConstantOp::create(
            b, op.getLoc(),
            SplatElementsAttr::get(permuted(whole, inverse), splat.getSplatValue<Attribute>())));
        continue;
      }
      Value value = whole == own ? operand : reshape(b, op.getLoc(), operand, whole);
      operands.push_back(transpose(b, op.getLoc(), value, inverse));
    }
    auto moved = ComputeOp::create(b, op.getLoc(), TypeRange(permuted(type, inverse)),
                                   op.getKindAttr(), operands, op.getParams());
    b.replaceOp(op, transpose(b, op.getLoc(), moved.getResult(0), perm));
    return success();
  }

  /// Scalars, constants of one value, and tensors with one dim of more than one element: their
  /// transposes cost nothing.
  static bool isSmall(Value value) {
    RankedTensorType type = tensorOf(value);
    if (type.getRank() == 0)
      return true;
    if (!type.hasStaticShape())
      return false;
    if (auto constant = value.getDefiningOp<ConstantOp>())
      return isa<SplatElementsAttr>(constant.getValue());
    return llvm::count_if(type.getShape(), [](int64_t extent) { return extent != 1; }) <= 1;
  }
};

/// Ops whose params name dims.
struct SinkPastDims : OfCompute {
  using OfCompute::OfCompute;
  LogicalResult matchAndRewrite(ComputeOp op, PatternRewriter &b) const override {
    StringRef kind = op.getKind();
    bool reduces = operatorOf(op).cost == Cost::Once && hasParam(op, "axes") &&
                   hasParam(op, "keep_dims") && intParam(op, "keep_dims");
    bool joins = kind == "concat";
    bool lists =
        (kind == "slice" || kind == "pad") && op.getNumOperands() == (kind == "slice" ? 1 : 2);
    if (!reduces && !joins && !lists)
      return failure();
    SmallVector<int64_t> perm;
    SmallVector<Value> operands;
    for (auto [i, operand] : llvm::enumerate(op.getOperands())) {
      if (i > 0 && !joins) {
        operands.push_back(operand); // the value of a pad
        continue;
      }
      ComputeOp inner = definedBy(operand, "transpose");
      if (!inner || (!perm.empty() && ArrayRef(perm) != intsParam(inner, "perm")))
        return failure();
      perm.assign(intsParam(inner, "perm").begin(), intsParam(inner, "perm").end());
      operands.push_back(inner.getOperand(0));
    }
    if (perm.empty() || op->getNumResults() != 1)
      return failure();
    NamedAttrList params(op.getParams());
    if (joins)
      params.set("axis", b.getI64IntegerAttr(perm[intParam(op, "axis")]));
    if (reduces) {
      SmallVector<int64_t> axes;
      for (int64_t axis : intsParam(op, "axes"))
        axes.push_back(perm[axis]);
      llvm::sort(axes);
      params.set("axes", b.getDenseI64ArrayAttr(axes));
    }
    for (StringRef name : {"starts", "steps", "before"})
      if (lists && hasParam(op, name)) {
        SmallVector<int64_t> values(perm.size());
        for (auto [to, from] : llvm::enumerate(perm))
          values[from] = intsParam(op, name)[to];
        params.set(name, b.getDenseI64ArrayAttr(values));
      }
    RankedTensorType type = tensorOf(op.getResult(0));
    auto moved =
        ComputeOp::create(b, op.getLoc(), TypeRange(permuted(type, inverseOf(perm))),
                          op.getKindAttr(), operands, params.getDictionary(b.getContext()));
    b.replaceOp(op, transpose(b, op.getLoc(), moved.getResult(0), perm));
    return success();
  }
};

/// An elementwise op on rows [n, d] that are seen as [a, b, …, d]: it is done on the rows.
struct SinkReshapePastMap : OfCompute {
  using OfCompute::OfCompute;
  LogicalResult matchAndRewrite(ComputeOp op, PatternRewriter &b) const override {
    if (operatorOf(op).cost != Cost::Map)
      return failure();
    RankedTensorType type = tensorOf(op.getResult(0)), rows;
    for (Value operand : op.getOperands())
      if (ComputeOp inner = definedBy(operand, "reshape");
          inner && sameShape(tensorOf(operand), type))
        if (RankedTensorType from = tensorOf(inner.getOperand(0));
            !getStored(from) && isRowsOf(from, type))
          rows = from;
    if (!rows)
      return failure();
    SmallVector<Value> operands;
    for (Value operand : op.getOperands()) {
      Value moved = asRows(b, op.getLoc(), operand, type, rows);
      if (!moved)
        return failure();
      operands.push_back(moved);
    }
    auto moved = ComputeOp::create(b, op.getLoc(),
                                   TypeRange(RankedTensorType::get(
                                       rows.getShape(), type.getElementType(), rows.getEncoding())),
                                   op.getKindAttr(), operands, op.getParams());
    b.replaceOp(op, reshape(b, op.getLoc(), moved.getResult(0), type));
    return success();
  }

private:
  static bool sameShape(RankedTensorType left, RankedTensorType right) {
    return left.getShape() == right.getShape() && getDims(left) == getDims(right);
  }
  static bool isRowsOf(RankedTensorType rows, RankedTensorType type) {
    return rows.getRank() == 2 && type.getRank() > 2 && !rows.isDynamicDim(1) &&
           rows.getDimSize(1) == type.getShape().back();
  }
  /// An operand of an op on `type` as that of the same op on `rows`; null where it is neither the
  /// same for all rows nor one of each.
  static Value asRows(PatternRewriter &b, Location loc, Value operand, RankedTensorType type,
                      RankedTensorType rows) {
    RankedTensorType own = tensorOf(operand);
    if (own.getRank() == 0)
      return operand;
    auto constant = operand.getDefiningOp<ConstantOp>();
    if (constant && isa<SplatElementsAttr>(constant.getValue())) {
      auto splat = cast<SplatElementsAttr>(constant.getValue()).getSplatValue<Attribute>();
      auto scalar = RankedTensorType::get({}, own.getElementType());
      return ConstantOp::create(b, loc, DenseElementsAttr::get(scalar, splat));
    }
    if (sameShape(own, type)) {
      if (ComputeOp inner = definedBy(operand, "reshape"))
        if (sameShape(tensorOf(inner.getOperand(0)), rows))
          return inner.getOperand(0);
      if (getStored(own))
        return {};
      return reshape(
          b, loc, operand,
          RankedTensorType::get(rows.getShape(), own.getElementType(), rows.getEncoding()));
    }
    bool sameForAll = own.hasStaticShape() &&
                      llvm::all_of(own.getShape().drop_back(), [](int64_t e) { return e == 1; });
    if (!sameForAll)
      return {};
    auto vector = RankedTensorType::get(own.getShape().take_back(), own.getElementType());
    return own.getRank() == 1 ? operand : reshape(b, loc, operand, vector);
  }
};

struct CancelTransposes : kiln::impl::CancelTransposesBase<CancelTransposes> {
  void runOnOperation() override {
    RewritePatternSet patterns(&getContext());
    patterns.add<SimplifyTranspose, SimplifyReshape, SinkPastMap, SinkPastDims, SinkReshapePastMap>(
        &getContext());
    if (failed(applyPatternsGreedily(getOperation(), std::move(patterns))))
      signalPassFailure();
  }
};

} // namespace
