// Verifiers of the exec ops.
#include "ir/Exec/ExecDialect.h"

using namespace mlir;
using namespace kiln;
using namespace kiln::exec;

#define GET_OP_CLASSES
#include "ir/Exec/ExecOps.cpp.inc"

/// The terminator of a region's block, null where there is none: an op is verified before its body.
static graph::YieldOp getYield(Region &body) {
  Block &block = body.front();
  return block.empty() ? graph::YieldOp() : dyn_cast<graph::YieldOp>(block.back());
}

LogicalResult FuncOp::verify() {
  size_t count = getDims().size();
  for (auto dim : getDims().getAsRange<DimBoundsAttr>())
    if (dim.getMin() < 0 || dim.getMax() < dim.getMin())
      return emitOpError() << "dim " << dim.getName() << ": bounds are not 0 <= min <= max";
  for (auto buffer : getBody().getOps<BufferOp>()) {
    AffineMap bytes = buffer.getBytes(), offset = buffer.getOffset().value_or(bytes);
    if (bytes.getNumDims() != 0 || bytes.getNumSymbols() != count || bytes.getNumResults() != 1)
      return buffer.emitOpError() << "expected one expression of " << count << " dims, found "
                                  << AffineMapAttr::get(bytes);
    if (offset.getNumDims() != 0 || offset.getNumSymbols() != count || offset.getNumResults() == 0)
      return buffer.emitOpError() << "expected an offset of " << count << " dims, found "
                                  << AffineMapAttr::get(offset);
  }
  return success();
}

LogicalResult LaunchOp::verify() {
  size_t caches =
      llvm::count_if(getReads().getTypes(), [](Type type) { return isa<graph::CacheType>(type); });
  if (getLayers().size() != caches)
    return emitOpError() << "expected a layer for each of " << caches << " caches, found "
                         << getLayers().size();
  size_t cache = 0;
  for (Type type : getReads().getTypes())
    if (auto cacheType = dyn_cast<graph::CacheType>(type))
      if (int64_t layer = getLayers()[cache++]; layer < 0 || layer >= cacheType.getLayers())
        return emitOpError() << "layer " << layer << " of a cache of " << cacheType.getLayers();
  auto kernel = SymbolTable::lookupNearestSymbolFrom<KernelOp>(*this, getKernelAttr());
  auto yield = kernel ? getYield(kernel.getBody()) : graph::YieldOp();
  if (!yield)
    return success(); // the kernel may be in a module of its own, or is not valid itself
  if (kernel.getBody().getNumArguments() != getReads().size() ||
      yield.getNumOperands() != getWrites().size())
    return emitOpError() << "binds " << getReads().size() << " + " << getWrites().size()
                         << " buffers; the kernel takes " << kernel.getBody().getNumArguments()
                         << " + " << yield.getNumOperands();
  for (auto [bound, taken] :
       llvm::zip(getOperandTypes(),
                 llvm::concat<Value>(kernel.getBody().getArguments(), yield.getOperands())))
    if (bound != taken.getType())
      return emitOpError() << "binds " << bound << " where the kernel takes " << taken.getType();
  return success();
}

LogicalResult KernelOp::verify() {
  auto yield = getYield(getBody());
  if (!yield)
    return emitOpError() << "ends without graph.yield";
  size_t count = getBody().getNumArguments() + yield.getNumOperands();
  if (getRowStrides().size() != count)
    return emitOpError() << "expected " << count << " row strides, found "
                         << getRowStrides().size();
  return success();
}

LogicalResult TileLoopOp::verify() {
  ArrayRef<int64_t> tiles = getTiles();
  if (tiles.empty() || tiles.back() != 1)
    return emitOpError() << "the smallest tile must be 1";
  for (size_t i = 1; i < tiles.size(); ++i)
    if (tiles[i] >= tiles[i - 1])
      return emitOpError() << "tiles must descend";
  if (getBody().getNumArguments() != 1 || !getBody().getArgument(0).getType().isIndex())
    return emitOpError() << "expected one index block argument";
  return success();
}

LogicalResult TileDotOp::verify() {
  if (getPanels().size() != getResults().size())
    return emitOpError() << "expected a result for each of " << getPanels().size()
                         << " panels, found " << getResults().size();
  return success();
}
