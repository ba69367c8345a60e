// Lowers tile ops of static height to vectors: after loop splitting a tile tensor<8x16xf32> is
// eight values of vector<16xf32>, and every op on it is unrolled over its rows. What a row's
// arithmetic is depends on nothing but the op, so a row gives the same bits in a tile of any
// height.
#include "codegen/LowerTiles.h"
#include "codegen/DotStrategy.h"
#include "codegen/EmitSupport.h"
#include "codegen/FloatTile.h"
#include "codegen/Target.h"
#include "codegen/VectorEpilogue.h"
#include "codegen/VectorMath.h"
#include "codegen/reference/VectorizeBody.h"
#include "ir/Exec/ExecDialect.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace kiln;
using namespace kiln::emit;

static constexpr int64_t lanes = PanelLayout::kPanelRows;

namespace {

class TileLowering {
public:
  explicit TileLowering(const Target &target) : target(target) {}

  LogicalResult lower(Operation *op);
  void eraseLowered() {
    for (Operation *op : llvm::reverse(lowered))
      op->erase();
  }

private:
  using Rows = SmallVector<Value>;

  LogicalResult lowerDot(exec::TileDotOp op, ImplicitLocOpBuilder &b);
  void lowerInPlace(exec::TileDotOp op, const Format &format, int64_t rowBytes,
                    ImplicitLocOpBuilder &b);
  void lowerLoad(exec::TileLoadOp op, ImplicitLocOpBuilder &b);
  void lowerBroadcast(exec::TileBroadcastOp op, ImplicitLocOpBuilder &b);
  void lowerStore(exec::TileStoreOp op, ImplicitLocOpBuilder &b);
  LogicalResult lowerElementwise(Operation *op, ImplicitLocOpBuilder &b);
  void lowerMap(graph::ComputeOp op, ImplicitLocOpBuilder &b);

  const Target &target;
  llvm::DenseMap<Value, Rows> tiles;
  SmallVector<Operation *> lowered;
};

} // namespace

static bool isTile(Type type) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  return tensor && tensor.getRank() == 2 && tensor.getDimSize(1) == lanes;
}

static Value toI64(ImplicitLocOpBuilder &b, Value index) {
  return arith::IndexCastOp::create(b, b.getI64Type(), index);
}

LogicalResult TileLowering::lower(Operation *op) {
  if (isa<graph::ConstantOp>(op)) {
    lowered.push_back(op); // read by what uses it
    return success();
  }
  bool tileOp =
      isa<exec::TileDotOp, exec::TileLoadOp, exec::TileBroadcastOp, exec::TileStoreOp>(op);
  bool elementwise = false;
  if (auto fusable = dyn_cast<graph::FusableOpInterface>(op))
    elementwise = fusable.getFusionKind() == graph::FusionKind::Elementwise &&
                  isTile(op->getResult(0).getType());
  elementwise |= isa<graph::ComputeOp>(op) && isTile(op->getResult(0).getType());
  if (isa<exec::TileLoopOp>(op))
    return op->emitOpError() << "is left; run split-dynamic-loops first";
  if (!tileOp && !elementwise)
    return success();
  for (Type type : llvm::concat<const Type>(op->getOperandTypes(), op->getResultTypes()))
    if (isTile(type) && cast<RankedTensorType>(type).isDynamicDim(0))
      return op->emitOpError() << "has a tile of dynamic height; run split-dynamic-loops first";
  ImplicitLocOpBuilder b(op->getLoc(), op);
  if (auto dot = dyn_cast<exec::TileDotOp>(op)) {
    if (failed(lowerDot(dot, b)))
      return failure();
  } else if (auto load = dyn_cast<exec::TileLoadOp>(op)) {
    lowerLoad(load, b);
  } else if (auto broadcast = dyn_cast<exec::TileBroadcastOp>(op)) {
    lowerBroadcast(broadcast, b);
  } else if (auto store = dyn_cast<exec::TileStoreOp>(op)) {
    lowerStore(store, b);
  } else if (failed(lowerElementwise(op, b))) {
    return failure();
  }
  lowered.push_back(op);
  return success();
}

/// How many panels are multiplied side by side: few enough to stay in registers.
static size_t panelsAtOnce(int64_t rows, const DotStrategy &dot, const Target &target) {
  int64_t parts = std::max<int64_t>(1, lanes * 32 / target.vectorBits);
  int64_t fitting = target.vectorRegisters / dot.registersPerSum / (rows * parts);
  return size_t(std::clamp<int64_t>(fitting, 1, rows == 1 ? 4 : 2));
}

