// Emits kernels around matmuls. The region is [gather] [norm] -> one or more matmuls of the same
// rows -> elementwise ops with rows, vectors and each other -> results. The kernel:
//
//   for each block of rows in [begin, end)         items are (row block, panel), panels fastest
//     prepare the block's rows in scratch          codegen/PrepareRows.cpp; once per launch
//     for each few panels of 16 outputs in the range
//       exec.tile_loop over the block's rows       split into full tiles and remainders later
//         exec.tile_dot per matmul -> the region's elementwise ops on tiles -> exec.tile_store
//
// so weights stream once per block of rows, a panel stays in cache while tiles of rows pass, and
// one description yields the kernels for one row, for a few and for many. Few rows may be prepared
// in a finer form than many (DotStrategy::fine). Where the target has a matrix unit, many rows go
// another way (codegen/MatrixContraction.cpp) and few rows this one. Many rows times floats are
// read in place where nothing has to happen to them before, in tiles that keep the units for
// multiplication busy (codegen/FloatTile.h).
#include "codegen/Contraction.h"
#include "codegen/ContractionKernel.h"
#include "codegen/EmitSupport.h"
#include "codegen/FloatTile.h"
#include "codegen/LowerTiles.h"
#include "codegen/MatrixContraction.h"
#include "codegen/RowBlocks.h"
#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;
using namespace kiln;
using namespace kiln::emit;

// Panels that are walked side by side, of all matmuls together, where registers allow.
static constexpr int64_t panelsAtOnce = 4;
// Rows for which vectors multiply finer activations in about the time that memory takes.
static constexpr int64_t fewRows = 4;
// Rows of floats that are multiplied a few panels side by side, as memory likes it.
static constexpr int64_t fewFloatRows = 7;

std::optional<std::string> kiln::refuseContraction(exec::KernelOp kernel, const Target &target,
                                                   const DotStrategy &dot) {
  std::string reason;
  std::optional<ContractionShape> shape = ContractionShape::match(kernel, reason);
  if (!shape)
    return reason;
  return dot.refuse(*shape->format, target);
}

namespace {

/// A way to multiply up to `most` rows of a block.
struct RowsWay {
  RowsWay(const DotStrategy &dot, const PanelLayout &layout, int64_t most)
      : dot(dot), prepared(dot.rowKind, layout), most(most) {}
  int64_t scratchBytes() const { return dot.scratchBytes + most * prepared.stride; }

  const DotStrategy &dot;
  PreparedRows prepared;
  int64_t most;
};

class ContractionEmitter {
public:
  ContractionEmitter(exec::KernelOp kernel, const Target &target, OpBuilder &builder,
                     const DotStrategy &dot, ContractionShape shape)
      : k(kernel, target, builder, std::move(shape)), frame(k.frame), b(k.b), blocks(frame),
        dot(dot) {}

  KernelCode emitRowsOnly() {
    blocks.begin();
    int64_t block = k.target.rowBlock, panels = k.layout.panelCount();
    RowsWay many(dot, k.layout, block), few(dotOfFew(), k.layout, fewRows);
    auto emitWay = [&](const RowsWay &way) {
      blocks.forEach(
          k.resultRows(), i64(b, block), panels,
          [&](Value first, Value count) { prepareRows(way, first, count); },
          [&](Value first, Value count, Value from, Value to) {
            emitRows(way, first, count, from, to);
          });
    };
    if (&dot != &few.dot)
      branch(b, atMost(k.resultRows(), few.most), [&] { emitWay(few); }, [&] { emitWay(many); });
    else
      emitWay(many);
    return code(block, panels, std::max(many.scratchBytes(), few.scratchBytes()));
  }

