// The ops after a product are map operators, whose records work on vectors as on numbers. Values of
// the kernel's own are vectors at hand; what it is given is loaded: of the same shape from the same
// place, along the last dim from the same column, single numbers in every lane.
#include "codegen/VectorEpilogue.h"
#include "codegen/EmitSupport.h"
#include "codegen/VectorMath.h"
#include "ir/PanelLayout.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

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

/// The same for elements of any type that vectors may have.
static std::optional<std::string> refuseLanes(RankedTensorType type) {
  Type element = type.getElementType();
  if (element.isF32())
    return refuseElements(type);
  if (!element.isSignlessInteger(32) && !element.isSignlessInteger(8) &&
      !element.isUnsignedInteger(8))
    return "an operand is neither f32 nor i32 nor of 8 bits";
  graph::StoredAttr stored = graph::getStored(type);
  if (stored && stored.getFormat() != kRawFormatName)
    return "a weight is not stored as its elements";
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
  if (!result.getElementType().isF32() && !result.getElementType().isSignlessInteger(32))
    return refuse("its result is neither f32 nor i32");
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
    if (!graph::mapsVectors(compute))
      return refuse("'" + compute.getKind() + "' is not done on vectors of integers");
    for (Value operand : compute.getOperands()) {
      if (vectors.contains(operand))
        continue;
      if (std::optional<std::string> why = refuseLanes(graph::tensorOf(operand)))
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
    if (!type.getElementType().isInteger(1) && refuseLanes(type))
      return refuse("'" + compute.getKind() + "' gives elements of another type");
    vectors.insert(compute.getResult(0));
    epilogue.ops.push_back(compute);
  }
  size_t reads = kernel.getBody().getNumArguments();
  for (auto [i, value] : llvm::enumerate(kernel.getBody().front().getTerminator()->getOperands())) {
    if (!vectors.contains(value) || refuseLanes(graph::tensorOf(value)))
      return refuse("a result is not computed from its products as numbers");
    touches(epilogue.strideOf(reads + i, value.getType()));
  }
  return epilogue;
}

// ---- Operators ----------------------------------------------------------------------------------

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

// ---- Places -------------------------------------------------------------------------------------

/// Elements from row to row of a parameter or result; 0 stands for dense rows.
int64_t VectorEpilogue::strideOf(size_t buffer, Type type) {
  int64_t stride = kernel.getRowStrides()[buffer];
  return stride ? stride : cast<RankedTensorType>(type).getShape().back();
}

int64_t VectorEpilogue::strideOfResult() {
  return strideOf(kernel.getBody().getNumArguments(),
                  kernel.getBody().front().getTerminator()->getOperand(0).getType());
}

static int64_t bytesOf(Type element) { return element.getIntOrFloatBitWidth() / 8; }

static VectorType vectorTypeOf(Type element) {
  return vectorOf(lanes, graph::ElementBuilder::codeType(element));
}

Value VectorEpilogue::address(KernelFrame &frame, Value base, int64_t stride, Type element,
                              const Place &place) {
  ImplicitLocOpBuilder &b = frame.builder();
  int64_t bytes = bytesOf(element) * stride;
  Value row = emit::address(b, base, place.row, bytes, place.rowOffset * bytes);
  return emit::address(b, row, place.column, bytesOf(element));
}

/// Which lanes are among the `left` (i64) first.
static Value maskOf(ImplicitLocOpBuilder &b, Value left) {
  SmallVector<int64_t> iota = llvm::to_vector(llvm::seq<int64_t>(0, lanes));
  Value lane = arith::ConstantOp::create(
      b, DenseElementsAttr::get(vectorOf(lanes, b.getI64Type()), ArrayRef<int64_t>(iota)));
  return arith::CmpIOp::create(b, arith::CmpIPredicate::slt, lane, broadcast(b, left, lanes));
}

