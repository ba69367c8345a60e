// Verifiers, folders, fusion kinds and custom syntax of the graph ops.
#include "ir/Formats.h"
#include "ir/Graph/GraphDialect.h"
#include "ir/Graph/GraphShapes.h"
#include "ir/PanelLayout.h"
#include "mlir/Interfaces/FunctionImplementation.h"

using namespace mlir;
using namespace kiln;
using namespace kiln::graph;

static ParseResult parseGraphFunc(OpAsmParser &parser, OperationState &result) {
  auto buildType = [](Builder &builder, ArrayRef<Type> arguments, ArrayRef<Type> results,
                      function_interface_impl::VariadicFlag,
                      std::string &) { return builder.getFunctionType(arguments, results); };
  return function_interface_impl::parseFunctionOp(
      parser, result, /*allowVariadic=*/false, FuncOp::getFunctionTypeAttrName(result.name),
      buildType, FuncOp::getArgAttrsAttrName(result.name),
      FuncOp::getResAttrsAttrName(result.name));
}

static void printGraphFunc(OpAsmPrinter &printer, FuncOp op) {
  function_interface_impl::printFunctionOp(printer, op, /*isVariadic=*/false,
                                           op.getFunctionTypeAttrName(), op.getArgAttrsAttrName(),
                                           op.getResAttrsAttrName());
}

#define GET_OP_CLASSES
#include "ir/Graph/GraphOps.cpp.inc"

// ---- Declarations ---------------------------------------------------------------------------

LogicalResult DimOp::verify() {
  int64_t min = getMin(), max = getMax();
  if (min < 0 || max < min)
    return emitOpError() << "bounds [" << min << ", " << max << "] are not 0 <= min <= max";
  if (std::optional<AffineMap> value = getValue()) {
    if (getComputed())
      return emitOpError() << "is derived and computed";
    if (value->getNumDims() != 0 || value->getNumResults() == 0)
      return emitOpError() << "its value is no expression of dims";
  }
  return success();
}

RankedTensorType WeightOp::getStoredType() {
  auto type = cast<RankedTensorType>(getType());
  return RankedTensorType::get(type.getShape(), type.getElementType(),
                               StoredAttr::get(getContext(), getFormat(), getLayout()));
}

LogicalResult WeightOp::verify() {
  auto type = cast<RankedTensorType>(getType());
  if (type.getEncoding())
    return emitOpError() << "the logical type carries no encoding";
  if (!findFormat(getFormat()) && getFormat() != kRawFormatName)
    return emitOpError() << "unknown weight format '" << getFormat() << "'";
  SmallVector<SmallVector<int64_t>> shapes;
  for (auto source : getSources().getAsRange<SourceAttr>()) {
    shapes.push_back(llvm::to_vector(source.getShape()));
    int64_t run = source.getInterleaved();
    if (run != 0 &&
        (run < 2 || run % 2 != 0 || shapes.back().empty() || shapes.back().front() % run != 0))
      return emitOpError() << "has a source whose rows are no whole runs of " << run;
  }
  if (shapes.empty())
    return emitOpError() << "has no source";
  for (Attribute transform : getTransforms()) {
    if (isa<TransposeAttr>(transform)) {
      for (auto &shape : shapes) {
        if (shape.size() != 2)
          return emitOpError() << "transposes a source of rank " << shape.size();
        std::swap(shape[0], shape[1]);
      }
    } else if (isa<ConcatAttr>(transform)) {
      SmallVector<int64_t> sum = shapes.front();
      if (sum.empty())
        return emitOpError() << "concatenates scalars";
      sum[0] = 0;
      for (auto &shape : shapes) {
        if (shape.size() != sum.size() ||
            ArrayRef(shape).drop_front() != ArrayRef(sum).drop_front())
          return emitOpError() << "concatenates sources whose trailing dims differ";
        sum[0] += shape[0];
      }
      shapes.assign(1, sum);
    } else if (!isa<OffsetAttr>(transform)) {
      return emitOpError() << "unknown transform " << transform;
    }
  }
  if (shapes.size() != 1 || ArrayRef(shapes.front()) != type.getShape())
    return emitOpError() << "sources and transforms do not give " << type;
  return success();
}

