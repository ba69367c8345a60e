// Turns a graph function of fused regions into a schedule of launches:
//
//   %q = graph.fused (%a = %x …) {…}   =>   exec.kernel @rms_norm_matmul_64x128 … {…}
//                                           %q = exec.buffer …
//                                           exec.launch @rms_norm_matmul_64x128(%x, …) -> (%q)
//
// Regions whose bodies are equal share a kernel: weights are parameters, and an attention's layer
// moves from the body to the launch, so that the number of kernels does not grow with depth.
// Buffers of the arena pad rows to 16 elements (64 bytes of f32); inputs and outputs are the
// caller's and dense.
#include "ir/Graph/Operators.h"
#include "passes/FlattenControlFlow.h"
#include "passes/Passes.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/SetVector.h"
#include "llvm/ADT/StringExtras.h"

namespace kiln {
#define GEN_PASS_DEF_FORMKERNELS
#include "passes/Passes.h.inc"
} // namespace kiln

using namespace mlir;
using namespace kiln;
using graph::CacheType;

static constexpr int64_t kRowMultiple = 16;

/// Elements of one row, which is the last dim, where their number is fixed; else 0. A vector's rows
/// are its elements.
static int64_t getRowElements(RankedTensorType type) {
  if (type.getRank() < 2)
    return 1;
  return type.isDynamicDim(type.getRank() - 1) ? 0 : type.getShape().back();
}

/// Bytes of an activation whose rows are `stride` elements apart (0: dense), as a map over the
/// dims.
static FailureOr<AffineMap> getBytes(Operation *op, RankedTensorType type, int64_t stride,
                                     ArrayRef<graph::DimOp> dims) {
  MLIRContext *context = op->getContext();
  int64_t elementBytes = llvm::divideCeil(type.getElementTypeBitWidth(), 8);
  graph::DimsAttr names = graph::getDims(type);
  AffineExpr bytes = getAffineConstantExpr(elementBytes, context);
  int64_t fixed = elementBytes; // what is fixed, whatever the dims
  unsigned dynamic = 0;
  for (auto [position, extent] : llvm::enumerate(type.getShape())) {
    bool isRow = type.getRank() > 1 && position + 1 == size_t(type.getRank());
    if (ShapedType::isDynamic(extent)) {
      if (!names || dynamic >= names.getSymbols().size())
        return op->emitOpError() << "a dynamic dim without a name: " << type;
      FlatSymbolRefAttr symbol = names.getSymbols()[dynamic++];
      const auto *dim = llvm::find_if(
          dims, [&](graph::DimOp dim) { return dim.getSymNameAttr() == symbol.getAttr(); });
      if (dim == dims.end())
        return op->emitOpError() << "dim " << symbol << " is not declared";
      bytes = bytes * getAffineSymbolExpr(dim - dims.begin(), context);
      continue;
    }
    int64_t factor = isRow && stride ? stride : extent;
    if (llvm::MulOverflow(fixed, factor, fixed) || fixed > (int64_t(1) << 48))
      return op->emitOpError() << type << " is too large";
    bytes = bytes * factor;
  }
  return AffineMap::get(0, dims.size(), bytes, context);
}

// ---- Kernels ----------------------------------------------------------------------------------

namespace {

/// The kernels of a module, by content.
class KernelTable {
public:
  KernelTable(ModuleOp module) : symbols(module), builder(module.getContext()) {
    builder.setInsertionPointToEnd(module.getBody());
  }

