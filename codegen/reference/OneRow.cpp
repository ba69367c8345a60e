// A kernel's values one row at a time. Every op but attention computes row i of its result from row
// i of its row operands and from whole weights (FusableOpInterface), and a gather's row i is row
// rows[i] of its input: so any row of any value can be built by asking its operands for theirs.
// Each op is cloned for one row and replaced by its decomposition; a weight stays a
// `graph.dequantize` of a cast pointer, which LowerReference.cpp turns into scalar loads.
#include "codegen/reference/OneRow.h"
#include "codegen/EmitSupport.h"
#include "codegen/reference/StoredElement.h"
#include "mlir/Conversion/LLVMCommon/MemRefBuilder.h"
#include "mlir/Conversion/LLVMCommon/TypeConverter.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace kiln;

static RankedTensorType tensorType(Value value) { return cast<RankedTensorType>(value.getType()); }

/// The type of one row, without encoding.
static RankedTensorType oneRowOf(RankedTensorType type) {
  SmallVector<int64_t> shape(type.getShape());
  shape[0] = 1;
  return RankedTensorType::get(shape, type.getElementType());
}

/// Whether an op needs all of an operand for each of its rows.
static bool needsWhole(OpOperand &operand) {
  RankedTensorType type = tensorType(operand.get());
  if (graph::getStored(type) || (type.getRank() == 1 && type.getElementType().isF32()))
    return true;
  return isa<graph::MatmulOp, graph::EmbedOp>(operand.getOwner()) &&
         operand.getOperandNumber() == 1;
}

std::optional<std::string> OneRow::refuse(exec::KernelOp kernel) {
  for (BlockArgument argument : kernel.getBody().getArguments())
    if (graph::getStored(argument.getType()))
      if (auto reason = refuseStoredElement(tensorType(argument)))
        return reason;
  for (Operation &op : kernel.getBody().front()) {
    if (isa<graph::YieldOp, graph::ConstantOp, graph::WorkspaceOp>(op))
      continue;
    if (!isa<graph::DecomposableOpInterface>(op))
      return (op.getName().getStringRef() + " has no decomposition").str();
    for (OpOperand &operand : op.getOpOperands())
      if (isa<RankedTensorType>(operand.get().getType()) && needsWhole(operand) &&
          !tensorType(operand.get()).hasStaticShape())
        return (op.getName().getStringRef() + " reads all of a value with dynamic rows").str();
  }
  return std::nullopt;
}

Value kiln::emitMemref(ImplicitLocOpBuilder &b, MemRefType type, Value pointer) {
  LLVMTypeConverter converter(b.getContext());
  Value descriptor = MemRefDescriptor::fromStaticShape(b, b.getLoc(), converter, type, pointer);
  return UnrealizedConversionCastOp::create(b, TypeRange{type}, ValueRange{descriptor})
      .getResult(0);
}

Value OneRow::memrefRow(Value base, Type type, int64_t stride, Value row) {
  RankedTensorType one = oneRowOf(cast<RankedTensorType>(type));
  int64_t columns = one.getRank() == 1 ? 1 : one.getDimSize(1);
  if (stride == 0)
    stride = columns;
  int64_t bytes = one.getElementType().getIntOrFloatBitWidth() / 8;
  return emitMemref(frame.builder(), MemRefType::get(one.getShape(), one.getElementType()),
                    emit::address(frame.builder(), base, row, stride * bytes));
}

Value OneRow::resultRow(unsigned result, Value row) {
  auto yield = cast<graph::YieldOp>(kernel.getBody().front().getTerminator());
  unsigned position = kernel.getBody().getNumArguments() + result;
  return memrefRow(frame.buffer(position), yield.getOperand(result).getType(),
                   kernel.getRowStrides()[position], row);
}

FailureOr<Value> OneRow::whole(Value value) {
  if (Value known = wholes.lookup(value))
    return known;
  ImplicitLocOpBuilder &b = frame.builder();
  RankedTensorType type = tensorType(value);
  auto plain = RankedTensorType::get(type.getShape(), type.getElementType());
  Value result;
  if (auto argument = dyn_cast<BlockArgument>(value)) {
    Value base = frame.buffer(argument.getArgNumber());
    if (graph::getStored(type)) {
      result =
          UnrealizedConversionCastOp::create(b, TypeRange{type}, ValueRange{base}).getResult(0);
    } else {
      MemRefLayoutAttrInterface layout;
      int64_t stride = kernel.getRowStrides()[argument.getArgNumber()];
      if (type.getRank() == 2 && stride > type.getDimSize(1))
        layout = StridedLayoutAttr::get(b.getContext(), 0, {stride, 1});
      auto memref = MemRefType::get(type.getShape(), type.getElementType(), layout);
      result = bufferization::ToTensorOp::create(b, plain, emitMemref(b, memref, base),
                                                 /*restrict=*/true);
    }
  } else if (auto constant = value.getDefiningOp<graph::ConstantOp>()) {
    auto dense = dyn_cast<DenseElementsAttr>(constant.getValue());
    if (!dense)
      return constant.emitOpError() << "expected dense values";
    result = arith::ConstantOp::create(b, dense.reshape(plain));
  } else {
    FailureOr<Value> computed = compute(value.getDefiningOp(), plain, /*row=*/{});
    if (failed(computed))
      return failure();
    result = *computed;
  }
  return wholes[value] = result;
}