void FusedOp::print(OpAsmPrinter &printer) {
  printer << " (";
  llvm::interleaveComma(llvm::zip(getBody().getArguments(), getInputs()), printer, [&](auto pair) {
    printer << std::get<0>(pair) << " = " << std::get<1>(pair) << " : "
            << std::get<1>(pair).getType();
  });
  printer << ") -> (" << getResultTypes() << ") ";
  printer.printOptionalAttrDictWithKeyword((*this)->getAttrs());
  printer.printRegion(getBody(), /*printEntryBlockArgs=*/false);
}

ParseResult FusedOp::parse(OpAsmParser &parser, OperationState &result) {
  SmallVector<OpAsmParser::Argument> arguments;
  SmallVector<OpAsmParser::UnresolvedOperand> operands;
  auto parseOne = [&]() -> ParseResult {
    return failure(parser.parseArgument(arguments.emplace_back()) || parser.parseEqual() ||
                   parser.parseOperand(operands.emplace_back()) ||
                   parser.parseColonType(arguments.back().type));
  };
  SmallVector<Type> types;
  if (parser.parseCommaSeparatedList(AsmParser::Delimiter::Paren, parseOne) ||
      parser.parseArrow() || parser.parseLParen())
    return failure();
  if (failed(parser.parseOptionalRParen()) && (parser.parseTypeList(types) || parser.parseRParen()))
    return failure();
  if (parser.parseOptionalAttrDictWithKeyword(result.attributes) ||
      parser.parseRegion(*result.addRegion(), arguments))
    return failure();
  result.addTypes(types);
  for (auto [argument, operand] : llvm::zip(arguments, operands))
    if (parser.resolveOperand(operand, argument.type, result.operands))
      return failure();
  return success();
}

LogicalResult FusedOp::verify() {
  Block &block = getBody().front();
  if (!llvm::equal(block.getArgumentTypes(), getOperandTypes()))
    return emitOpError() << "block arguments differ from the operands";
  auto yield = block.empty() ? YieldOp() : dyn_cast<YieldOp>(block.back());
  if (!yield || !llvm::equal(yield.getOperandTypes(), getResultTypes()))
    return emitOpError() << "graph.yield does not give the results";
  return success();
}

// ---- Computation ----------------------------------------------------------------------------

#define KILN_FUSION_KIND(op, kind)                                                                 \
  FusionKind op::getFusionKind() { return FusionKind::kind; }
KILN_FUSION_KIND(EmbedOp, Gather)
KILN_FUSION_KIND(GatherOp, Gather)
KILN_FUSION_KIND(MatmulOp, Contraction)
KILN_FUSION_KIND(LayerNormOp, RowReduction)
KILN_FUSION_KIND(RopeOp, Rotary)
KILN_FUSION_KIND(AttentionOp, Attention)
KILN_FUSION_KIND(SliceOp, View)

static LogicalResult verifyPick(Operation *op, Type picked, Type indices, Type result) {
  return failure(
      failed(expectRank(op, "indices", indices, 1)) ||
      failed(expectIndices(op, "indices", indices)) ||
      failed(expectRank(op, "operand", picked, 2)) || failed(expectRank(op, "result", result, 2)) ||
      failed(expectSameRows(op, "result", result, indices)) ||
      failed(expectLast(op, "result", result, cast<RankedTensorType>(picked).getDimSize(1))));
}

LogicalResult EmbedOp::verify() {
  return verifyPick(*this, getTable().getType(), getIds().getType(), getResult().getType());
}

LogicalResult GatherOp::verify() {
  return verifyPick(*this, getInput().getType(), getRows().getType(), getResult().getType());
}

LogicalResult MatmulOp::verify() {
  Type input = getInput().getType(), weight = getWeight().getType(), result = getResult().getType();
  return failure(
      failed(expectRank(*this, "input", input, 2)) ||
      failed(expectRank(*this, "weight", weight, 2)) ||
      failed(expectRank(*this, "result", result, 2)) ||
      failed(expectLast(*this, "weight", weight, cast<RankedTensorType>(input).getDimSize(1))) ||
      failed(expectSameRows(*this, "result", result, input)) ||
      failed(expectLast(*this, "result", result, cast<RankedTensorType>(weight).getDimSize(0))));
}

