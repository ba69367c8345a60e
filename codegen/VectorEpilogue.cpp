// The ops after a product are map operators, whose records work on vectors as on numbers. Values of
// the kernel's own are vectors at hand; what it is given is loaded: of the same shape from the same
// place, along the last dim from the same column, single numbers in every lane.
#include "codegen/VectorEpilogue.h"
#include "codegen/EmitSupport.h"
#include "codegen/VectorMath.h"
#include "ir/PanelLayout.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"

using namespace mlir;
using namespace kiln;
using namespace kiln::emit;

static constexpr int64_t lanes = PanelLayout::kPanelRows;

// ---- What fits ----------------------------------------------------------------------------------

/// A vector as weights are stored, which is padded with zeros to whole vectors.
static bool isPadded(RankedTensorType type) {
  graph::StoredAttr stored = graph::getStored(type);
  return stored && type.getRank() == 1 && stored.getFormat() == "f32" &&
         stored.getLayout() == kRowsLayoutName;
}

std::optional<std::string> kiln::refuseElements(RankedTensorType type) {
  if (!type.getElementType().isF32())
    return "an operand is not f32";
  graph::StoredAttr stored = graph::getStored(type);
  if (stored && stored.getFormat() != kRawFormatName &&
      (stored.getFormat() != "f32" || stored.getLayout() != kRowsLayoutName))
    return "a weight is not stored as f32 numbers";
  return std::nullopt;
}

std::optional<VectorEpilogue::Spread> VectorEpilogue::spreadOf(RankedTensorType operand,
                                                               RankedTensorType result) {
  if (llvm::all_of(operand.getShape(), [](int64_t extent) { return extent == 1; }))
    return Spread::Single;
  if (operand.getShape() == result.getShape() && graph::getDims(operand) == graph::getDims(result))
    return Spread::Element;
  if (operand.getShape().back() == result.getShape().back() &&
      llvm::all_of(operand.getShape().drop_back(), [](int64_t extent) { return extent == 1; }))
    return Spread::Column;
  return std::nullopt;
}

std::optional<VectorEpilogue> VectorEpilogue::match(exec::KernelOp kernel, graph::ComputeOp head,
                                                    std::string &reason) {
  VectorEpilogue epilogue;
  epilogue.kernel = kernel;
  epilogue.head = head;
  RankedTensorType result = graph::tensorOf(head.getResult(0));
  epilogue.columns = result.getShape().back();
  auto refuse = [&](const Twine &why) {
    reason = why.str();
    return std::nullopt;
  };
  auto isF32 = [](Value value) { return graph::tensorOf(value).getElementType().isF32(); };
  if (!isF32(head.getResult(0)))
    return refuse("its result is not f32");
  auto touches = [&](int64_t stride) {
    epilogue.whole &= stride >= int64_t(llvm::alignTo(epilogue.columns, lanes));
  };
  llvm::SmallDenseSet<Value> vectors{head.getResult(0)};
  for (Operation &op : kernel.getBody().front().without_terminator()) {
    if (&op == head || isa<graph::ConstantOp>(op))
      continue;
    auto compute = dyn_cast<graph::ComputeOp>(op);
    if (!compute || !graph::operatorOf(compute).map)
      return refuse("an op around it is not elementwise");
    RankedTensorType type = graph::tensorOf(compute.getResult(0));
    if (type.getShape() != result.getShape() || graph::getDims(type) != graph::getDims(result))
      return refuse("'" + compute.getKind() + "' has another shape");
    for (Value operand : compute.getOperands()) {
      if (vectors.contains(operand))
        continue;
      if (std::optional<std::string> why = refuseElements(graph::tensorOf(operand)))
        return refuse("'" + compute.getKind() + "': " + *why);
      std::optional<Spread> spread = spreadOf(graph::tensorOf(operand), result);
      if (auto constant = operand.getDefiningOp<graph::ConstantOp>()) {
        auto elements = dyn_cast<DenseElementsAttr>(constant.getValue());
        if (!elements || !elements.isSplat())
          return refuse("'" + compute.getKind() + "' has a constant that varies");
        continue;
      }
      auto argument = dyn_cast<BlockArgument>(operand);
      if (!argument || !spread)
        return refuse("'" + compute.getKind() + "' has an operand of another shape");
      if (*spread == Spread::Element)
        touches(epilogue.strideOf(argument.getArgNumber(), argument.getType()));
    }
    if (!type.getElementType().isF32() && !type.getElementType().isInteger(1))
      return refuse("'" + compute.getKind() + "' gives something else than f32");
    vectors.insert(compute.getResult(0));
    epilogue.ops.push_back(compute);
  }
  size_t reads = kernel.getBody().getNumArguments();
  for (auto [i, value] : llvm::enumerate(kernel.getBody().front().getTerminator()->getOperands())) {
    if (!vectors.contains(value) || !isF32(value))
      return refuse("a result is not computed from its products as f32");
    touches(epilogue.strideOf(reads + i, value.getType()));
  }
  return epilogue;
}

// ---- Code ---------------------------------------------------------------------------------------

namespace {
/// Map operators ask for nothing but constants.
class LaneBuilder : public graph::ElementBuilder {
public:
  using ElementBuilder::ElementBuilder;
  Value read(Value, ValueRange) override { llvm_unreachable("elements are given"); }
  Value extent(Value, unsigned) override { llvm_unreachable("maps know no extents"); }
  Value dim(FlatSymbolRefAttr) override { llvm_unreachable("maps know no dims"); }
};
} // namespace

