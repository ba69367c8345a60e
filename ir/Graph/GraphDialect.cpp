// Registration of the graph dialect, its attributes and types, and their verifiers.
#include "ir/Graph/GraphDialect.h"
#include "ir/Formats.h"
#include "ir/PanelLayout.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace kiln;
using namespace kiln::graph;

#include "ir/Graph/GraphDialect.cpp.inc"
#include "ir/Graph/GraphInterfaces.cpp.inc"
#define GET_ATTRDEF_CLASSES
#include "ir/Graph/GraphAttrs.cpp.inc"
#define GET_TYPEDEF_CLASSES
#include "ir/Graph/GraphTypes.cpp.inc"

void GraphDialect::initialize() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "ir/Graph/GraphAttrs.cpp.inc"
      >();
  addTypes<
#define GET_TYPEDEF_LIST
#include "ir/Graph/GraphTypes.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "ir/Graph/GraphOps.cpp.inc"
      >();
}

LogicalResult DimsAttr::verifyEncoding(ArrayRef<int64_t> shape, Type,
                                       function_ref<InFlightDiagnostic()> emitError) const {
  size_t dynamic = llvm::count_if(shape, ShapedType::isDynamic);
  if (dynamic != getSymbols().size())
    return emitError() << "names " << getSymbols().size() << " dims where the shape has " << dynamic
                       << " dynamic ones";
  return success();
}

LogicalResult StoredAttr::verifyEncoding(ArrayRef<int64_t> shape, Type element,
                                         function_ref<InFlightDiagnostic()> emitError) const {
  if (llvm::any_of(shape, ShapedType::isDynamic))
    return emitError() << "a stored weight has a static shape";
  const Format *format = findFormat(getFormat());
  if (!format && getFormat() != kRawFormatName)
    return emitError() << "unknown weight format '" << getFormat() << "'";
  if (format && format->kind == FormatKind::Codes && !element.isSignlessInteger(8))
    return emitError() << "a weight of " << getFormat() << " has elements of i8, not " << element;
  return success();
}

LogicalResult CacheType::verify(function_ref<InFlightDiagnostic()> emitError, int64_t layers,
                                int64_t kvHeads, int64_t headDim, int64_t pageSize,
                                FlatSymbolRefAttr, Type element) {
  if (!element.isF32() && !element.isF16() && !element.isSignlessInteger(8))
    return emitError() << "a cache holds f32, f16 or i8, not " << element;
  if (layers <= 0 || kvHeads <= 0 || headDim <= 0 || pageSize <= 0)
    return emitError() << "a cache has no extent that is not positive";
  return success();
}

bool CacheType::hasScales() const { return getElementType().isInteger(8); }
int64_t CacheType::getElementBytes() const { return getElementType().getIntOrFloatBitWidth() / 8; }
int64_t CacheType::getHeadPageBytes() const {
  return getPageSize() * (getHeadDim() * getElementBytes() + (hasScales() ? 4 : 0));
}
int64_t CacheType::getLayerPageBytes() const { return 2 * getKvHeads() * getHeadPageBytes(); }

DimsAttr graph::getDims(Type type) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  return tensor ? dyn_cast_or_null<DimsAttr>(tensor.getEncoding()) : DimsAttr();
}

StoredAttr graph::getStored(Type type) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  return tensor ? dyn_cast_or_null<StoredAttr>(tensor.getEncoding()) : StoredAttr();
}

RankedTensorType graph::withShape(RankedTensorType like, ArrayRef<int64_t> shape) {
  size_t dynamic = llvm::count_if(shape, ShapedType::isDynamic);
  DimsAttr dims = getDims(like);
  Attribute encoding;
  if (dims && dynamic)
    encoding = DimsAttr::get(like.getContext(), dims.getSymbols().take_front(dynamic));
  return RankedTensorType::get(shape, like.getElementType(), encoding);
}

FlatSymbolRefAttr graph::getRowSymbol(Type type) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  DimsAttr dims = getDims(type);
  if (!tensor || !dims || tensor.getRank() == 0 || !tensor.isDynamicDim(0))
    return {};
  return dims.getSymbols().front();
}

SmallVector<DimOp> graph::getDeclaredDims(Operation *module) {
  SmallVector<DimOp> dims;
  for (Operation &op : module->getRegion(0).front())
    if (auto dim = dyn_cast<DimOp>(op))
      dims.push_back(dim);
  return dims;
}