static LogicalResult verifyNorm(Operation *op, Type input, ValueRange vectors) {
  if (failed(expectRank(op, "input", input, 2)))
    return failure();
  for (Value vector : vectors)
    if (failed(expectRank(op, "weight", vector.getType(), 1)) ||
        failed(expectLast(op, "weight", vector.getType(),
                          cast<RankedTensorType>(input).getDimSize(1))))
      return failure();
  return success();
}

LogicalResult RmsNormOp::verify() {
  auto input = cast<RankedTensorType>(getInput().getType());
  auto weight = cast<RankedTensorType>(getWeight().getType());
  if (failed(expectRank(*this, "input", input, 2)) ||
      failed(expectRank(*this, "weight", weight, 1)))
    return failure();
  if (weight.getDimSize(0) <= 0 || input.getDimSize(1) % weight.getDimSize(0))
    return emitOpError() << "weight: expected a size that divides rows of " << input.getDimSize(1)
                         << ", found " << weight;
  return success();
}

FusionKind RmsNormOp::getFusionKind() {
  auto input = cast<RankedTensorType>(getInput().getType());
  auto weight = cast<RankedTensorType>(getWeight().getType());
  return input.getDimSize(1) == weight.getDimSize(0) ? FusionKind::RowReduction
                                                     : FusionKind::HeadReduction;
}

LogicalResult LayerNormOp::verify() {
  return verifyNorm(*this, getInput().getType(), {getWeight(), getBias()});
}

LogicalResult RopeOp::verify() {
  auto input = cast<RankedTensorType>(getInput().getType());
  Type positions = getPositions().getType();
  if (failed(expectRank(*this, "input", input, 2)) ||
      failed(expectRank(*this, "positions", positions, 1)) ||
      failed(expectIndices(*this, "positions", positions)) ||
      failed(expectSameRows(*this, "positions", positions, input)))
    return failure();
  int64_t head = getHeadDim(), rotary = getRotaryDim();
  if (head <= 0 || rotary <= 0 || rotary > head || rotary % 2 || input.getDimSize(1) % head)
    return emitOpError() << "head_dim " << head << " and rotary_dim " << rotary
                         << " do not divide a row of " << input.getDimSize(1);
  if (getInvFreq() && int64_t(getInvFreq()->size()) != rotary / 2)
    return emitOpError() << "inv_freq: expected " << rotary / 2 << " values, found "
                         << getInvFreq()->size();
  return success();
}

SmallVector<double> RopeOp::getFrequencies() {
  if (getInvFreq())
    return llvm::to_vector(*getInvFreq());
  SmallVector<double> frequencies;
  for (int64_t i = 0, half = getRotaryDim() / 2; i < half; ++i)
    frequencies.push_back(std::pow(getTheta().convertToDouble(), -double(i) / double(half)));
  return frequencies;
}

double RopeOp::getFactor() { return getMagnitude() ? getMagnitude()->convertToDouble() : 1; }

LogicalResult AttentionOp::verify() {
  int64_t heads = getHeads(), kvHeads = getKvHeads(), dim = getHeadDim();
  CacheType cache = getCache().getType();
  if (heads <= 0 || kvHeads <= 0 || dim <= 0 || heads % kvHeads)
    return emitOpError() << heads << " heads do not share " << kvHeads << " kv heads";
  if (cache.getKvHeads() != kvHeads || cache.getHeadDim() != dim)
    return emitOpError() << "the cache holds other heads: " << cache;
  if (int64_t(getLayer()) < 0 || int64_t(getLayer()) >= cache.getLayers())
    return emitOpError() << "layer " << getLayer() << " of a cache of " << cache.getLayers();
  if (getWindow() && int64_t(*getWindow()) < 1)
    return emitOpError() << "window: expected at least 1, found " << *getWindow();
  if (getSoftcap() && !(getSoftcap()->convertToDouble() > 0))
    return emitOpError() << "softcap: expected more than 0";
  if (getSlopes() && int64_t(getSlopes()->size()) != heads)
    return emitOpError() << "slopes: expected " << heads << " values, found "
                         << getSlopes()->size();
  if (Value lengths = getLengths()) {
    if (getWindow() || getSlopes())
      return emitOpError() << "lengths: expected neither window nor slopes";
    auto table = cast<RankedTensorType>(getBlockTable().getType());
    if (failed(expectRank(*this, "lengths", lengths.getType(), 1)) ||
        failed(expectIndices(*this, "lengths", lengths.getType())) ||
        failed(expectSameRows(*this, "lengths", lengths.getType(), table)))
      return failure();
  }
  Type query = getQuery().getType();
  if (failed(expectRank(*this, "block_table", getBlockTable().getType(), 2)) ||
      failed(expectIndices(*this, "block_table", getBlockTable().getType())) ||
      failed(expectRank(*this, "query", query, 2)) ||
      failed(expectLast(*this, "query", query, heads * dim)))
    return failure();
  for (Value value : {getKey(), getValue()})
    if (failed(expectRank(*this, "key and value", value.getType(), 2)) ||
        failed(expectLast(*this, "key and value", value.getType(), kvHeads * dim)) ||
        failed(expectSameRows(*this, "key and value", value.getType(), query)))
      return failure();
  for (Value value : {getPositions(), getSlots()})
    if (failed(expectRank(*this, "positions and slots", value.getType(), 1)) ||
        failed(expectIndices(*this, "positions and slots", value.getType())) ||
        failed(expectSameRows(*this, "positions and slots", value.getType(), query)))
      return failure();
  return failure(failed(expectSameRows(*this, "result", getResult().getType(), query)) ||
                 failed(expectLast(*this, "result", getResult().getType(), heads * dim)));
}

