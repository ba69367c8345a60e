// Kernels of array operators. All results have one shape, and an element of a result is built at
// its indices, producers inlined (KernelElements). The leading dims are the line of items; what is
// inside an item is a nest of loops, whose innermost LLVM vectorizes: nothing in it aliases what is
// written. Where the leading dim alone would make items too large or too small, an item is a run of
// it.
//
// A kernel of an operator that fills its results itself holds that operator alone; its items are
// the dims that the operator computes independently.
#include "codegen/array/ArrayKernel.h"
#include "codegen/Target.h"
#include "codegen/array/KernelElements.h"

using namespace mlir;
using namespace kiln;
using namespace kiln::graph;

/// Elements of an item, roughly, where their number is known: enough to be worth a call.
static constexpr int64_t kItemElements = 512, kItemCostlyElements = 16;

static YieldOp yieldOf(exec::KernelOp kernel) {
  return cast<YieldOp>(kernel.getBody().front().getTerminator());
}

static ComputeOp findFiller(exec::KernelOp kernel) {
  for (auto op : kernel.getBody().getOps<ComputeOp>())
    if (operatorOf(op).cost == Cost::Fill)
      return op;
  return {};
}

static std::optional<std::string> refuse(exec::KernelOp kernel, const Target &) {
  YieldOp yield = yieldOf(kernel);
  if (yield.getNumOperands() == 0)
    return "the kernel has no result";
  for (BlockArgument argument : kernel.getBody().getArguments()) {
    auto type = dyn_cast<RankedTensorType>(argument.getType());
    if (!type)
      return "a parameter is no tensor";
    if (auto reason = KernelElements::refuseParameter(type))
      return reason;
  }
  unsigned count = 0;
  for (Operation &op : kernel.getBody().front().without_terminator()) {
    if (auto constant = dyn_cast<ConstantOp>(op)) {
      if (!isa<SplatElementsAttr>(constant.getValue()))
        return "a constant has several values";
      continue;
    }
    if (!isa<ComputeOp>(op))
      return (op.getName().getStringRef() + " is no operator on arrays").str();
    ++count;
  }
  if (ComputeOp filler = findFiller(kernel)) {
    if (count != 1)
      return "an operator that fills its results shares the kernel";
    return std::nullopt;
  }
  Type first = yield.getOperand(0).getType();
  for (Value value : yield.getValues()) {
    auto type = cast<RankedTensorType>(value.getType()), other = cast<RankedTensorType>(first);
    if (type.getShape() != other.getShape() || getDims(type) != getDims(other))
      return "results have different shapes";
    if (!value.getDefiningOp<ComputeOp>())
      return "a result is not computed";
  }
  return std::nullopt;
}

namespace {

/// How a box of results is cut into items.
struct Items {
  unsigned leading = 0; // dims that the items' numbers run over
  int64_t run = 0;      // with no leading dims: elements of dim 0 of an item; 0: one item for all
};

Items chooseItems(exec::KernelOp kernel, RankedTensorType type) {
  bool costly = llvm::any_of(kernel.getBody().getOps<ComputeOp>(),
                             [](ComputeOp op) { return operatorOf(op).cost == Cost::Many; });
  int64_t wanted = costly ? kItemCostlyElements : kItemElements;
  Items items;
  int64_t inner = 1;
  int64_t dim = type.getRank() - 1;
  for (; dim > 0 && inner < wanted; --dim) {
    if (type.isDynamicDim(dim))
      inner = wanted;
    else
      inner *= std::max<int64_t>(type.getDimSize(dim), 1);
  }
  if (dim > 0 || inner >= wanted) {
    items.leading = unsigned(dim + 1);
    return items;
  }
  if (type.getRank())
    items.run = llvm::divideCeil(wanted, inner);
  return items;
}

class ArrayKernel {
public:
  ArrayKernel(exec::KernelOp kernel, OpBuilder &builder)
      : kernel(kernel), frame(kernel, builder), elements(frame, kernel), b(frame.builder()) {}

