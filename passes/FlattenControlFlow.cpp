// Control flow of the graph becomes a line of steps with places to go on at:
//
//   %r = graph.if %c {A} else {B}      =>   exec.branch %c else 0; A; exec.jump 1; exec.mark 0; B;
//                                           exec.mark 1
//   %r = graph.loop %i {^(%a): body}   =>   copy %i to %r; exec.mark 0; exec.branch %r#0 else 1;
//                                           body; copy the next values to %r; exec.jump 0;
//                                           exec.mark 1
//
// What a branch yields and what a loop carries lies in the memory of the results. The region that
// computes such a value writes it there, where nobody needs the old value any more; else it is
// copied. An operator that changes its operand in place takes the operand's memory where nobody
// reads that operand afterwards, else a copy of it.
#include "passes/FlattenControlFlow.h"
#include "ir/Graph/Operators.h"

using namespace mlir;
using namespace kiln;
using namespace kiln::graph;

ComputeOp kiln::getReshape(FusedOp fused) {
  Block &body = fused.getBody().front();
  auto op = dyn_cast<ComputeOp>(body.front());
  bool alone = op && op.getKind() == "reshape" && op->getNextNode() == body.getTerminator() &&
               isa<BlockArgument>(op.getOperand(0));
  return alone ? op : ComputeOp();
}

/// The operand that a region changes in place, null where it changes none.
static Value getChanged(FusedOp fused) {
  for (auto op : fused.getBody().getOps<ComputeOp>())
    if (operatorOf(op).inPlace)
      if (auto argument = dyn_cast<BlockArgument>(op.getOperand(0)))
        return fused.getInputs()[argument.getArgNumber()];
  return {};
}

/// Whether all that read a value, in this shape or another, stand before `op` in its block. `op`
/// itself may read it where `alsoHere`.
static bool isReadOnlyBefore(Value value, Operation *op, bool alsoHere) {
  return llvm::all_of(value.getUsers(), [&](Operation *user) {
    if (auto fused = dyn_cast<FusedOp>(user))
      if (getReshape(fused) && !isReadOnlyBefore(fused.getResult(0), op, false))
        return false;
    Operation *here = op->getBlock()->findAncestorOpInBlock(*user);
    return here && (here == op ? alsoHere && user == op : here->isBeforeInBlock(op));
  });
}

namespace {

class Flattener {
public:
  explicit Flattener(ScheduleTarget &target) : target(target), builder(target.builder) {}
  LogicalResult addBlock(Block &block);

private:
  LogicalResult addOp(Operation &op);
  LogicalResult addFused(FusedOp fused);
  LogicalResult addIf(IfOp op);
  LogicalResult addLoop(LoopOp op);
  LogicalResult addSetDims(SetDimsOp op);

  FailureOr<Value> getBuffer(Operation *op, Value value);
  LogicalResult bindResults(Operation *op);
  LogicalResult bindInits(Block &block);
  bool isComputedIn(Block &block, Value value) {
    Operation *producer = value.getDefiningOp();
    return producer && producer->getBlock() == &block && isa<FusedOp, IfOp, LoopOp>(producer) &&
           !target.values.contains(value);
  }
  LogicalResult checkKnown(Operation *op, Value value) {
    if (target.values.contains(value))
      return success();
    return op->emitOpError() << "reads a value that no region computes: " << value;
  }
  LogicalResult addCopy(Operation *before, Value from, Value to);
  LogicalResult addBranch(Operation *op, Block &block);
  void addMark(Operation *op, int64_t number) {
    exec::MarkOp::create(builder, op->getLoc(), builder.getI64IntegerAttr(number));
  }
  void addJump(Operation *op, int64_t number) {
    exec::JumpOp::create(builder, op->getLoc(), builder.getI64IntegerAttr(number));
  }

  ScheduleTarget &target;
  OpBuilder &builder;
  int64_t marks = 0;
};

} // namespace

/// The memory of a control-flow op's result: chosen already, or new.
FailureOr<Value> Flattener::getBuffer(Operation *op, Value value) {
  if (target.values.contains(value))
    return target.values.lookup(value);
  FailureOr<Value> buffer = target.addBuffer(op, value);
  if (succeeded(buffer))
    target.values.map(value, *buffer);
  return buffer;
}

