// The table of operators, and what their elements are made with.
#include "ir/Graph/Operators.h"
#include "ir/Exec/ExecDialect.h"
#include "mlir/IR/Matchers.h"
#include "llvm/ADT/StringMap.h"

using namespace mlir;
using namespace kiln;
using namespace kiln::graph;

const Operator *graph::findOperator(StringRef name) {
  static const llvm::StringMap<const Operator *> *table = [] {
    auto *map = new llvm::StringMap<const Operator *>();
    for (ArrayRef<Operator> family :
         {mapOperators(), codeOperators(), viewOperators(), reduceOperators(), productOperators(),
          imageOperators(), poolOperators(), resampleOperators(), overlapOperators(),
          attentionOperators(), lookUpOperators(), scatterOperators(), orderOperators(),
          algebraOperators(), randomOperators(), recurrentOperators()})
      for (const Operator &record : family)
        (*map)[record.name] = &record;
    return map;
  }();
  return table->lookup(name);
}

const Operator &graph::operatorOf(ComputeOp op) { return *findOperator(op.getKind()); }

LogicalResult ComputeOp::verify() {
  const Operator *record = findOperator(getKind());
  if (!record)
    return emitOpError() << "there is no operator '" << getKind() << "'";
  if (getNumResults() == 0)
    return emitOpError() << "has no result";
  return record->verify ? record->verify(*this) : success();
}

FusionKind ComputeOp::getFusionKind() { return FusionKind::Array; }

AffineExpr graph::extentExpr(Operation *in, RankedTensorType type, unsigned dim) {
  MLIRContext *context = type.getContext();
  if (!type.isDynamicDim(dim))
    return getAffineConstantExpr(type.getDimSize(dim), context);
  unsigned position = llvm::count_if(type.getShape().take_front(dim), ShapedType::isDynamic);
  FlatSymbolRefAttr symbol = getDims(type).getSymbols()[position];
  while (!isa<ModuleOp, exec::KernelOp>(in))
    in = in->getParentOp();
  if (auto kernel = dyn_cast<exec::KernelOp>(in)) {
    for (auto [i, name] : llvm::enumerate(kernel.getDims().getAsRange<StringAttr>()))
      if (name == symbol.getAttr())
        return getAffineSymbolExpr(i, context);
  } else {
    for (auto [i, declared] : llvm::enumerate(getDeclaredDims(in)))
      if (declared.getSymNameAttr() == symbol.getAttr())
        return getAffineSymbolExpr(i, context);
  }
  llvm_unreachable("verifiers see to it that dims are declared");
}

Type ElementBuilder::codeType(Type element) {
  if (auto integer = dyn_cast<IntegerType>(element)) {
    unsigned bits = integer.getWidth();
    return IntegerType::get(element.getContext(), bits == 1 ? 1 : std::max(bits, 8u));
  }
  if (isa<FloatType>(element) && element.getIntOrFloatBitWidth() < 32)
    return Float32Type::get(element.getContext());
  return element;
}

Value ElementBuilder::constant(Type element, double value) {
  if (auto vector = dyn_cast<VectorType>(element)) {
    auto scalar = constant(vector.getElementType(), value).getDefiningOp<arith::ConstantOp>();
    return arith::ConstantOp::create(
        b, DenseElementsAttr::get(vector.clone(scalar.getType()), Attribute(scalar.getValue())));
  }
  Type type = codeType(element);
  if (auto floating = dyn_cast<FloatType>(type)) {
    APFloat exact(value);
    bool lossy;
    exact.convert(floating.getFloatSemantics(), APFloat::rmNearestTiesToEven, &lossy);
    return arith::ConstantOp::create(b, FloatAttr::get(type, exact));
  }
  return integer(element, int64_t(value));
}

Value ElementBuilder::integer(Type element, int64_t value) {
  Type type = codeType(element);
  if (isa<FloatType>(type))
    return constant(element, double(value));
  unsigned bits = type.isIndex() ? 64 : type.getIntOrFloatBitWidth();
  return arith::ConstantOp::create(
      b, IntegerAttr::get(type, APInt(64, uint64_t(value)).zextOrTrunc(bits)));
}

