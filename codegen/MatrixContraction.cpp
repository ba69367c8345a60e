// The loops around a matrix unit. For a block of rows, kept as tiles [row tile][group][16][32]:
//
//   expand the first item's panels
//   for each item (two column tiles)
//     for each pair of row tiles
//       for each group of 32 depths
//         2 x 2 products of tiles                  four tiles of sums stay in registers
//         expand a piece of the next item's panels into the other buffer
//       store the sums; the region's elementwise ops and stores
//
// A product keeps the unit busy for many cycles in which the vector units have nothing to do, so
// the expansion costs next to nothing. It is spread over as many row pairs as a full block has;
// what a smaller block leaves over follows at the end. Rows past the block's are zeros up to a
// multiple of 32.
#include "codegen/MatrixContraction.h"
#include "codegen/EmitSupport.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace kiln;
using namespace kiln::emit;

static constexpr int64_t pairRows = 2 * MatrixUnit::kRows;
static constexpr int64_t tileBytes = MatrixUnit::kTileBytes;
// Registers: sums 0..3 as [row tile][column tile], then rows, then columns.
static constexpr int64_t firstRowTile = 4, firstColumnTile = 6;

std::optional<std::string> MatrixContraction::refuse(const ContractionShape &shape,
                                                     const Target &target) {
  if (!target.matrix)
    return "the target has no matrix unit";
  if (shape.matmuls.size() > 2)
    return "more than two matmuls share the rows";
  return ExpandPanel::refuse(*shape.format);
}

/// Rows whose tiles leave room in the second-level cache for the columns' two buffers.
static int64_t chooseBlockRows(int64_t groups, int64_t l2Bytes) {
  int64_t columnBuffers = 2 * groups * 2 * tileBytes;
  int64_t perPair = groups * 2 * tileBytes;
  int64_t pairs = (l2Bytes - l2Bytes / 8 - columnBuffers) / perPair;
  return std::clamp<int64_t>(pairs, 2, 16) * pairRows;
}

MatrixContraction::MatrixContraction(ContractionKernel &kernel, Value scratch)
    : k(kernel), frame(kernel.frame), b(kernel.b), unit(*kernel.target.matrix), scratch(scratch),
      expand(b, unit, k.layout), groups(k.layout.paddedDepth() / MatrixUnit::kDepth),
      blockRows(chooseBlockRows(groups, k.target.l2Bytes)) {
  auto reserve = [&](int64_t size) {
    int64_t offset = bytes;
    bytes += size;
    return offset;
  };
  configOffset = reserve(MatrixUnit::kConfigBytes);
  sumsOffset = reserve(4 * tileBytes);
  rowsOffset = reserve(blockRows / MatrixUnit::kRows * groups * tileBytes);
  columnsOffset = reserve(expand.isIdentity() ? 0 : 2 * groups * 2 * tileBytes);
}

Value MatrixContraction::at(int64_t offset) { return address(b, scratch, offset); }
Value MatrixContraction::configuration() { return at(configOffset); }

int64_t MatrixContraction::itemsPerBlock() const {
  return llvm::divideCeil(k.layout.panelCount(), panelsPerItem());
}

Value MatrixContraction::rowsPerBlock(Value rows) {
  Value blocks = frame.ceilDiv(rows, blockRows);
  Value even = arith::CeilDivUIOp::create(b, rows, blocks);
  return frame.mul(frame.ceilDiv(even, pairRows), i64(b, pairRows));
}

// ---- Rows -----------------------------------------------------------------------------------

void MatrixContraction::prepare(Value first, Value count) {
  emitPrepareTiles(frame, k.shape.rows, unit, groups, first, count, at(rowsOffset));
}

// ---- Columns --------------------------------------------------------------------------------

/// The panel behind a column tile; past the last one the last, whose results are not stored again.
Value MatrixContraction::panelOf(Value item, int64_t column) {
  if (k.shape.matmuls.size() == 2)
    return item;
  Value panel = frame.add(frame.mul(item, i64(b, 2)), i64(b, column));
  if (column == 1 && k.layout.panelCount() % 2)
    panel = frame.min(panel, i64(b, k.layout.panelCount() - 1));
  return panel;
}

Value MatrixContraction::weightsOf(Value item, int64_t column) {
  graph::MatmulOp matmul = k.shape.matmuls[k.shape.matmuls.size() == 2 ? column : 0];
  return k.panelAddress(matmul, panelOf(item, column));
}

static constexpr int64_t unitsPerGroup = 2 * ExpandPanel::kUnits;

/// Expands piece `index` (i64, below unitsPerGroup) of each of an item's groups into `buffer`; the
/// pieces of the first column tile come first. Returns what expands it in one group.
std::function<void(Value group)> MatrixContraction::expandPiece(Value item, Value buffer,
                                                                Value index) {
  Value isFirst =
      arith::CmpIOp::create(b, arith::CmpIPredicate::slt, index, i64(b, ExpandPanel::kUnits));
  Value panel = arith::SelectOp::create(b, isFirst, weightsOf(item, 0), weightsOf(item, 1));
  Value tiles = address(b, buffer, frame.floorDiv(index, ExpandPanel::kUnits), tileBytes);
  Value piece = arith::AndIOp::create(b, index, i64(b, ExpandPanel::kUnits - 1));
  return [=](Value group) {
    expand.emitUnit(panel, group, piece, address(b, tiles, group, 2 * tileBytes));
  };
}

/// Expands the pieces [from, unitsPerGroup) of an item.
void MatrixContraction::expandFrom(Value from, Value item, Value buffer) {
  loop(b, from, i64(b, unitsPerGroup), 1, [&](Value index) {
    auto emitGroup = expandPiece(item, buffer, index);
    loop(b, i64(b, 0), i64(b, groups), 1, [&](Value group) { emitGroup(group); });
  });
}