/// The operators that have a faster form than their records, as exact as f32 needs it.
static Value emitFast(ImplicitLocOpBuilder &b, graph::ComputeOp op, ValueRange x) {
  auto type = dyn_cast<VectorType>(x[0].getType());
  if (!type || !type.getElementType().isF32())
    return {};
  return llvm::StringSwitch<llvm::function_ref<Value()>>(op.getKind())
      .Case("tanh", [&] { return emitTanh(b, x[0]); })
      .Case("gelu", [&] { return emitGelu(b, x[0]); })
      .Case("gelu_tanh", [&] { return emitGeluTanh(b, x[0]); })
      .Default([] { return Value(); })();
}

Value kiln::emitMap(ImplicitLocOpBuilder &b, graph::ComputeOp op, ValueRange elements) {
  if (Value fast = emitFast(b, op, elements))
    return fast;
  LaneBuilder lane(b);
  return graph::operatorOf(op).map(lane, op, elements);
}

/// Elements from row to row of a parameter or result; 0 stands for dense rows.
int64_t VectorEpilogue::strideOf(size_t buffer, Type type) {
  int64_t stride = kernel.getRowStrides()[buffer];
  return stride ? stride : cast<RankedTensorType>(type).getShape().back();
}

Value VectorEpilogue::address(KernelFrame &frame, Value base, int64_t stride, const Place &place) {
  ImplicitLocOpBuilder &b = frame.builder();
  Value row = emit::address(b, base, place.row, stride * 4, place.rowOffset * stride * 4);
  return emit::address(b, row, place.column, 4);
}

Value VectorEpilogue::mask(KernelFrame &frame, const Place &place) {
  ImplicitLocOpBuilder &b = frame.builder();
  SmallVector<int64_t> iota = llvm::to_vector(llvm::seq<int64_t>(0, lanes));
  Value lane = arith::ConstantOp::create(
      b, DenseElementsAttr::get(vectorOf(lanes, b.getI64Type()), ArrayRef<int64_t>(iota)));
  Value left = broadcast(b, frame.sub(i64(b, columns), place.column), lanes);
  return arith::CmpIOp::create(b, arith::CmpIPredicate::slt, lane, left);
}

Value VectorEpilogue::loadOperand(KernelFrame &frame, Value operand, const Place &place) {
  ImplicitLocOpBuilder &b = frame.builder();
  VectorType type = vectorOf(lanes, b.getF32Type());
  if (auto constant = operand.getDefiningOp<graph::ConstantOp>())
    return splatConstant(
        b, type,
        cast<DenseElementsAttr>(constant.getValue()).getSplatValue<APFloat>().convertToDouble());
  unsigned number = cast<BlockArgument>(operand).getArgNumber();
  Value base = frame.buffer(number);
  RankedTensorType tensor = graph::tensorOf(operand);
  switch (*spreadOf(tensor, graph::tensorOf(head.getResult(0)))) {
  case Spread::Single:
    return loadSplat(b, b.getF32Type(), base, lanes);
  case Spread::Column:
    return loadColumns(frame, cast<BlockArgument>(operand), place);
  case Spread::Element: {
    Value at = address(frame, base, strideOf(number, tensor), place);
    if (place.wholeRow)
      return load(b, type, at, 4);
    return LLVM::MaskedLoadOp::create(b, type, at, mask(frame, place), splatConstant(b, type, 0),
                                      4);
  }
  }
  llvm_unreachable("every spread has a load");
}

Value VectorEpilogue::loadColumns(KernelFrame &frame, BlockArgument vector, const Place &place) {
  ImplicitLocOpBuilder &b = frame.builder();
  VectorType type = vectorOf(lanes, b.getF32Type());
  Value at = emit::address(b, frame.buffer(vector.getArgNumber()), place.column, 4);
  if (columns % lanes == 0 || isPadded(graph::tensorOf(vector)))
    return load(b, type, at, 4);
  return LLVM::MaskedLoadOp::create(b, type, at, mask(frame, place), splatConstant(b, type, 0), 4);
}

void VectorEpilogue::emit(KernelFrame &frame, Value vector, const Place &place) {
  ImplicitLocOpBuilder &b = frame.builder();
  llvm::SmallDenseMap<Value, Value> vectors;
  vectors[head.getResult(0)] = vector;
  for (graph::ComputeOp op : ops) {
    SmallVector<Value> operands;
    for (Value operand : op.getOperands()) {
      Value &known = vectors[operand];
      if (!known)
        known = loadOperand(frame, operand, place);
      operands.push_back(known);
    }
    Value made = emitMap(b, op, operands);
    vectors[op.getResult(0)] = made;
  }
  size_t reads = kernel.getBody().getNumArguments();
  for (auto [i, value] : llvm::enumerate(kernel.getBody().front().getTerminator()->getOperands())) {
    Value at = address(frame, frame.writeBuffer(i), strideOf(reads + i, value.getType()), place);
    if (place.wholeRow)
      store(b, vectors.lookup(value), at, 4);
    else
      LLVM::MaskedStoreOp::create(b, vectors.lookup(value), at, mask(frame, place), 4);
  }
}