  /// The symbol of the kernel that does what `kernel` does: itself, now in the module, or an equal
  /// one, and `kernel` is erased. Equal kernels have equal descriptions, which become their names.
  FlatSymbolRefAttr add(exec::KernelOp kernel, StringRef description) {
    SmallVector<exec::KernelOp> &alike = byDescription[description];
    for (exec::KernelOp other : alike) {
      kernel.setSymNameAttr(other.getSymNameAttr());
      if (OperationEquivalence::isEquivalentTo(kernel, other,
                                               OperationEquivalence::IgnoreLocations)) {
        kernel->erase();
        return FlatSymbolRefAttr::get(other.getSymNameAttr());
      }
    }
    std::string unique = description.str();
    for (int count = 2; symbols.lookup(unique); ++count)
      unique = (description + "_" + Twine(count)).str();
    kernel.setSymName(unique);
    builder.insert(kernel);
    symbols.insert(kernel);
    alike.push_back(kernel);
    return FlatSymbolRefAttr::get(kernel.getSymNameAttr());
  }

private:
  SymbolTable symbols;
  OpBuilder builder;
  llvm::StringMap<SmallVector<exec::KernelOp>> byDescription;
};

/// A function as it is rewritten.
class ScheduleBuilder : public ScheduleTarget {
public:
  ScheduleBuilder(graph::FuncOp func, KernelTable &kernels)
      : ScheduleTarget(func), func(func), kernels(kernels) {}
  LogicalResult run();
  LogicalResult addRegion(graph::FusedOp fused) override {
    return success(addView(fused) || succeeded(addLaunch(fused)));
  }
  FailureOr<Value> addBuffer(Operation *op, Value value) override {
    return addBuffer(op, value, getRowElements(cast<RankedTensorType>(value.getType())));
  }

private:
  LogicalResult declareInputs();
  LogicalResult declareOutputs();
  LogicalResult addLaunch(graph::FusedOp fused);
  bool addView(graph::FusedOp fused);
  FailureOr<Value> addBuffer(Operation *op, Value value, int64_t stride);
  FailureOr<Value> getWrite(graph::FusedOp fused, Value result);
  FailureOr<int64_t> getRowStride(Operation *op, Value value);
  LogicalResult addWorkspace(graph::FusedOp fused, graph::AttentionOp attention,
                             SmallVectorImpl<Value> &writes, SmallVectorImpl<int64_t> &strides);

  graph::FuncOp func;
  KernelTable &kernels;
  llvm::DenseMap<StringAttr, Value> weights; // declared weights
};

} // namespace

/// Distinct op names in order of appearance and the extents of the head:
/// rms_norm_matmul_64x128 (depth x columns), slice_rope_attention_8x64 (heads x head_dim).
static std::string describeKernel(Block &body) {
  llvm::SetVector<StringRef> names;
  std::string extents;
  for (Operation &op : body.without_terminator()) {
    if (isa<graph::ConstantOp>(op))
      continue;
    auto compute = dyn_cast<graph::ComputeOp>(op);
    names.insert(compute ? compute.getKind() : op.getName().stripDialect());
    if (auto matmul = dyn_cast<graph::MatmulOp>(op)) {
      ArrayRef<int64_t> weight = cast<RankedTensorType>(matmul.getWeight().getType()).getShape();
      extents = (Twine(weight[1]) + "x" + Twine(weight[0])).str();
    } else if (auto attention = dyn_cast<graph::AttentionOp>(op)) {
      extents = (Twine(attention.getHeads()) + "x" + Twine(attention.getHeadDim())).str();
    }
  }
  Operation *terminator = body.getTerminator();
  if (extents.empty() && terminator->getNumOperands()) {
    auto type = cast<RankedTensorType>(terminator->getOperand(0).getType());
    SmallVector<std::string> parts;
    for (int64_t extent : type.getShape().drop_front(type.getRank() ? 1 : 0))
      parts.push_back(ShapedType::isDynamic(extent) ? "n" : std::to_string(extent));
    extents = llvm::join(parts, "x");
  }
  std::string name;
  for (StringRef part : names) { // of a long kernel the first and the last
    if (name.size() < 40 || part == names.back())
      name += (name.empty() ? "" : "_") + part.str();
  }
  return extents.empty() ? name : name + "_" + extents;
}

/// The region's inputs in the order in which the body first uses them.
static SmallVector<BlockArgument> getUsedArguments(Block &body) {
  llvm::SetVector<BlockArgument> used;
  for (Operation &op : body)
    for (Value operand : op.getOperands())
      if (auto argument = dyn_cast<BlockArgument>(operand))
        used.insert(argument);
  return used.takeVector();
}

// ---- Schedules --------------------------------------------------------------------------------

