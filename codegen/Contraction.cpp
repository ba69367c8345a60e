// Emits kernels around matmuls. The region is [gather] [norm] → one or more matmuls of the same
// rows → elementwise ops with rows, vectors and each other → results. The kernel:
//
//   for each block of rows in [begin, end)         items are (row block, panel), panels fastest
//     prepare the block's rows in scratch          codegen/PrepareRows.cpp
//     for each panel of 16 outputs in the range
//       exec.tile_loop over the block's rows       split into full tiles and remainders later
//         exec.tile_dot per matmul → the region's elementwise ops on tiles → exec.tile_store
//
// so weights stream once per block of rows, a panel stays in cache while tiles of rows pass, and
// one description yields the kernels for one row, for a few and for many.
#include "codegen/Contraction.h"
#include "codegen/EmitSupport.h"
#include "codegen/KernelFrame.h"
#include "codegen/PrepareRows.h"
#include "codegen/Target.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/IRMapping.h"

using namespace mlir;
using namespace kiln;
using namespace kiln::emit;

namespace {

/// The parts of a region that this emitter understands.
struct ContractionShape {
  SmallVector<graph::MatmulOp> matmuls;
  RowSource rows;
  const Format *format = nullptr;
  int64_t outputs = 0; // columns of every matmul
  int64_t depth = 0;
  SmallVector<Operation *> epilogue; // elementwise, in order

  static std::optional<ContractionShape> match(exec::KernelOp kernel, std::string &reason);
};

} // namespace

static bool isRowVector(Value value) {
  return cast<RankedTensorType>(value.getType()).getRank() == 1;
}

std::optional<ContractionShape> ContractionShape::match(exec::KernelOp kernel,
                                                        std::string &reason) {
  ContractionShape shape;
  for (auto matmul : kernel.getBody().getOps<graph::MatmulOp>())
    shape.matmuls.push_back(matmul);
  if (shape.matmuls.empty()) {
    reason = "no matmul";
    return std::nullopt;
  }
  graph::MatmulOp first = shape.matmuls.front();
  auto weightType = cast<RankedTensorType>(first.getWeight().getType());
  shape.outputs = weightType.getDimSize(0);
  shape.depth = weightType.getDimSize(1);
  for (graph::MatmulOp matmul : shape.matmuls) {
    graph::StoredAttr stored = graph::getStored(matmul.getWeight().getType());
    if (!stored || stored.getLayout() != kPanelLayoutName ||
        !isa<BlockArgument>(matmul.getWeight())) {
      reason = "a weight is not stored as panel16";
      return std::nullopt;
    }
    if (matmul.getInput() != first.getInput() ||
        matmul.getWeight().getType() != first.getWeight().getType()) {
      reason = "its matmuls differ in rows, shape or format";
      return std::nullopt;
    }
    shape.format = findFormat(stored.getFormat());
  }
  std::optional<RowSource> rows = RowSource::match(first.getInput(), kernel, reason);
  if (!rows)
    return std::nullopt;
  shape.rows = *rows;

  llvm::SmallDenseSet<Value> tiles;
  for (graph::MatmulOp matmul : shape.matmuls)
    tiles.insert(matmul.getResult());
  for (Operation &op : kernel.getBody().front().without_terminator()) {
    if (isa<graph::MatmulOp>(op) || &op == shape.rows.norm || isa<graph::GatherOp>(op))
      continue;
    auto fusable = dyn_cast<graph::FusableOpInterface>(op);
    if (!fusable || fusable.getFusionKind() != graph::FusionKind::Elementwise) {
      reason = (op.getName().getStringRef() + " has no place around a matmul").str();
      return std::nullopt;
    }
    for (Value operand : op.getOperands())
      if (!isa<BlockArgument>(operand) && !tiles.contains(operand)) {
        reason = (op.getName().getStringRef() + " uses something else than tiles").str();
        return std::nullopt;
      }
    tiles.insert(op.getResult(0));
    shape.epilogue.push_back(&op);
  }
  for (Value result : kernel.getBody().front().getTerminator()->getOperands())
    if (!tiles.contains(result)) {
      reason = "a result is no tile";
      return std::nullopt;
    }
  return shape;
}

std::optional<std::string> kiln::refuseContraction(exec::KernelOp kernel, const Target &target,
                                                   const DotStrategy &dot) {
  std::string reason;
  std::optional<ContractionShape> shape = ContractionShape::match(kernel, reason);
  if (!shape)
    return reason;
  return dot.refuse(*shape->format, target);
}

namespace {

class ContractionEmitter {
public:
  ContractionEmitter(exec::KernelOp kernel, const Target &target, OpBuilder &builder,
                     const DotStrategy &dot, ContractionShape shape)
      : kernel(kernel), target(target), dot(dot), shape(std::move(shape)), frame(kernel, builder),
        b(frame.builder()), layout(*this->shape.format, this->shape.outputs, this->shape.depth),
        prepared(dot.rowKind, layout) {}

