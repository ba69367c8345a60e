#include "codegen/array/KernelElements.h"
#include "codegen/EmitSupport.h"
#include "codegen/array/NarrowFloat.h"
#include "codegen/reference/StoredElement.h"
#include "ir/Formats.h"
#include "ir/PanelLayout.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"

using namespace mlir;
using namespace kiln;
using namespace kiln::graph;

KernelElements::KernelElements(KernelFrame &frame, exec::KernelOp kernel)
    : FillBuilder(frame.builder()), frame(frame), kernel(kernel) {
  auto domain = LLVM::AliasScopeDomainAttr::get(kernel.getContext());
  writes = LLVM::AliasScopeAttr::get(domain);
}

/// Whether a weight lies in memory as its elements, row by row.
static bool isPlain(RankedTensorType type) {
  StoredAttr stored = getStored(type);
  if (!stored)
    return true;
  if (stored.getFormat() == kRawFormatName)
    return true;
  const Format *format = findFormat(stored.getFormat());
  return stored.getLayout() == kRowsLayoutName && format && format->kind == FormatKind::Float;
}

std::optional<std::string> KernelElements::refuseParameter(RankedTensorType type) {
  if (isPlain(type))
    return std::nullopt;
  return refuseStoredElement(type);
}

Value KernelElements::dim(FlatSymbolRefAttr symbol) {
  return arith::IndexCastOp::create(b, b.getIndexType(), frame.dim(symbol));
}

Value KernelElements::extentOf(RankedTensorType type, unsigned position) {
  if (!type.isDynamicDim(position))
    return index(type.getDimSize(position));
  unsigned dynamic = llvm::count_if(type.getShape().take_front(position), ShapedType::isDynamic);
  return dim(getDims(type).getSymbols()[dynamic]);
}

Value KernelElements::extent(Value tensor, unsigned position) {
  return extentOf(tensorOf(tensor), position);
}

bool KernelElements::isVisible(Value value) const {
  Block *home = value.getParentBlock();
  for (Block *block = b.getInsertionBlock(); block;) {
    if (block == home)
      return true;
    Operation *parent = block->getParentOp();
    block = parent ? parent->getBlock() : nullptr;
  }
  return false;
}

Value KernelElements::read(Value tensor, ValueRange indices) {
  std::vector<void *> places;
  for (Value index : indices) { // equal constants are one place
    APInt constant;
    auto op = index.getDefiningOp<arith::ConstantIndexOp>();
    places.push_back(op ? reinterpret_cast<void *>(op.value() * 2 + 1)
                        : index.getAsOpaquePointer());
  }
  auto key = std::pair(tensor.getAsOpaquePointer(), std::move(places));
  if (auto found = known.find(key); found != known.end() && isVisible(found->second))
    return found->second;
  Value element = build(tensor, indices);
  known[key] = element;
  return element;
}

Value KernelElements::place(int64_t stride, RankedTensorType type, ValueRange indices) {
  int64_t rank = type.getRank();
  if (rank == 0)
    return index(0);
  if (rank == 1)
    return indices[0];
  Value row = indices[0];
  for (int64_t i = 1; i + 1 < rank; ++i)
    row = add(mul(row, extentOf(type, i)), indices[i]);
  Value step = stride ? index(stride) : extentOf(type, rank - 1);
  return add(mul(row, step), indices[rank - 1]);
}

static int64_t bytesOf(Type element) {
  return llvm::divideCeil(element.getIntOrFloatBitWidth(), 8);
}

Value KernelElements::load(Value base, int64_t stride, RankedTensorType type, ValueRange indices,
                           bool written) {
  Type element = type.getElementType();
  StoredAttr stored = getStored(type);
  if (stored && !isPlain(type)) {
    SmallVector<Value> wide;
    for (Value i : indices)
      wide.push_back(arith::IndexCastOp::create(b, b.getI64Type(), i));
    return emitStoredElement(b, base, type, wide);
  }
  if (stored && stored.getFormat() == "f16")
    element = b.getF16Type();
  else if (stored && stored.getFormat() == "bf16")
    element = b.getBF16Type();
  Value offset = arith::IndexCastOp::create(b, b.getI64Type(), place(stride, type, indices));
  Type memory = element;
  if (element.isInteger(1) || (isa<IntegerType>(element) && element.getIntOrFloatBitWidth() < 8))
    memory = b.getI8Type();
  else if (isa<IntegerType>(element))
    memory = codeType(element);
  else if (isNarrowFloat(element))
    memory = b.getIntegerType(std::max(8u, element.getIntOrFloatBitWidth()));
  int64_t bytes = bytesOf(element);
  Value address = emit::address(b, base, offset, bytes);
  auto loaded = LLVM::LoadOp::create(b, memory, address, unsigned(bytes));
  if (!written && !(filler && operatorOf(filler).inPlace))
    loaded.setNoaliasScopesAttr(b.getArrayAttr({writes}));
  else
    loaded.setAliasScopesAttr(b.getArrayAttr({writes}));
  Value value = loaded;
  if (element.isInteger(1))
    return arith::CmpIOp::create(b, arith::CmpIPredicate::ne, value, integer(memory, 0));
  if (isNarrowFloat(element))
    return emitFromBits(b, value, cast<FloatType>(element));
  return value;
}