  KernelCode emitWithMatrixUnit() {
    MatrixContraction matrix(k, blocks.scratch());
    blocks.begin();
    int64_t block = matrix.largestBlock();
    Value rows = k.resultRows();
    RowsWay few(dotOfFew(), k.layout, k.target.matrix->minimumRows - 1);
    // An item is the panels that a step of the matrix unit takes.
    auto emitFew = [&] { emitOneBlock(few, rows, matrix.panelsPerItem()); };
    if (k.shape.format->id == FormatId::F32)
      return emitFloatsWithMatrixUnit(matrix);
    auto emitMany = [&] { emitMatrixRows(matrix, rows); };
    branch(b, atMost(rows, few.most), emitFew, emitMany);
    return code(block, matrix.itemsPerBlock(), std::max(few.scratchBytes(), matrix.scratchBytes()));
  }

  KernelCode emitFloats() {
    blocks.begin();
    FloatRows many = chooseFloatRows();
    emitFloatRows(many);
    return code(many.block, itemsOf(many), floatScratch(many));
  }

private:
  /// How many rows of floats are multiplied.
  struct FloatRows {
    bool inPlace;
    int64_t rowBytes, block, panels; // of an item: panels of each matmul
    SmallVector<int64_t> heights;    // of tiles
  };

  /// Floats of which the matrix unit takes many rows: an item is the same panels for all ways.
  KernelCode emitFloatsWithMatrixUnit(MatrixContraction &matrix) {
    FloatRows few = chooseFloatRows();
    few.panels = std::min(matrix.panelsPerItem(), k.layout.panelCount());
    few.block = std::max(few.block, k.target.matrix->minimumRows);
    Value rows = k.resultRows();
    auto emitMany = [&] { emitMatrixRows(matrix, rows); };
    branch(
        b, atMost(rows, k.target.matrix->minimumRows - 1), [&] { emitFloatRows(few); }, emitMany);
    return code(matrix.largestBlock(), matrix.itemsPerBlock(),
                std::max(floatScratch(few), matrix.scratchBytes()));
  }

  void emitMatrixRows(MatrixContraction &matrix, Value rows) {
    k.target.matrix->begin(b, matrix.configuration());
    blocks.forEach(
        rows, matrix.rowsPerBlock(rows), matrix.itemsPerBlock(),
        [&](Value first, Value count) { matrix.prepare(first, count); },
        [&](Value first, Value count, Value from, Value to) {
          matrix.multiply(first, count, from, to);
        });
    k.target.matrix->end(b);
  }

  void emitFloatRows(const FloatRows &many) {
    setTileTuning(frame.function(), k.target);
    Value rows = k.resultRows();
    RowsWay few(dot, k.layout, fewFloatRows);
    int64_t panels = k.layout.panelCount(), items = itemsOf(many);
    auto emitMany = [&] {
      blocks.forEach(
          rows, i64(b, many.block), items,
          [&](Value first, Value count) {
            if (!many.inPlace)
              prepareRows(few, first, count);
          },
          [&](Value first, Value count, Value from, Value to) {
            Value address = preparedRows(few);
            if (many.inPlace)
              address =
                  emit::address(b, frame.buffer(k.shape.rows.parameter), first, many.rowBytes);
            Value whole = frame.min(to, i64(b, panels / many.panels));
            loop(b, from, whole, 1, [&](Value item) {
              emitFloatPanels(many, address, frame.mul(item, i64(b, many.panels)), many.panels,
                              first, count);
            });
            if (int64_t rest = panels % many.panels)
              branch(b, arith::CmpIOp::create(b, arith::CmpIPredicate::eq, to, i64(b, items)), [&] {
                emitFloatPanels(many, address, i64(b, panels - rest), rest, first, count);
              });
          });
    };
    branch(b, atMost(rows, fewFloatRows), [&] { emitOneBlock(few, rows, many.panels); }, emitMany);
  }
  int64_t itemsOf(const FloatRows &many) const {
    return llvm::divideCeil(k.layout.panelCount(), many.panels);
  }
  int64_t floatScratch(const FloatRows &many) const {
    int64_t manyBytes = many.inPlace ? 0 : dot.scratchBytes + many.block * many.rowBytes;
    return std::max(RowsWay(dot, k.layout, fewFloatRows).scratchBytes(), manyBytes);
  }