/// All panels side by side, with rows as they lie.
void TileLowering::lowerInPlace(exec::TileDotOp op, const Format &format, int64_t rowBytes,
                                ImplicitLocOpBuilder &b) {
  size_t count = size_t(cast<RankedTensorType>(op.getResult(0).getType()).getDimSize(0));
  SmallVector<std::optional<int64_t>> places;
  for (size_t r = 0; r < count; ++r)
    places.push_back(int64_t(r) * rowBytes);
  SmallVector<Value> panels(op.getPanels());
  SmallVector<Value> sums(panels.size() * count,
                          splatConstant(b, vectorOf(lanes, b.getF32Type()), 0));
  sums = emitFloatProducts(b,
                           {address(b, op.getRows(), toI64(b, op.getRow()), rowBytes), places,
                            panels, &format, int64_t(op.getDepth())},
                           sums);
  for (size_t p = 0; p < panels.size(); ++p)
    tiles[op.getResult(p)] = Rows(ArrayRef(sums).slice(p * count, count));
}

LogicalResult TileLowering::lowerDot(exec::TileDotOp op, ImplicitLocOpBuilder &b) {
  const Format *format = findFormat(op.getFormat());
  if (!format)
    return op.emitOpError() << "unknown format '" << op.getFormat() << "'";
  for (const DotStrategy *dot : target.dots) {
    if (dot->fine && dot->fine->name == op.getStrategy())
      dot = dot->fine;
    if (dot->name != op.getStrategy())
      continue;
    PanelLayout layout(*format, lanes, op.getDepth());
    if (auto rowBytes = op->getAttrOfType<IntegerAttr>(kRowBytesName)) {
      lowerInPlace(op, *format, rowBytes.getInt(), b);
      return success();
    }
    PreparedRows prepared(dot->rowKind, layout);
    Value rows = address(b, op.getRows(), toI64(b, op.getRow()), prepared.stride);
    int64_t count = cast<RankedTensorType>(op.getResult(0).getType()).getDimSize(0);
    size_t atOnce = panelsAtOnce(count, *dot, target), all = op.getPanels().size();
    SmallVector<Value> upcoming;
    if (all > atOnce && op.getAhead())
      for (Value panel : op.getPanels())
        upcoming.push_back(address(b, panel, op.getAhead()));
    int64_t shares = int64_t(llvm::divideCeil(all, atOnce));
    for (size_t first = 0; first < all; first += atOnce) {
      SmallVector<Value> panels(op.getPanels().drop_front(first));
      if (panels.size() > atOnce)
        panels.truncate(atOnce);
      Rows sums = dot->emit(b, {rows, count, op.getScratch(), panels, layout, target.vectorBits,
                                target.lookUpBytes, upcoming, int64_t(first / atOnce), shares});
      for (size_t p = 0; p < panels.size(); ++p)
        tiles[op.getResult(first + p)] =
            Rows(ArrayRef(sums).slice(p * size_t(count), size_t(count)));
    }
    return success();
  }
  return op.emitOpError() << "target " << target.name << " has no strategy '" << op.getStrategy()
                          << "'";
}

/// Address of (row + r, column) of a row-major f32 activation.
static Value elementAddress(ImplicitLocOpBuilder &b, Value base, Value row, int64_t r, Value column,
                            int64_t stride) {
  Value rowBase = address(b, base, toI64(b, row), stride * 4, r * stride * 4);
  return address(b, rowBase, toI64(b, column), 4);
}

/// Lanes whose column is below `columns`.
static Value columnMask(ImplicitLocOpBuilder &b, Value column, int64_t columns) {
  SmallVector<int64_t> iota = llvm::to_vector(llvm::seq<int64_t>(0, lanes));
  Value lane = arith::ConstantOp::create(
      b, DenseElementsAttr::get(vectorOf(lanes, b.getI64Type()), ArrayRef<int64_t>(iota)));
  Value left = broadcast(b, arith::SubIOp::create(b, i64(b, columns), toI64(b, column)), lanes);
  return arith::CmpIOp::create(b, arith::CmpIPredicate::slt, lane, left);
}