LogicalResult ScheduleBuilder::declareInputs() {
  for (auto [i, argument] : llvm::enumerate(func.getArguments())) {
    auto name = func.getArgAttrOfType<StringAttr>(i, "graph.name");
    if (!name)
      return func.emitOpError() << "argument " << i << " has no graph.name";
    Value buffer;
    if (isa<CacheType>(argument.getType()))
      buffer = exec::StateOp::create(builder, argument.getLoc(), argument.getType(), name);
    else
      buffer = exec::InputOp::create(builder, argument.getLoc(), argument.getType(), name,
                                     func.getArgAttrOfType<AffineMapAttr>(i, "graph.index_limit"));
    values.map(argument, buffer);
  }
  return success();
}

LogicalResult ScheduleBuilder::declareOutputs() {
  Operation *terminator = func.getBody().front().getTerminator();
  for (auto [i, value] : llvm::enumerate(terminator->getOperands())) {
    if (!isa_and_nonnull<graph::FusedOp, graph::IfOp, graph::LoopOp>(value.getDefiningOp()))
      return terminator->emitOpError() << "result " << i << " is not computed by a region";
    if (values.contains(value))
      return terminator->emitOpError() << "result " << i << " is returned twice";
    auto name = func.getResultAttrOfType<StringAttr>(i, "graph.name");
    std::string text = name ? name.str() : "output" + std::to_string(i);
    values.map(value, exec::OutputOp::create(builder, value.getLoc(), value.getType(), text));
  }
  return success();
}

/// Elements from row to row of an activation: full vectors, and never a multiple of 2 KB, at which
/// the rows of a tile of results would meet in a few sets of the first-level cache.
static int64_t getPaddedStride(int64_t columns) {
  constexpr int64_t conflicting = 512; // f32
  int64_t stride = int64_t(llvm::alignTo(columns, kRowMultiple));
  return stride % conflicting ? stride : stride + kRowMultiple;
}

/// The stride of rows of a region's result. Rows of arrays are dense, but where they would meet in
/// a few sets of the cache, and whoever sees them in another shape does not mind.
static int64_t chooseStride(graph::FusedOp fused, Value result) {
  auto type = cast<RankedTensorType>(result.getType());
  int64_t columns = getRowElements(type);
  if (type.getRank() < 2 || columns == 0)
    return columns;
  auto isArray = [](Operation *op) {
    auto region = dyn_cast<graph::FusedOp>(op);
    return region && !region.getBody().getOps<graph::ComputeOp>().empty();
  };
  bool array = isArray(fused) || llvm::any_of(result.getUsers(), isArray);
  if (!array)
    return getPaddedStride(columns);
  bool isSeenAnew = llvm::any_of(result.getUsers(), [&](Operation *user) {
    auto region = dyn_cast<graph::FusedOp>(user);
    graph::ComputeOp reshape = region ? getReshape(region) : graph::ComputeOp();
    return reshape && getRowElements(graph::tensorOf(reshape.getResult(0))) != columns;
  });
  bool conflicts = columns % 512 == 0 && type.getElementTypeBitWidth() == 32;
  return conflicts && !isSeenAnew ? getPaddedStride(columns) : columns;
}

/// Elements from one row of a value's buffer to the next; 0 for weights, caches and rows of no
/// fixed length, which are dense.
FailureOr<int64_t> ScheduleBuilder::getRowStride(Operation *op, Value value) {
  Value buffer = values.lookup(value);
  auto columns = [](Value v) { return getRowElements(cast<RankedTensorType>(v.getType())); };
  if (auto view = buffer.getDefiningOp<exec::ViewOp>()) {
    Value seen = view.getBuffer();
    auto arena = seen.getDefiningOp<exec::BufferOp>();
    return arena && columns(view) == columns(seen) ? int64_t(arena.getRowStride()) : columns(view);
  }
  if (auto arena = buffer.getDefiningOp<exec::BufferOp>())
    return int64_t(arena.getRowStride());
  if (isa<exec::InputOp, exec::OutputOp>(buffer.getDefiningOp()))
    return columns(buffer);
  return int64_t(0);
}