  /// All rows are one block; an item is so many panels.
  void emitOneBlock(const RowsWay &way, Value rows, int64_t panels) {
    Value from = frame.mul(frame.begin(), i64(b, panels));
    Value to = frame.min(frame.mul(frame.end(), i64(b, panels)), i64(b, k.layout.panelCount()));
    Value first = i64(b, 0);
    blocks.ifNotPrepared(first, [&] { prepareRows(way, first, rows); });
    emitRows(way, first, rows, from, to);
  }

  FloatRows chooseFloatRows() {
    FloatRows many;
    int64_t matmuls = int64_t(k.shape.matmuls.size()), panels = k.layout.panelCount();
    many.inPlace = !k.shape.rows.norm && !k.shape.rows.picks;
    many.rowBytes =
        many.inPlace ? k.shape.rows.stride * 4 : PreparedRows(RowKind::F32, k.layout).stride;
    constexpr int64_t lots = 1 << 20;
    TileSize tile = chooseTile(lots, panels * matmuls, k.target);
    many.panels = std::clamp<int64_t>(tile.panels / matmuls, 1, panels);
    while (tile.rows > 1 &&
           registersOf({tile.rows, many.panels * matmuls}, k.target) > k.target.vectorRegisters)
      --tile.rows;
    // A block's rows stay in the second-level cache while panels pass; of few panels there are more
    // blocks, so that there is something to do for every worker.
    int64_t mostTiles = many.inPlace && panels >= 64 ? 32 : 8;
    int64_t tiles = k.target.l2Bytes / 2 / (many.rowBytes * tile.rows);
    many.block = std::clamp<int64_t>(tiles, 1, mostTiles) * tile.rows;
    many.heights = tileHeights(tile.rows);
    return many;
  }

  /// The columns of a few neighbouring panels for all rows of the block, which lie at `rows`.
  void emitFloatPanels(const FloatRows &many, Value rows, Value panel, int64_t panels,
                       Value firstRow, Value count) {
    Value rowOfBlock = k.toIndex(firstRow);
    forTiles(b, many.heights, count, [&](Value tileRow, RankedTensorType type) {
      auto dots = createDot(rows, tileRow, panel, panels, type, dot, /*ahead=*/0);
      dots->setAttr(kRowBytesName, b.getI64IntegerAttr(many.rowBytes));
      emitPanelEpilogues(dots, panel, panels, type, arith::AddIOp::create(b, rowOfBlock, tileRow));
    });
  }

  KernelCode code(int64_t rowsPerBlock, int64_t itemsPerBlock, int64_t scratchBytes) {
    auto map = [&](AffineExpr expr) {
      return AffineMap::get(0, k.kernel.getDims().size(), expr, b.getContext());
    };
    AffineExpr count = k.resultRowsExpr().ceilDiv(rowsPerBlock);
    return {map(count * itemsPerBlock),
            map(getAffineConstantExpr(RowBlocks::kNumberBytes + scratchBytes, b.getContext()))};
  }

  const DotStrategy &dotOfFew() const {
    return k.target.fineActivations && dot.fine ? *dot.fine : dot;
  }

  Value atMost(Value rows, int64_t most) {
    return arith::CmpIOp::create(b, arith::CmpIPredicate::sle, rows, i64(b, most));
  }

  Value preparedRows(const RowsWay &way) {
    return address(b, blocks.scratch(), way.dot.scratchBytes);
  }
  void prepareRows(const RowsWay &way, Value first, Value count) {
    emitPrepareRows(frame, k.shape.rows, way.prepared,
                    way.dot.unsignedWeights ? k.shape.format->zero : 0, first, count,
                    preparedRows(way));
  }

  void emitRows(const RowsWay &way, Value firstRow, Value count, Value from, Value to) {
    Value rows = preparedRows(way);
    int64_t atOnce = std::max<int64_t>(1, panelsAtOnce / int64_t(k.shape.matmuls.size()));
    Value whole = frame.mul(frame.floorDiv(frame.sub(to, from), atOnce), i64(b, atOnce));
    Value rest = frame.add(from, whole);
    loop(b, from, rest, atOnce,
         [&](Value panel) { emitPanels(way, rows, panel, atOnce, firstRow, count); });
    if (atOnce > 1)
      loop(b, rest, to, 1, [&](Value panel) { emitPanels(way, rows, panel, 1, firstRow, count); });
  }