  KernelCode emit() {
    Value result = kernel.getBody().front().getTerminator()->getOperand(0);
    int64_t panels = layout.panelCount();
    Value rows = frame.rowsOf(result.getType());
    Value firstBlock = frame.floorDiv(frame.begin(), panels);
    Value lastBlock = frame.ceilDiv(frame.end(), panels);
    loop(b, firstBlock, lastBlock, 1, [&](Value block) {
      Value firstRow = frame.mul(block, i64(b, target.rowBlock));
      Value count = frame.min(i64(b, target.rowBlock), frame.sub(rows, firstRow));
      emitPrepareRows(frame, shape.rows, prepared, dot.unsignedWeights ? shape.format->zero : 0,
                      firstRow, count, frame.scratch());
      Value firstItem = frame.mul(block, i64(b, panels));
      Value from = frame.sub(frame.max(frame.begin(), firstItem), firstItem);
      Value to = frame.sub(frame.min(frame.end(), frame.add(firstItem, i64(b, panels))), firstItem);
      loop(b, from, to, 1, [&](Value panel) { emitPanel(panel, firstRow, count); });
    });
    AffineExpr rowsExpr = frame.rowsExprOf(result.getType());
    AffineExpr blocks = rowsExpr.ceilDiv(target.rowBlock);
    return {map(blocks * panels),
            map(getAffineConstantExpr(target.rowBlock * prepared.stride, b.getContext()))};
  }

private:
  AffineMap map(AffineExpr expr) {
    return AffineMap::get(0, kernel.getDims().size(), expr, b.getContext());
  }

  /// The columns of one panel for all rows of the block.
  void emitPanel(Value panel, Value firstRow, Value count) {
    auto index = [&](Value i) -> Value {
      return arith::IndexCastOp::create(b, b.getIndexType(), i);
    };
    Value rowOfBlock = index(firstRow), column = index(frame.mul(panel, i64(b, 16)));
    Value zero = arith::ConstantIndexOp::create(b, 0);
    auto tileLoop = exec::TileLoopOp::create(b, zero, index(count), target.rowTiles);
    OpBuilder::InsertionGuard guard(b);
    Block *body = b.createBlock(&tileLoop.getBody(), {}, {b.getIndexType()}, {b.getLoc()});
    Value tileRow = body->getArgument(0);
    Value row = arith::AddIOp::create(b, rowOfBlock, tileRow);
    auto tileType =
        RankedTensorType::get({ShapedType::kDynamic, PanelLayout::kPanelRows}, b.getF32Type());

    IRMapping tiles;
    for (graph::MatmulOp matmul : shape.matmuls) {
      unsigned weight = cast<BlockArgument>(matmul.getWeight()).getArgNumber();
      Value panelBase = address(b, frame.buffer(weight), panel, layout.panelBytes());
      tiles.map(matmul.getResult(),
                exec::TileDotOp::create(b, tileType, frame.scratch(), tileRow, panelBase,
                                        shape.format->name, dot.name, shape.depth)
                    .getResult());
    }
    for (Operation *op : shape.epilogue) {
      for (Value operand : op->getOperands())
        if (auto argument = dyn_cast<BlockArgument>(operand); argument && !tiles.contains(operand))
          tiles.map(operand, loadOperand(argument, row, column, tileType));
      Operation *clone = b.clone(*op, tiles);
      clone->getResult(0).setType(tileType);
      tiles.map(op->getResult(0), clone->getResult(0));
    }
    auto yield = kernel.getBody().front().getTerminator();
    size_t reads = kernel.getBody().getNumArguments();
    for (auto [i, result] : llvm::enumerate(yield->getOperands()))
      exec::TileStoreOp::create(b, tiles.lookup(result), frame.writeBuffer(i), row, column,
                                kernel.getRowStrides()[reads + i], shape.outputs);
    exec::TileYieldOp::create(b);
  }

  Value loadOperand(BlockArgument argument, Value row, Value column, Type tileType) {
    Value base = frame.buffer(argument.getArgNumber());
    if (isRowVector(argument))
      return exec::TileBroadcastOp::create(b, tileType, base, column);
    return exec::TileLoadOp::create(b, tileType, base, row, column,
                                    kernel.getRowStrides()[argument.getArgNumber()], shape.outputs);
  }

  exec::KernelOp kernel;
  const Target &target;
  const DotStrategy &dot;
  ContractionShape shape;
  KernelFrame frame;
  ImplicitLocOpBuilder &b;
  PanelLayout layout;
  PreparedRows prepared;
};

} // namespace

FailureOr<KernelCode> kiln::emitContraction(exec::KernelOp kernel, const Target &target,
                                            OpBuilder &builder, const DotStrategy &dot) {
  std::string reason;
  std::optional<ContractionShape> shape = ContractionShape::match(kernel, reason);
  if (!shape)
    return kernel.emitOpError() << "has no contraction: " << reason;
  return ContractionEmitter(kernel, target, builder, dot, std::move(*shape)).emit();
}