FailureOr<Value> ScheduleBuilder::addBuffer(Operation *op, Value value, int64_t stride) {
  auto type = cast<RankedTensorType>(value.getType());
  FailureOr<AffineMap> bytes = getBytes(op, type, stride, dims);
  if (failed(bytes))
    return failure();
  return exec::BufferOp::create(builder, op->getLoc(), type, builder.getI64IntegerAttr(stride),
                                AffineMapAttr::get(*bytes), AffineMapAttr())
      .getResult();
}

/// The buffer that takes a region's result: an output, or a new one in the arena.
FailureOr<Value> ScheduleBuilder::getWrite(graph::FusedOp fused, Value result) {
  if (values.contains(result))
    return values.lookup(result);
  FailureOr<Value> buffer = addBuffer(fused, result, chooseStride(fused, result));
  if (succeeded(buffer))
    values.map(result, *buffer);
  return buffer;
}

/// Gives a kernel around attention memory for states of segments of the context: f32, a row for
/// each column of the block table. A state is the outputs, maxima and sums of a group of query
/// heads; a row takes eight, so that segments of eight pages have room for 64 pairs of token and kv
/// head.
LogicalResult ScheduleBuilder::addWorkspace(graph::FusedOp fused, graph::AttentionOp attention,
                                            SmallVectorImpl<Value> &writes,
                                            SmallVectorImpl<int64_t> &strides) {
  auto table = cast<RankedTensorType>(attention.getBlockTable().getType());
  if (!table.isDynamicDim(1))
    return success();
  int64_t group = attention.getHeads() / attention.getKvHeads();
  int64_t columns = llvm::alignTo(group * (attention.getHeadDim() + 2) * 8, kRowMultiple);
  auto symbol = graph::getDims(table).getSymbols().back();
  OpBuilder inKernel(attention);
  inKernel.setInsertionPointAfter(attention);
  auto type = RankedTensorType::get({ShapedType::kDynamic, columns}, inKernel.getF32Type(),
                                    graph::DimsAttr::get(inKernel.getContext(), symbol));
  auto workspace = graph::WorkspaceOp::create(inKernel, fused.getLoc(), type);
  Operation *yield = attention->getBlock()->getTerminator();
  yield->insertOperands(yield->getNumOperands(), workspace.getResult());
  FailureOr<AffineMap> bytes = getBytes(fused, type, columns, dims);
  if (failed(bytes))
    return failure();
  writes.push_back(exec::BufferOp::create(builder, fused.getLoc(), type,
                                          builder.getI64IntegerAttr(columns),
                                          AffineMapAttr::get(*bytes), AffineMapAttr()));
  strides.push_back(columns);
  return success();
}

/// A region that only gives elements another shape needs no launch: its result is the memory of its
/// operand, unless the caller wants it elsewhere.
bool ScheduleBuilder::addView(graph::FusedOp fused) {
  graph::ComputeOp reshape = getReshape(fused);
  if (!reshape || values.contains(fused.getResult(0)))
    return false;
  auto argument = cast<BlockArgument>(reshape.getOperand(0));
  Value input = fused.getInputs()[argument.getArgNumber()];
  if (!values.contains(input) || graph::getStored(input.getType()))
    return false;
  Value buffer = values.lookup(input);
  auto type = cast<RankedTensorType>(fused.getResult(0).getType());
  auto columns = [](Type type) { return getRowElements(cast<RankedTensorType>(type)); };
  if (auto view = buffer.getDefiningOp<exec::ViewOp>())
    buffer = view.getBuffer();
  auto arena = buffer.getDefiningOp<exec::BufferOp>();
  int64_t dense = columns(buffer.getType());
  bool padded = arena && dense && int64_t(arena.getRowStride()) != dense;
  if (padded && columns(type) != dense)
    return false;
  values.map(fused.getResult(0), exec::ViewOp::create(builder, fused.getLoc(), type, buffer));
  return true;
}