  /// The columns of a few neighbouring panels for all rows of the block.
  void emitPanels(const RowsWay &way, Value rows, Value panel, int64_t panels, Value firstRow,
                  Value count) {
    Value rowOfBlock = k.toIndex(firstRow);
    forTiles(b, k.target, count, way.most, [&](Value tileRow, RankedTensorType type) {
      auto dots = createDot(rows, tileRow, panel, panels, type, way.dot,
                            /*ahead=*/panels * k.layout.panelBytes());
      emitPanelEpilogues(dots, panel, panels, type, arith::AddIOp::create(b, rowOfBlock, tileRow));
    });
  }

  /// A result for each matmul of each panel, panel by panel.
  exec::TileDotOp createDot(Value rows, Value tileRow, Value panel, int64_t panels,
                            RankedTensorType type, const DotStrategy &dot, int64_t ahead) {
    SmallVector<Value> addresses;
    for (int64_t i = 0; i < panels; ++i)
      for (graph::MatmulOp matmul : k.shape.matmuls)
        addresses.push_back(k.panelAddress(matmul, frame.add(panel, i64(b, i))));
    SmallVector<Type> types(addresses.size(), type);
    return exec::TileDotOp::create(b, types, rows, tileRow, blocks.scratch(), addresses,
                                   k.shape.format->name, dot.name, k.shape.depth, ahead);
  }

  void emitPanelEpilogues(exec::TileDotOp dots, Value panel, int64_t panels, RankedTensorType type,
                          Value row) {
    for (int64_t i = 0; i < panels; ++i) {
      IRMapping tiles;
      for (auto [m, matmul] : llvm::enumerate(k.shape.matmuls))
        tiles.map(matmul.getResult(), dots.getResult(i * k.shape.matmuls.size() + m));
      Value column = k.toIndex(frame.mul(frame.add(panel, i64(b, i)), i64(b, 16)));
      k.emitEpilogue(tiles, type, row, column);
    }
  }

  ContractionKernel k;
  KernelFrame &frame;
  ImplicitLocOpBuilder &b;
  RowBlocks blocks;
  const DotStrategy &dot;
};

} // namespace

FailureOr<KernelCode> kiln::emitContraction(exec::KernelOp kernel, const Target &target,
                                            OpBuilder &builder, const DotStrategy &dot) {
  std::string reason;
  std::optional<ContractionShape> shape = ContractionShape::match(kernel, reason);
  if (!shape)
    return kernel.emitOpError() << "has no contraction: " << reason;
  bool areFloats = &dot == &fmaDot && !refuseFloatTile(*shape->format);
  ContractionEmitter emitter(kernel, target, builder, dot, std::move(*shape));
  return areFloats ? emitter.emitFloats() : emitter.emitRowsOnly();
}

// ---- With a matrix unit ---------------------------------------------------------------------

const KernelEmitter &kiln::matrixContractionEmitter() {
  static constexpr KernelEmitter emitter = {
      "contraction-matrix",
      [](exec::KernelOp kernel, const Target &target) -> std::optional<std::string> {
        std::string reason;
        std::optional<ContractionShape> shape = ContractionShape::match(kernel, reason);
        if (!shape)
          return reason;
        if (!findDot(*shape->format, target))
          return "no way to multiply few rows";
        return MatrixContraction::refuse(*shape, target);
      },
      [](exec::KernelOp kernel, const Target &target, OpBuilder &builder) -> FailureOr<KernelCode> {
        std::string reason;
        std::optional<ContractionShape> shape = ContractionShape::match(kernel, reason);
        if (!shape)
          return kernel.emitOpError() << "has no contraction: " << reason;
        const DotStrategy &dot = *findDot(*shape->format, target);
        return ContractionEmitter(kernel, target, builder, dot, std::move(*shape))
            .emitWithMatrixUnit();
      }};
  return emitter;
}