Value KernelElements::narrowToBits(Value element, FloatType type) {
  return emitToBits(b, element, type);
}
Value KernelElements::narrowFromBits(Value bits, FloatType type) {
  return emitFromBits(b, bits, type);
}

Value KernelElements::rounded(Value element, Type type) {
  if (!isNarrowFloat(type))
    return element;
  auto floating = cast<FloatType>(type);
  return emitFromBits(b, emitToBits(b, element, floating), floating);
}

Value KernelElements::build(Value tensor, ValueRange indices) {
  RankedTensorType type = tensorOf(tensor);
  if (auto argument = dyn_cast<BlockArgument>(tensor))
    return load(frame.buffer(argument.getArgNumber()),
                kernel.getRowStrides()[argument.getArgNumber()], type, indices, false);
  if (auto op = tensor.getDefiningOp<ConstantOp>()) {
    auto splat = cast<SplatElementsAttr>(op.getValue());
    if (isa<FloatType>(type.getElementType()))
      return constant(type.getElementType(), splat.getSplatValue<APFloat>().convertToDouble());
    APInt value = splat.getSplatValue<APInt>();
    return integer(type.getElementType(),
                   type.getElementType().isUnsignedInteger() || type.getElementType().isInteger(1)
                       ? int64_t(value.getZExtValue())
                       : value.getSExtValue());
  }
  auto op = tensor.getDefiningOp<ComputeOp>();
  unsigned result = cast<OpResult>(tensor).getResultNumber();
  return rounded(operatorOf(op).element(*this, op, result, indices), type.getElementType());
}

void KernelElements::store(unsigned write, Value element, ValueRange indices) {
  auto yield = cast<YieldOp>(kernel.getBody().front().getTerminator());
  RankedTensorType type = tensorOf(yield.getOperand(write));
  Type elementType = type.getElementType();
  int64_t stride = kernel.getRowStrides()[kernel.getBody().getNumArguments() + write];
  Value offset = arith::IndexCastOp::create(b, b.getI64Type(), place(stride, type, indices));
  if (elementType.isInteger(1))
    element = arith::ExtUIOp::create(b, b.getI8Type(), element);
  else if (isNarrowFloat(elementType))
    element = emitToBits(b, element, cast<FloatType>(elementType));
  int64_t bytes = bytesOf(elementType);
  auto stored = LLVM::StoreOp::create(
      b, element, emit::address(b, frame.writeBuffer(write), offset, bytes), unsigned(bytes));
  stored.setAliasScopesAttr(b.getArrayAttr({writes}));
}

/// Which of the kernel's results a result of the filling operator is, or -1.
static int findWrite(exec::KernelOp kernel, Value result) {
  auto yield = cast<YieldOp>(kernel.getBody().front().getTerminator());
  for (auto [position, value] : llvm::enumerate(yield.getValues()))
    if (value == result)
      return int(position);
  return -1;
}

void KernelElements::write(unsigned result, Value element, ValueRange indices) {
  int position = findWrite(kernel, filler.getResult(result));
  if (position >= 0)
    store(unsigned(position), element, indices);
}

Value KernelElements::readBack(unsigned result, ValueRange indices) {
  int position = findWrite(kernel, filler.getResult(result));
  assert(position >= 0 && "an operator reads a result back that nobody keeps");
  RankedTensorType type = tensorOf(filler.getResult(result));
  return load(frame.writeBuffer(unsigned(position)),
              kernel.getRowStrides()[kernel.getBody().getNumArguments() + unsigned(position)], type,
              indices, true);
}

Value KernelElements::loadScratch(Type element, Value place) {
  Value offset = arith::IndexCastOp::create(b, b.getI64Type(), place);
  auto loaded = LLVM::LoadOp::create(b, element, emit::address(b, frame.scratch(), offset, 1),
                                     unsigned(bytesOf(element)));
  loaded.setAliasScopesAttr(b.getArrayAttr({writes}));
  return loaded;
}

void KernelElements::storeScratch(Value element, Value place) {
  Value offset = arith::IndexCastOp::create(b, b.getI64Type(), place);
  auto stored = LLVM::StoreOp::create(b, element, emit::address(b, frame.scratch(), offset, 1),
                                      unsigned(bytesOf(element.getType())));
  stored.setAliasScopesAttr(b.getArrayAttr({writes}));
}