SmallVector<Value> ElementBuilder::loop(Value count, ValueRange state, Body body) {
  auto loop = scf::ForOp::create(b, index(0), count, index(1), state);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(loop.getBody());
  SmallVector<Value> next = body(loop.getInductionVar(), loop.getRegionIterArgs());
  if (!state.empty() || loop.getBody()->empty() ||
      !loop.getBody()->back().hasTrait<OpTrait::IsTerminator>()) {
    b.setInsertionPointToEnd(loop.getBody());
    scf::YieldOp::create(b, next);
  }
  return llvm::to_vector(ValueRange(loop.getResults()));
}

SmallVector<Value> ElementBuilder::loops(ValueRange counts, ValueRange state, BoxBody body) {
  SmallVector<Value> indices;
  std::function<SmallVector<Value>(ValueRange)> nest = [&](ValueRange inner) -> SmallVector<Value> {
    if (indices.size() == counts.size())
      return body(indices, inner);
    return loop(counts[indices.size()], inner, [&](Value i, ValueRange carried) {
      indices.push_back(i);
      SmallVector<Value> next = nest(carried);
      indices.pop_back();
      return next;
    });
  };
  return nest(state);
}

SmallVector<Value> ElementBuilder::either(Value condition, TypeRange types, Branch then,
                                          Branch otherwise) {
  auto choice = scf::IfOp::create(b, types, condition, /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(b);
  for (auto [block, branch] :
       {std::pair(choice.thenBlock(), then), std::pair(choice.elseBlock(), otherwise)}) {
    if (!block->empty())
      block->back().erase(); // a choice without results comes with its terminators
    b.setInsertionPointToEnd(block);
    SmallVector<Value> results = branch();
    scf::YieldOp::create(b, results);
  }
  return llvm::to_vector(ValueRange(choice.getResults()));
}

SmallVector<Value> graph::broadcastIndices(ElementBuilder &e, Value operand,
                                           RankedTensorType result, ValueRange indices) {
  RankedTensorType type = tensorOf(operand);
  unsigned skipped = result.getRank() - type.getRank();
  SmallVector<Value> places;
  DimsAttr names = getDims(type), resultNames = getDims(result);
  auto nameOf = [](DimsAttr names, RankedTensorType type, unsigned dim) {
    unsigned position = llvm::count_if(type.getShape().take_front(dim), ShapedType::isDynamic);
    return names.getSymbols()[position];
  };
  for (unsigned i = 0, rank = type.getRank(); i < rank; ++i) {
    Value index = indices[skipped + i];
    bool dynamic = type.isDynamicDim(i), resultDynamic = result.isDynamicDim(skipped + i);
    if (!dynamic && type.getDimSize(i) == 1 &&
        !(!resultDynamic && result.getDimSize(skipped + i) == 1))
      index = e.index(0);
    else if (dynamic &&
             !(resultDynamic && nameOf(names, type, i) == nameOf(resultNames, result, skipped + i)))
      index = e.min(index, e.sub(e.extent(operand, i), e.index(1)));
    places.push_back(index);
  }
  return places;
}

bool graph::mapsVectors(ComputeOp op) {
  if (!operatorOf(op).map)
    return false;
  auto isWhole = [](Value value) {
    Type element = tensorOf(value).getElementType();
    return isa<IntegerType>(element) && !element.isInteger(1);
  };
  if (!llvm::any_of(op.getOperands(), isWhole) && !isWhole(op.getResult(0)))
    return true;
  return llvm::is_contained(
      {"add", "sub", "mul", "min", "max", "cast", "identity", "relu", "quantize", "dequantize"},
      op.getKind());
}

Value graph::mapElement(ElementBuilder &e, ComputeOp op, unsigned result, ValueRange indices) {
  SmallVector<Value> elements;
  for (Value operand : op.getOperands())
    elements.push_back(
        e.read(operand, broadcastIndices(e, operand, tensorOf(op.getResult(result)), indices)));
  return operatorOf(op).map(e, op, elements);
}

Value ElementBuilder::toIndex(Value element, Type type) {
  if (type.isUnsignedInteger() || type.isInteger(1))
    return arith::IndexCastUIOp::create(b, b.getIndexType(), element);
  return arith::IndexCastOp::create(b, b.getIndexType(), element);
}

Value ElementBuilder::fromIndex(Value index, Type type) {
  if (isa<FloatType>(type)) {
    Value wide = arith::IndexCastOp::create(b, b.getI64Type(), index);
    return arith::SIToFPOp::create(b, type, wide);
  }
  return arith::IndexCastOp::create(b, codeType(type), index);
}