/// An op on one row (or, without `row`, on whole operands) as its decomposition.
FailureOr<Value> OneRow::compute(Operation *op, RankedTensorType type, Value row) {
  ImplicitLocOpBuilder &b = frame.builder();
  SmallVector<Value> operands;
  for (OpOperand &operand : op->getOpOperands()) {
    FailureOr<Value> value =
        !row || needsWhole(operand) ? whole(operand.get()) : this->row(operand.get(), row);
    if (failed(value))
      return failure();
    operands.push_back(*value);
  }
  Operation *clone = b.clone(*op);
  clone->setOperands(operands);
  clone->getResult(0).setType(type);
  auto decomposable = dyn_cast<graph::DecomposableOpInterface>(clone);
  FailureOr<SmallVector<Value>> values = failure();
  if (decomposable)
    values = decomposable.decompose(b);
  clone->erase();
  if (failed(values))
    return op->emitOpError() << "has no decomposition on one row";
  return values->front();
}

FailureOr<Value> OneRow::index(Value indices, Value row) {
  FailureOr<Value> one = this->row(indices, row);
  if (failed(one))
    return failure();
  ImplicitLocOpBuilder &b = frame.builder();
  Value zero = arith::ConstantIndexOp::create(b, 0);
  Value element = tensor::ExtractOp::create(b, *one, ValueRange{zero});
  if (element.getType().getIntOrFloatBitWidth() < 64)
    element = arith::ExtSIOp::create(b, b.getI64Type(), element);
  return element;
}

FailureOr<Value> OneRow::row(Value value, Value row) {
  if (Value known = rows.lookup({value, row}))
    return known;
  FailureOr<Value> result = build(value, row);
  if (succeeded(result))
    rows[{value, row}] = *result;
  return result;
}

/// Row `row` of a tensor, element by element: a slice at an address known only at run time would
/// need affine arithmetic in the lowering.
static Value copyRow(ImplicitLocOpBuilder &b, Value tensor, RankedTensorType one, Value row) {
  Value first = arith::IndexCastOp::create(b, b.getIndexType(), row);
  Value empty = tensor::EmptyOp::create(b, one, ValueRange{});
  unsigned rank = one.getRank();
  SmallVector<utils::IteratorType> iterators(rank, utils::IteratorType::parallel);
  return linalg::GenericOp::create(b, one, ValueRange{}, empty,
                                   ArrayRef<AffineMap>{b.getMultiDimIdentityMap(rank)}, iterators,
                                   [&](OpBuilder &inner, Location loc, ValueRange) {
                                     SmallVector<Value> place{first};
                                     if (rank == 2)
                                       place.push_back(linalg::IndexOp::create(inner, loc, 1));
                                     Value element =
                                         tensor::ExtractOp::create(inner, loc, tensor, place);
                                     linalg::YieldOp::create(inner, loc, element);
                                   })
      .getResult(0);
}

FailureOr<Value> OneRow::build(Value value, Value row) {
  ImplicitLocOpBuilder &b = frame.builder();
  RankedTensorType type = tensorType(value), one = oneRowOf(type);
  if (auto argument = dyn_cast<BlockArgument>(value)) {
    unsigned position = argument.getArgNumber();
    Value memref = memrefRow(frame.buffer(position), type, kernel.getRowStrides()[position], row);
    return bufferization::ToTensorOp::create(b, one, memref, /*restrict=*/true).getResult();
  }
  Operation *op = value.getDefiningOp();
  if (isa<graph::ConstantOp>(op)) {
    FailureOr<Value> all = whole(value);
    if (failed(all))
      return failure();
    return copyRow(b, *all, one, row);
  }
  if (auto gather = dyn_cast<graph::GatherOp>(op)) {
    FailureOr<Value> picked = index(gather.getRows(), row);
    if (failed(picked))
      return failure();
    return this->row(gather.getInput(), *picked);
  }
  return compute(op, one, row);
}
