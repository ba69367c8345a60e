// The table of operators, and what their elements are made with.
#include "ir/Graph/Operators.h"
#include "mlir/IR/Matchers.h"
#include "llvm/ADT/StringMap.h"

using namespace mlir;
using namespace kiln;
using namespace kiln::graph;

const Operator *graph::findOperator(StringRef name) {
  static const llvm::StringMap<const Operator *> *table = [] {
    auto *map = new llvm::StringMap<const Operator *>();
    for (ArrayRef<Operator> family :
         {mapOperators(), viewOperators(), reduceOperators(), productOperators(), imageOperators(),
          lookUpOperators(), orderOperators(), recurrentOperators()})
      for (const Operator &record : family)
        (*map)[record.name] = &record;
    return map;
  }();
  return table->lookup(name);
}

const Operator &graph::operatorOf(ComputeOp op) { return *findOperator(op.getOperation()); }

LogicalResult ComputeOp::verify() {
  const Operator *record = findOperator(getOperation());
  if (!record)
    return emitOpError() << "there is no operator '" << getOperation() << "'";
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
  while (in && !isa<ModuleOp>(in))
    in = in->getParentOp();
  if (in)
    for (auto [i, declared] : llvm::enumerate(getDeclaredDims(in)))
      if (declared.getSymNameAttr() == symbol.getAttr())
        return getAffineSymbolExpr(i, context);
  return {};
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