LogicalResult Flattener::bindResults(Operation *op) {
  for (Value result : op->getResults())
    if (failed(getBuffer(op, result)))
      return failure();
  return success();
}

/// Copies a value, by a region of its own before an op of the graph.
LogicalResult Flattener::addCopy(Operation *before, Value from, Value to) {
  if (failed(checkKnown(before, from)))
    return failure();
  OpBuilder inGraph(before);
  Location loc = before->getLoc();
  auto fused = FusedOp::create(inGraph, loc, from.getType(), from);
  Block *body = inGraph.createBlock(&fused.getBody());
  Value argument = body->addArgument(from.getType(), loc);
  auto copy = ComputeOp::create(inGraph, loc, from.getType(), "identity", argument,
                                inGraph.getDictionaryAttr({}));
  YieldOp::create(inGraph, loc, copy.getResults());
  target.values.map(fused.getResult(0), to);
  return target.addRegion(fused);
}

LogicalResult Flattener::addFused(FusedOp fused) {
  Value changed = getChanged(fused);
  if (!changed)
    return target.addRegion(fused);
  if (failed(checkKnown(fused, changed)))
    return failure();
  Value result = fused.getResult(0), memory = target.values.lookup(changed);
  if (!target.values.contains(result)) {
    bool own =
        changed.getParentBlock() == fused->getBlock() && memory.getDefiningOp<exec::BufferOp>();
    if (own && isReadOnlyBefore(changed, fused, /*alsoHere=*/true))
      target.values.map(result, memory);
    else if (failed(getBuffer(fused, result)))
      return failure();
  }
  Value buffer = target.values.lookup(result);
  if (buffer != memory && failed(addCopy(fused, changed, buffer)))
    return failure();
  target.values.map(changed, buffer);
  LogicalResult added = target.addRegion(fused);
  target.values.map(changed, memory);
  return added;
}

/// A value that a region of the block computes for a loop alone is computed in the loop's memory.
LogicalResult Flattener::bindInits(Block &block) {
  for (auto loop : block.getOps<LoopOp>())
    for (auto [init, result] : llvm::zip(loop.getInits(), loop.getResults())) {
      if (!isComputedIn(block, init) || !init.hasOneUse())
        continue;
      if (failed(getBuffer(loop, result)))
        return failure();
      target.values.map(init, target.values.lookup(result));
    }
  return success();
}

/// One side of a `graph.if`, whose results have their memory.
LogicalResult Flattener::addBranch(Operation *op, Block &block) {
  Operation *yield = block.getTerminator();
  SmallVector<std::pair<Value, Value>> copies;
  for (auto [value, result] : llvm::zip(yield->getOperands(), op->getResults())) {
    Value buffer = target.values.lookup(result);
    if (isComputedIn(block, value))
      target.values.map(value, buffer);
    else
      copies.push_back({value, buffer});
  }
  if (failed(addBlock(block)))
    return failure();
  for (auto [value, buffer] : copies)
    if (failed(addCopy(yield, value, buffer)))
      return failure();
  return success();
}

LogicalResult Flattener::addIf(IfOp op) {
  if (failed(checkKnown(op, op.getCondition())) || failed(bindResults(op)))
    return failure();
  int64_t otherwise = marks++, end = marks++;
  exec::BranchOp::create(builder, op.getLoc(), target.values.lookup(op.getCondition()),
                         builder.getI64IntegerAttr(otherwise));
  if (failed(addBranch(op, op.getThen().front())))
    return failure();
  auto jump = exec::JumpOp::create(builder, op.getLoc(), builder.getI64IntegerAttr(end));
  addMark(op, otherwise);
  Operation *before = &builder.getInsertionBlock()->back();
  if (failed(addBranch(op, op.getOtherwise().front())))
    return failure();
  bool isEmpty = true;
  for (Operation *step = before->getNextNode(); step; step = step->getNextNode())
    isEmpty &= isa<exec::BufferOp, exec::WeightOp, exec::ViewOp>(step);
  if (isEmpty)
    jump.erase();
  else
    addMark(op, end);
  return success();
}