// ---- Products -------------------------------------------------------------------------------

void MatrixContraction::multiplyRows(Value rowPair, Value item, Value buffer,
                                     llvm::function_ref<void(Value group)> meanwhile) {
  Value rows[2], columns[2];
  for (int64_t i = 0; i < 2; ++i) {
    rows[i] = address(b, at(rowsOffset), rowPair, 2 * groups * tileBytes, i * groups * tileBytes);
    columns[i] = expand.isIdentity() ? weightsOf(item, i) : address(b, buffer, i * tileBytes);
  }
  int64_t columnStep = expand.isIdentity() ? tileBytes : 2 * tileBytes;
  for (int64_t sums = 0; sums < 4; ++sums)
    unit.zero(b, sums);
  loop(b, i64(b, 0), i64(b, groups), 1, [&](Value group) {
    for (int64_t j = 0; j < 2; ++j)
      unit.load(b, firstColumnTile + j, address(b, columns[j], group, columnStep), 64);
    for (int64_t i = 0; i < 2; ++i) {
      unit.load(b, firstRowTile + i, address(b, rows[i], group, tileBytes), 64);
      for (int64_t j = 0; j < 2; ++j)
        unit.multiply(b, 2 * i + j, firstRowTile + i, firstColumnTile + j);
    }
    meanwhile(group);
  });
  for (int64_t i = 0; i < 2; ++i)
    for (int64_t j = 0; j < 2; ++j)
      unit.store(b, 2 * i + j, at(sumsOffset + i * 2 * tileBytes + j * 64), 128);
}

/// From sums to results: rows firstRow .. firstRow + left - 1, at most 32.
void MatrixContraction::finish(Value firstRow, Value left, Value item) {
  Value count = frame.min(left, i64(b, pairRows));
  Value row = k.toIndex(firstRow);
  auto emitTiles = [&](ArrayRef<std::pair<graph::MatmulOp, int64_t>> sums, Value panel) {
    Value column = k.toIndex(frame.mul(panel, i64(b, MatrixUnit::kColumns)));
    k.forTiles(count, [&](Value tileRow, RankedTensorType type) {
      IRMapping tiles;
      for (auto [matmul, j] : sums)
        tiles.map(matmul.getResult(),
                  exec::TileLoadOp::create(b, type, at(sumsOffset), tileRow,
                                           arith::ConstantIndexOp::create(b, 16 * j), 32, 32)
                      .getResult());
      k.emitEpilogue(tiles, type, arith::AddIOp::create(b, row, tileRow), column);
    });
  };
  if (k.shape.matmuls.size() == 2)
    return emitTiles({{k.shape.matmuls[0], 0}, {k.shape.matmuls[1], 1}}, item);
  Value panel = frame.mul(item, i64(b, 2));
  emitTiles({{k.shape.matmuls[0], 0}}, panel);
  Value second = frame.add(panel, i64(b, 1));
  auto emitSecond = [&] { emitTiles({{k.shape.matmuls[0], 1}}, second); };
  if (k.layout.panelCount() % 2 == 0)
    return emitSecond();
  branch(b,
         arith::CmpIOp::create(b, arith::CmpIPredicate::slt, second, i64(b, k.layout.panelCount())),
         emitSecond);
}

void MatrixContraction::multiply(Value first, Value count, Value from, Value to) {
  bool expands = !expand.isIdentity();
  int64_t piecesAtOnce = std::max<int64_t>(
      1, unitsPerGroup / int64_t(llvm::bit_floor(uint64_t(blockRows / pairRows))));
  Value pairs = frame.ceilDiv(count, pairRows);
  if (expands)
    expandFrom(i64(b, 0), from, at(columnsOffset));
  loop(b, from, to, 1, [&](Value item) {
    Value next = frame.add(item, i64(b, 1));
    Value hasNext = arith::CmpIOp::create(b, arith::CmpIPredicate::slt, next, to);
    Value parity = arith::AndIOp::create(b, frame.sub(item, from), i64(b, 1));
    int64_t bufferBytes = groups * 2 * tileBytes;
    Value buffer = address(b, at(columnsOffset), parity, bufferBytes);
    Value other = address(b, at(columnsOffset), frame.sub(i64(b, 1), parity), bufferBytes);
    Value expandingPairs = arith::SelectOp::create(
        b, hasNext, i64(b, expands ? unitsPerGroup / piecesAtOnce : 0), i64(b, 0));
    loop(b, i64(b, 0), pairs, 1, [&](Value pair) {
      auto plain = [&] { multiplyRows(pair, item, buffer, [](Value) {}); };
      auto expanding = [&] {
        SmallVector<std::function<void(Value)>> pieces;
        for (int64_t i = 0; i < piecesAtOnce; ++i)
          pieces.push_back(expandPiece(
              next, other, frame.add(frame.mul(pair, i64(b, piecesAtOnce)), i64(b, i))));
        multiplyRows(pair, item, buffer, [&](Value group) {
          for (auto &emitPiece : pieces)
            emitPiece(group);
        });
      };
      if (expands)
        branch(b, arith::CmpIOp::create(b, arith::CmpIPredicate::slt, pair, expandingPairs),
               expanding, plain);
      else
        plain();
      Value done = frame.mul(pair, i64(b, pairRows));
      finish(frame.add(first, done), frame.sub(count, done), item);
    });
    if (expands)
      branch(b, hasNext, [&] { expandFrom(frame.mul(pairs, i64(b, piecesAtOnce)), next, other); });
  });
}