/// Rows padded to full vectors may be read and written whole; dense ones only below `columns`.
/// Inputs and outputs of functions are aligned to their elements only, so nothing here asks for
/// more.
static bool mayTouchWholeVectors(int64_t stride, int64_t columns) {
  return stride >= int64_t(llvm::alignTo(columns, lanes));
}

void TileLowering::lowerLoad(exec::TileLoadOp op, ImplicitLocOpBuilder &b) {
  int64_t stride = op.getStride(), columns = op.getColumns();
  VectorType type = vectorOf(lanes, b.getF32Type());
  Rows rows;
  for (int64_t r = 0, e = cast<RankedTensorType>(op.getType()).getDimSize(0); r < e; ++r) {
    Value at = elementAddress(b, op.getBase(), op.getRow(), r, op.getColumn(), stride);
    if (mayTouchWholeVectors(stride, columns))
      rows.push_back(load(b, type, at, 4));
    else
      rows.push_back(LLVM::MaskedLoadOp::create(b, type, at, columnMask(b, op.getColumn(), columns),
                                                splatConstant(b, type, 0), 4));
  }
  tiles[op.getResult()] = std::move(rows);
}

void TileLowering::lowerBroadcast(exec::TileBroadcastOp op, ImplicitLocOpBuilder &b) {
  Value at = address(b, op.getBase(), toI64(b, op.getColumn()), 4);
  Value row = load(b, vectorOf(lanes, b.getF32Type()), at, 4);
  tiles[op.getResult()] = Rows(cast<RankedTensorType>(op.getType()).getDimSize(0), row);
}

void TileLowering::lowerStore(exec::TileStoreOp op, ImplicitLocOpBuilder &b) {
  int64_t stride = op.getStride(), columns = op.getColumns();
  for (auto [r, row] : llvm::enumerate(tiles[op.getValue()])) {
    Value at = elementAddress(b, op.getBase(), op.getRow(), r, op.getColumn(), stride);
    if (mayTouchWholeVectors(stride, columns))
      store(b, row, at, 4);
    else
      LLVM::MaskedStoreOp::create(b, row, at, columnMask(b, op.getColumn(), columns), 4);
  }
}

/// A map operator on tiles and single numbers.
void TileLowering::lowerMap(graph::ComputeOp op, ImplicitLocOpBuilder &b) {
  Rows rows;
  for (int64_t r = 0, e = cast<RankedTensorType>(op.getResult(0).getType()).getDimSize(0); r < e;
       ++r) {
    SmallVector<Value> operands;
    for (Value operand : op.getOperands()) {
      auto constant = operand.getDefiningOp<graph::ConstantOp>();
      if (!constant) {
        operands.push_back(tiles[operand][size_t(r)]);
        continue;
      }
      APFloat number = cast<SplatElementsAttr>(constant.getValue()).getSplatValue<APFloat>();
      operands.push_back(
          splatConstant(b, vectorOf(lanes, b.getF32Type()), number.convertToDouble()));
    }
    rows.push_back(emitMap(b, op, operands));
  }
  tiles[op.getResult(0)] = std::move(rows);
}

LogicalResult TileLowering::lowerElementwise(Operation *op, ImplicitLocOpBuilder &b) {
  Rows rows;
  if (auto compute = dyn_cast<graph::ComputeOp>(op)) {
    lowerMap(compute, b);
    return success();
  }
  for (size_t r = 0, e = tiles[op->getOperand(0)].size(); r < e; ++r) {
    SmallVector<Value> operands;
    for (Value operand : op->getOperands())
      operands.push_back(tiles[operand][r]);
    rows.push_back(isa<graph::SiluOp>(op)       ? emitSilu(b, operands.front())
                   : isa<graph::GeluOp>(op)     ? emitGelu(b, operands.front())
                   : isa<graph::GeluTanhOp>(op) ? emitGeluTanh(b, operands.front())
                                                : emitElementwise(b, op, operands));
    if (!rows.back())
      return failure();
  }
  tiles[op->getResult(0)] = std::move(rows);
  return success();
}

LogicalResult kiln::lowerTiles(Operation *root, const Target &target) {
  TileLowering lowering(target);
  SmallVector<Operation *> ops;
  root->walk<WalkOrder::PreOrder>([&](Operation *op) { ops.push_back(op); });
  for (Operation *op : ops)
    if (failed(lowering.lower(op)))
      return failure();
  lowering.eraseLowered();
  return success();
}