LogicalResult Flattener::addLoop(LoopOp op) {
  Block &body = op.getBody().front();
  Operation *yield = body.getTerminator();
  if (failed(bindResults(op)))
    return failure();
  SmallVector<Value> carried;
  for (auto [init, argument, result] :
       llvm::zip(op.getInits(), body.getArguments(), op.getResults())) {
    carried.push_back(target.values.lookup(result));
    target.values.map(argument, carried.back());
    bool isThere = target.values.contains(init) && target.values.lookup(init) == carried.back();
    if (!isThere && failed(addCopy(op, init, carried.back())))
      return failure();
  }
  int64_t begin = marks++, end = marks++;
  addMark(op, begin);
  exec::BranchOp::create(builder, op.getLoc(), carried.front(), builder.getI64IntegerAttr(end));

  for (auto [next, argument, memory] :
       llvm::zip(yield->getOperands(), body.getArguments(), carried)) {
    if (!isComputedIn(body, next))
      continue;
    auto region = dyn_cast<FusedOp>(next.getDefiningOp());
    bool inPlace =
        region && getChanged(region) == argument && llvm::count(region.getInputs(), argument) == 1;
    if (isReadOnlyBefore(argument, next.getDefiningOp(), inPlace))
      target.values.map(next, memory);
  }
  if (failed(addBlock(body)))
    return failure();
  // A next value that lies in another carried value's memory is saved first: all are given at once.
  SmallVector<std::pair<Value, Value>> copies;
  for (auto [next, memory] : llvm::zip(yield->getOperands(), carried)) {
    Value from = next, place = target.values.lookupOrNull(next);
    if (place == memory)
      continue;
    auto view = place ? place.getDefiningOp<exec::ViewOp>() : exec::ViewOp();
    if (llvm::is_contained(carried, view ? view.getBuffer() : place)) {
      FailureOr<Value> saved = target.addBuffer(yield, next);
      if (failed(saved) || failed(addCopy(yield, next, *saved)))
        return failure();
      from = yield->getPrevNode()->getResult(0);
    }
    copies.push_back({from, memory});
  }
  for (auto [from, memory] : copies)
    if (failed(addCopy(yield, from, memory)))
      return failure();
  addJump(op, begin);
  addMark(op, end);
  return success();
}

LogicalResult Flattener::addSetDims(SetDimsOp op) {
  if (failed(checkKnown(op, op.getValues())))
    return failure();
  SmallVector<int64_t> numbers;
  for (auto symbol : op.getDims().getAsRange<FlatSymbolRefAttr>()) {
    auto *dim = llvm::find_if(target.dims,
                              [&](DimOp dim) { return dim.getSymNameAttr() == symbol.getAttr(); });
    if (dim == target.dims.end() || !dim->getComputed())
      return op.emitOpError() << symbol << " is no computed dim";
    numbers.push_back(dim - target.dims.begin());
  }
  exec::SetDimsOp::create(builder, op.getLoc(), target.values.lookup(op.getValues()),
                          builder.getDenseI64ArrayAttr(numbers));
  return success();
}

LogicalResult Flattener::addOp(Operation &op) {
  if (auto fused = dyn_cast<FusedOp>(op))
    return addFused(fused);
  if (auto choice = dyn_cast<IfOp>(op))
    return addIf(choice);
  if (auto loop = dyn_cast<LoopOp>(op))
    return addLoop(loop);
  if (auto set = dyn_cast<SetDimsOp>(op))
    return addSetDims(set);
  return op.emitOpError() << "is in no region; run fuse-regions first";
}

LogicalResult Flattener::addBlock(Block &block) {
  if (failed(bindInits(block)))
    return failure();
  for (Operation &op : llvm::make_early_inc_range(block.without_terminator()))
    if (!isa<WeightRefOp>(op) && failed(addOp(op)))
      return failure();
  return success();
}

LogicalResult kiln::flattenControlFlow(Block &block, ScheduleTarget &target) {
  return Flattener(target).addBlock(block);
}