/// A row's last `count` bytes in pieces of powers of two: bytes have masks on few machines.
static void forPieces(int64_t count, llvm::function_ref<void(int64_t offset, int64_t size)> body) {
  for (int64_t offset = 0, size = lanes / 2; size; size /= 2)
    if (count & size) {
      body(offset, size);
      offset += size;
    }
}

Value VectorEpilogue::loadWithin(KernelFrame &frame, Type element, Value at, Value column) {
  ImplicitLocOpBuilder &b = frame.builder();
  VectorType type = vectorTypeOf(element);
  Value left = frame.sub(i64(b, columns), column);
  if (bytesOf(element) > 1)
    return LLVM::MaskedLoadOp::create(b, type, at, maskOf(b, left), splatConstant(b, type, 0), 4);
  Value isWhole = arith::CmpIOp::create(b, arith::CmpIPredicate::sge, left, i64(b, lanes));
  auto choice = scf::IfOp::create(b, TypeRange{type}, isWhole, /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(choice.thenBlock());
  scf::YieldOp::create(b, load(b, type, at, 1));
  b.setInsertionPointToStart(choice.elseBlock());
  Value vector = splatConstant(b, type, 0);
  forPieces(columns % lanes, [&](int64_t offset, int64_t size) {
    Value piece = load(b, vectorOf(size, type.getElementType()), emit::address(b, at, offset), 1);
    vector = vector::InsertStridedSliceOp::create(b, piece, vector, ArrayRef<int64_t>{offset},
                                                  ArrayRef<int64_t>{1});
  });
  scf::YieldOp::create(b, vector);
  return choice.getResult(0);
}

void VectorEpilogue::storeWithin(KernelFrame &frame, Value vector, Value at, Value column) {
  ImplicitLocOpBuilder &b = frame.builder();
  Value left = frame.sub(i64(b, columns), column);
  if (bytesOf(cast<VectorType>(vector.getType()).getElementType()) > 1) {
    LLVM::MaskedStoreOp::create(b, vector, at, maskOf(b, left), 4);
    return;
  }
  branch(
      b, arith::CmpIOp::create(b, arith::CmpIPredicate::sge, left, i64(b, lanes)),
      [&] { store(b, vector, at, 1); },
      [&] {
        forPieces(columns % lanes, [&](int64_t offset, int64_t size) {
          Value piece = vector::ExtractStridedSliceOp::create(
              b, vector, ArrayRef<int64_t>{offset}, ArrayRef<int64_t>{size}, ArrayRef<int64_t>{1});
          store(b, piece, emit::address(b, at, offset), 1);
        });
      });
}

// ---- Code ---------------------------------------------------------------------------------------

Value VectorEpilogue::loadOperand(KernelFrame &frame, Value operand, const Place &place) {
  ImplicitLocOpBuilder &b = frame.builder();
  RankedTensorType tensor = graph::tensorOf(operand);
  Type element = tensor.getElementType();
  VectorType type = vectorTypeOf(element);
  if (auto constant = operand.getDefiningOp<graph::ConstantOp>()) {
    auto elements = cast<DenseElementsAttr>(constant.getValue());
    if (isa<FloatType>(element))
      return splatConstant(b, type, elements.getSplatValue<APFloat>().convertToDouble());
    return arith::ConstantOp::create(b,
                                     DenseElementsAttr::get(type, elements.getSplatValue<APInt>()));
  }
  unsigned number = cast<BlockArgument>(operand).getArgNumber();
  Value base = frame.buffer(number);
  switch (*spreadOf(tensor, graph::tensorOf(head.getResult(0)))) {
  case Spread::Single:
    return loadSplat(b, type.getElementType(), base, lanes);
  case Spread::Column:
    return loadColumns(frame, cast<BlockArgument>(operand), place);
  case Spread::Element: {
    Value at = address(frame, base, strideOf(number, tensor), element, place);
    return place.wholeRow ? load(b, type, at, unsigned(bytesOf(element)))
                          : loadWithin(frame, element, at, place.column);
  }
  }
  llvm_unreachable("every spread has a load");
}

Value VectorEpilogue::loadColumns(KernelFrame &frame, BlockArgument vector, const Place &place) {
  ImplicitLocOpBuilder &b = frame.builder();
  Type element = graph::tensorOf(vector).getElementType();
  Value at = emit::address(b, frame.buffer(vector.getArgNumber()), place.column, bytesOf(element));
  if (columns % lanes == 0 || isPadded(graph::tensorOf(vector)))
    return load(b, vectorTypeOf(element), at, unsigned(bytesOf(element)));
  return loadWithin(frame, element, at, place.column);
}

/// The vectors of all values.
llvm::SmallDenseMap<Value, Value>
VectorEpilogue::applyOps(KernelFrame &frame, Value vector,
                         llvm::function_ref<Value(Value operand)> loadGiven) {
  ImplicitLocOpBuilder &b = frame.builder();
  llvm::SmallDenseMap<Value, Value> vectors;
  vectors[head.getResult(0)] = vector;
  for (graph::ComputeOp op : ops) {
    SmallVector<Value> operands;
    for (Value operand : op.getOperands()) {
      Value &known = vectors[operand];
      if (!known)
        known = loadGiven(operand);
      operands.push_back(known);
    }
    Value made = emitMap(b, op, operands);
    vectors[op.getResult(0)] = made;
  }
  return vectors;
}

std::optional<VectorEpilogue::Spread> VectorEpilogue::spreadOf(Value operand) const {
  graph::ComputeOp op = head;
  if (!isa<BlockArgument>(operand))
    return std::nullopt;
  return spreadOf(graph::tensorOf(operand), graph::tensorOf(op.getResult(0)));
}

SmallVector<BlockArgument> VectorEpilogue::columnParameters() const {
  SmallVector<BlockArgument> parameters;
  for (graph::ComputeOp op : ops)
    for (Value operand : op.getOperands())
      if (spreadOf(operand) == Spread::Column)
        parameters.push_back(cast<BlockArgument>(operand));
  return parameters;
}

bool VectorEpilogue::givesCodesOfColumns() const {
  exec::KernelOp op = kernel;
  auto yield = op.getBody().front().getTerminator();
  if (yield->getNumOperands() != 1 ||
      graph::tensorOf(yield->getOperand(0)).getElementTypeBitWidth() != 8)
    return false;
  return llvm::none_of(ops, [&](graph::ComputeOp map) {
    return llvm::any_of(map.getOperands(),
                        [&](Value operand) { return spreadOf(operand) == Spread::Element; });
  });
}

Value VectorEpilogue::apply(KernelFrame &frame, Value vector,
                            llvm::function_ref<Value(BlockArgument)> columnsOf) {
  auto vectors = applyOps(frame, vector, [&](Value operand) {
    if (spreadOf(operand) == Spread::Column)
      return columnsOf(cast<BlockArgument>(operand));
    return loadOperand(frame, operand, {});
  });
  return vectors.lookup(kernel.getBody().front().getTerminator()->getOperand(0));
}

void VectorEpilogue::emit(KernelFrame &frame, Value vector, const Place &place) {
  ImplicitLocOpBuilder &b = frame.builder();
  auto vectors =
      applyOps(frame, vector, [&](Value operand) { return loadOperand(frame, operand, place); });
  size_t reads = kernel.getBody().getNumArguments();
  for (auto [i, value] : llvm::enumerate(kernel.getBody().front().getTerminator()->getOperands())) {
    Type element = graph::tensorOf(value).getElementType();
    Value at =
        address(frame, frame.writeBuffer(i), strideOf(reads + i, value.getType()), element, place);
    if (place.wholeRow)
      store(b, vectors.lookup(value), at, unsigned(bytesOf(element)));
    else
      storeWithin(frame, vectors.lookup(value), at, place.column);
  }
}