LogicalResult SliceOp::verify() {
  auto input = cast<RankedTensorType>(getInput().getType());
  if (failed(expectRank(*this, "input", input, 2)) ||
      failed(expectLast(*this, "result", getResult().getType(), getSize())) ||
      failed(expectSameRows(*this, "result", getResult().getType(), input)))
    return failure();
  int64_t offset = getOffset(), size = getSize(), columns = input.getDimSize(1);
  if (offset < 0 || size <= 0 || size > columns || offset > columns - size)
    return emitOpError() << "columns " << offset << " + " << size << " lie outside " << columns;
  return success();
}

OpFoldResult SliceOp::fold(FoldAdaptor adaptor) {
  if (getInput().getType() == getResult().getType())
    return getInput();
  auto result = cast<RankedTensorType>(getResult().getType());
  if (auto input = dyn_cast_or_null<DenseElementsAttr>(adaptor.getInput());
      input && result.hasStaticShape()) {
    auto values = llvm::to_vector(input.getValues<Attribute>());
    int64_t columns = input.getType().getShape()[1], size = getSize(), offset = getOffset();
    SmallVector<Attribute> picked;
    for (int64_t row = 0; row < result.getDimSize(0); ++row)
      llvm::append_range(picked, ArrayRef(values).slice(row * columns + offset, size));
    return DenseElementsAttr::get(result, picked);
  }
  // A slice of a slice is one slice.
  if (auto inner = getInput().getDefiningOp<SliceOp>()) {
    setOffset(getOffset() + inner.getOffset());
    getInputMutable().assign(inner.getInput());
    return getResult();
  }
  return {};
}

OpFoldResult ConstantOp::fold(FoldAdaptor) { return getValueAttr(); }

// ---- Elementwise ----------------------------------------------------------------------------

static LogicalResult verifyBinary(Operation *op) {
  auto lhs = cast<RankedTensorType>(op->getOperand(0).getType());
  auto rhs = cast<RankedTensorType>(op->getOperand(1).getType());
  if (lhs.getElementType() != rhs.getElementType())
    return op->emitOpError() << "operands differ in element type: " << lhs << " and " << rhs;
  if (rhs.getRank() == 1 && lhs.getRank() == 2)
    return expectLast(op, "broadcast operand", rhs, lhs.getDimSize(1));
  if (lhs.getShape() != rhs.getShape() || getDims(lhs) != getDims(rhs))
    return op->emitOpError() << "operands differ: " << lhs << " and " << rhs;
  return success();
}

/// Folds an elementwise op on constants. Both operands have the same static shape or the right one
/// is broadcast over rows.
static OpFoldResult foldElementwise(Operation *op, ArrayRef<Attribute> operands,
                                    function_ref<double(double, double)> compute) {
  auto lhs = dyn_cast_or_null<DenseElementsAttr>(operands[0]);
  auto rhs = operands.size() > 1 ? dyn_cast_or_null<DenseElementsAttr>(operands[1]) : lhs;
  auto type = cast<RankedTensorType>(op->getResult(0).getType());
  if (!lhs || !rhs || !type.hasStaticShape() || !type.getElementType().isF32())
    return {};
  auto left = llvm::to_vector(lhs.getValues<float>()),
       right = llvm::to_vector(rhs.getValues<float>());
  if (right.empty())
    return {};
  SmallVector<float> values;
  for (size_t i = 0; i < left.size(); ++i)
    values.push_back(float(compute(left[i], right[i % right.size()])));
  return DenseElementsAttr::get(type, ArrayRef<float>(values));
}