  KernelCode emit() {
    if (ComputeOp filler = findFiller(kernel))
      return emitFiller(filler);
    return emitElements();
  }

private:
  KernelCode emitElements();
  KernelCode emitFiller(ComputeOp op);
  Value toIndex(Value i64) { return arith::IndexCastOp::create(b, b.getIndexType(), i64); }
  /// for item in the range of the call
  void forItems(llvm::function_ref<void(Value)> body) {
    auto loop =
        scf::ForOp::create(b, toIndex(frame.begin()), toIndex(frame.end()), elements.index(1));
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(loop.getBody());
    body(loop.getInductionVar());
  }
  /// An item's number as indices of the dims `extents`, the last fastest.
  SmallVector<Value> split(Value item, ArrayRef<Value> extents) {
    SmallVector<Value> indices(extents.size());
    for (size_t i = extents.size(); i-- > 1;) {
      indices[i] = arith::RemUIOp::create(b, item, extents[i]);
      item = arith::DivUIOp::create(b, item, extents[i]);
    }
    if (!extents.empty())
      indices[0] = item;
    return indices;
  }
  AffineMap map(AffineExpr expr) const { return AffineMap::get(0, kernel.getDims().size(), expr); }

  mutable exec::KernelOp kernel;
  KernelFrame frame;
  KernelElements elements;
  ImplicitLocOpBuilder &b;
};

} // namespace

KernelCode ArrayKernel::emitElements() {
  YieldOp yield = yieldOf(kernel);
  auto type = cast<RankedTensorType>(yield.getOperand(0).getType());
  Items plan = chooseItems(kernel, type);
  AffineExpr items = getAffineConstantExpr(1, kernel.getContext());
  for (unsigned dim = 0; dim < plan.leading; ++dim)
    items = items * extentExpr(kernel, type, dim);
  if (plan.run)
    items = extentExpr(kernel, type, 0).ceilDiv(plan.run);

  forItems([&](Value item) {
    SmallVector<Value> extents, counts;
    for (unsigned dim = 0; dim < type.getRank(); ++dim)
      (dim < plan.leading ? extents : counts).push_back(elements.extentOf(type, dim));
    SmallVector<Value> outer = split(item, extents);
    Value first;
    if (plan.run) {
      first = elements.mul(item, elements.index(plan.run));
      counts[0] = elements.min(elements.sub(counts[0], first), elements.index(plan.run));
    }
    elements.loops(counts, {}, [&](ValueRange inner, ValueRange) {
      SmallVector<Value> indices(outer);
      llvm::append_range(indices, inner);
      if (plan.run)
        indices[0] = elements.add(indices[0], first);
      SmallVector<Value> built;
      for (Value value : yield.getValues())
        built.push_back(elements.read(value, indices));
      for (auto [write, element] : llvm::enumerate(built))
        elements.store(unsigned(write), element, indices);
      return SmallVector<Value>();
    });
  });
  return {map(items), map(getAffineConstantExpr(0, kernel.getContext()))};
}

KernelCode ArrayKernel::emitFiller(ComputeOp op) {
  const Operator &record = operatorOf(op);
  elements.setFiller(op);
  auto type = tensorOf(op.getResult(0));
  SmallVector<unsigned> dims = record.itemDims ? record.itemDims(op) : SmallVector<unsigned>();
  AffineExpr items = getAffineConstantExpr(1, kernel.getContext());
  for (unsigned dim : dims)
    items = items * extentExpr(kernel, type, dim);
  forItems([&](Value item) {
    SmallVector<Value> extents;
    for (unsigned dim : dims)
      extents.push_back(elements.extentOf(type, dim));
    record.fill(elements, op, split(item, extents));
  });
  AffineExpr scratch = getAffineConstantExpr(0, kernel.getContext());
  if (record.scratchBytes)
    scratch = record.scratchBytes(op);
  return {map(items), map(scratch)};
}

static FailureOr<KernelCode> emitArray(exec::KernelOp kernel, const Target &, OpBuilder &builder) {
  return ArrayKernel(kernel, builder).emit();
}

const KernelEmitter &kiln::arrayEmitter() {
  static const KernelEmitter emitter{"array", refuse, emitArray};
  return emitter;
}