LogicalResult ScheduleBuilder::addLaunch(graph::FusedOp fused) {
  Block &body = fused.getBody().front();
  SmallVector<Value> reads, writes;
  SmallVector<int64_t> strides, layers;
  auto addStride = [&](Value value) -> LogicalResult {
    FailureOr<int64_t> stride = getRowStride(fused, value);
    if (failed(stride))
      return failure();
    strides.push_back(*stride);
    return success();
  };

  OpBuilder detached(builder.getContext());
  auto kernel = exec::KernelOp::create(detached, fused.getLoc(), "kernel", ArrayAttr(), {});
  Block *kernelBody = detached.createBlock(&kernel.getBody());
  IRMapping mapping;
  llvm::MapVector<Value, int64_t> layerOf; // of each cache argument of the region
  for (auto attention : body.getOps<graph::AttentionOp>()) {
    auto [entry, isNew] = layerOf.insert({attention.getCache(), attention.getLayer()});
    if (!isNew && entry->second != int64_t(attention.getLayer()))
      return fused.emitOpError() << "uses two layers of one cache";
  }
  for (BlockArgument argument : getUsedArguments(body)) {
    Value input = fused.getInputs()[argument.getArgNumber()];
    if (auto use = input.getDefiningOp<graph::WeightRefOp>(); use && !values.contains(input)) {
      Value &weight = weights[use.getWeightAttr().getAttr()];
      if (!weight)
        weight = exec::WeightOp::create(builder, use.getLoc(), use.getType(), use.getWeightAttr());
      values.map(input, weight);
    }
    if (!values.contains(input))
      return fused.emitOpError() << "reads a value that no region computes: " << input;
    mapping.map(argument, kernelBody->addArgument(argument.getType(), fused.getLoc()));
    reads.push_back(values.lookup(input));
    if (isa<CacheType>(argument.getType()))
      layers.push_back(layerOf.lookup(argument));
    if (failed(addStride(input)))
      return failure();
  }
  for (Value result : fused.getOutputs()) {
    FailureOr<Value> write = getWrite(fused, result);
    if (failed(write) || failed(addStride(result)))
      return failure();
    writes.push_back(*write);
  }
  graph::AttentionOp clone;
  for (Operation &op : body)
    if (auto attention = dyn_cast<graph::AttentionOp>(detached.clone(op, mapping))) {
      attention.setLayer(0);
      clone = attention;
    }
  if (clone && failed(addWorkspace(fused, clone, writes, strides)))
    return failure();
  SmallVector<StringRef> dimNames;
  for (graph::DimOp dim : dims)
    dimNames.push_back(dim.getSymName());
  kernel.setDimsAttr(builder.getStrArrayAttr(dimNames));
  kernel.setRowStrides(strides);

  FlatSymbolRefAttr symbol = kernels.add(kernel, describeKernel(body));
  exec::LaunchOp::create(builder, fused.getLoc(), symbol, reads, writes,
                         builder.getDenseI64ArrayAttr(layers));
  return success();
}

LogicalResult ScheduleBuilder::run() {
  SmallVector<Attribute> bounds;
  for (graph::DimOp dim : dims)
    bounds.push_back(exec::DimBoundsAttr::get(builder.getContext(), dim.getSymName(), dim.getMin(),
                                              dim.getMax(), dim.getValueAttr(), dim.getComputed()));
  auto schedule =
      exec::FuncOp::create(builder, func.getLoc(), func.getSymNameAttr(),
                           builder.getArrayAttr(bounds), AffineMapAttr(), AffineMapAttr());
  builder.createBlock(&schedule.getBody());
  if (failed(declareInputs()) || failed(declareOutputs()))
    return failure();
  if (auto requirements = func->getAttr("requirements"))
    schedule->setAttr("requirements", requirements);
  if (failed(flattenControlFlow(func.getBody().front(), *this)))
    return failure();
  func.erase();
  return success();
}

namespace {
struct FormKernels : kiln::impl::FormKernelsBase<FormKernels> {
  void runOnOperation() override {
    KernelTable kernels(getOperation());
    for (auto func : llvm::make_early_inc_range(getOperation().getOps<graph::FuncOp>()))
      if (failed(ScheduleBuilder(func, kernels).run()))
        return signalPassFailure();
  }
};
} // namespace