#define KILN_ELEMENTWISE(Op, expression)                                                           \
  KILN_FUSION_KIND(Op, Elementwise)                                                                \
  OpFoldResult Op::fold(FoldAdaptor adaptor) {                                                     \
    return foldElementwise(*this, adaptor.getOperands(),                                           \
                           [](double a, double b) -> double { return expression; });               \
  }
#define KILN_BINARY(Op, expression)                                                                \
  KILN_ELEMENTWISE(Op, expression)                                                                 \
  LogicalResult Op::verify() { return verifyBinary(*this); }
KILN_BINARY(AddOp, a + b)
KILN_BINARY(SubOp, a - b)
KILN_BINARY(MulOp, a *b)
KILN_BINARY(DivOp, a / b)
KILN_ELEMENTWISE(NegOp, -a)
KILN_ELEMENTWISE(ExpOp, std::exp(a))
KILN_ELEMENTWISE(TanhOp, std::tanh(a))
KILN_ELEMENTWISE(SigmoidOp, 1 / (1 + std::exp(-a)))
KILN_ELEMENTWISE(SiluOp, a / (1 + std::exp(-a)))
KILN_ELEMENTWISE(ReluOp, a > 0 ? a : 0)
KILN_ELEMENTWISE(GeluOp, a / 2 * (1 + std::erf(a / std::sqrt(2.0))))
KILN_ELEMENTWISE(GeluTanhOp,
                 a / 2 * (1 + std::tanh(std::sqrt(2 / M_PI) * (a + 0.044715 * a * a * a))))

/// Unary ops with a number beside the operand.
#define KILN_FACTOR(Op, getNumber, expression)                                                     \
  KILN_FUSION_KIND(Op, Elementwise)                                                                \
  OpFoldResult Op::fold(FoldAdaptor adaptor) {                                                     \
    double b = getNumber().convertToDouble();                                                      \
    return foldElementwise(*this, adaptor.getOperands(),                                           \
                           [b](double a, double) -> double { return expression; });                \
  }
KILN_FACTOR(ScaleOp, getFactor, a *b)
KILN_FACTOR(SoftcapOp, getLimit, b *std::tanh(a / b))

// ---- Control flow -----------------------------------------------------------------------------

static LogicalResult verifyYield(Operation *op, Region &region, TypeRange results) {
  Block &block = region.front();
  auto yield = block.empty() ? YieldOp() : dyn_cast<YieldOp>(block.back());
  if (!yield || !llvm::equal(yield.getOperandTypes(), results))
    return op->emitOpError() << "graph.yield does not give the results";
  return success();
}

static LogicalResult verifyFlag(Operation *op, Type type) {
  auto tensor = cast<RankedTensorType>(type);
  if (tensor.getRank() != 0 || !tensor.getElementType().isInteger(1))
    return op->emitOpError() << "condition: expected a scalar of i1, found " << type;
  return success();
}

LogicalResult IfOp::verify() {
  if (getThen().front().getNumArguments() || getOtherwise().front().getNumArguments())
    return emitOpError() << "its regions take no arguments";
  return failure(failed(verifyFlag(*this, getCondition().getType())) ||
                 failed(verifyYield(*this, getThen(), getResultTypes())) ||
                 failed(verifyYield(*this, getOtherwise(), getResultTypes())));
}

LogicalResult LoopOp::verify() {
  if (getInits().empty())
    return emitOpError() << "carries no condition";
  if (!llvm::equal(getInits().getTypes(), getResultTypes()) ||
      !llvm::equal(getBody().front().getArgumentTypes(), getResultTypes()))
    return emitOpError() << "carried values differ in type from the results";
  return failure(failed(verifyFlag(*this, getInits().front().getType())) ||
                 failed(verifyYield(*this, getBody(), getResultTypes())));
}
