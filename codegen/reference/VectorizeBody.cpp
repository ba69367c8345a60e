// The vector form of an elementwise op. Its decomposition is one linalg.generic whose body computes
// one element in scalar arithmetic; the same ops on vectors compute one element in every lane. So
// formulas stand in ir/Graph/GraphDecompositions.cpp alone.
#include "codegen/reference/VectorizeBody.h"
#include "ir/Graph/GraphDialect.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/IR/IRMapping.h"

using namespace mlir;
using namespace kiln;

/// `type` in as many lanes as `like` has.
static Type inLanesOf(Type like, Type type) {
  auto vector = dyn_cast<VectorType>(like);
  return vector ? Type(vector.clone(type)) : type;
}

static Value inLanes(ImplicitLocOpBuilder &b, Type lanes, arith::ConstantOp scalar) {
  TypedAttr value = scalar.getValue();
  if (auto vector = dyn_cast<VectorType>(inLanesOf(lanes, value.getType())))
    value = SplatElementsAttr::get(vector, Attribute(value));
  return arith::ConstantOp::create(b, value);
}

Value kiln::emitElementwise(ImplicitLocOpBuilder &b, Operation *op, ValueRange operands) {
  // Decompose a copy of the op aside, on parameters of one row each.
  Region aside;
  Block &block = aside.emplaceBlock();
  OpBuilder builder(b.getContext()); // the region has no parent to ask for it
  builder.setInsertionPointToStart(&block);
  Operation *copy = builder.clone(*op);
  auto row = RankedTensorType::get({1, 1}, b.getF32Type());
  for (OpOperand &operand : copy->getOpOperands())
    operand.set(block.addArgument(row, op->getLoc()));
  copy->getResult(0).setType(row);
  auto decomposable = dyn_cast<graph::DecomposableOpInterface>(copy);
  if (!decomposable || failed(decomposable.decompose(builder))) {
    op->emitOpError() << "has no decomposition";
    return {};
  }
  auto generics = block.getOps<linalg::GenericOp>();
  if (!llvm::hasSingleElement(generics)) {
    op->emitOpError() << "expected a decomposition into one linalg.generic";
    return {};
  }

  Type lanes = operands.front().getType();
  Block &body = (*generics.begin()).getRegion().front();
  IRMapping mapping;
  for (auto [argument, operand] : llvm::zip(body.getArguments(), operands))
    mapping.map(argument, operand);
  for (Operation &inner : body.without_terminator()) {
    if (auto constant = dyn_cast<arith::ConstantOp>(inner)) {
      mapping.map(constant.getResult(), inLanes(b, lanes, constant));
      continue;
    }
    Operation *wide = b.clone(inner, mapping);
    for (Value result : wide->getResults())
      result.setType(inLanesOf(lanes, result.getType()));
  }
  return mapping.lookup(body.getTerminator()->getOperand(0));
}
