// The loops around a matrix unit. For a block of rows, kept as tiles [row tile][group][16][32], the
// items' depths are walked in chunks, so that the columns of a chunk stay in the nearest cache:
//
//   expand the first chunk of the first item's panels
//   for each item (two column tiles), for each chunk of its depth
//     for each pair of row tiles
//       for each group of 32 depths in the chunk
//         2 x 2 products of tiles                  four tiles of sums stay in registers
//         expand a piece of the next chunk's panels into the other buffer
//       store the sums; after the last chunk the region's elementwise ops and stores
//
// Rows that are too deep to stay in the second-level cache, all of a block, are walked the other
// way round: a chunk of their depth is prepared and meets several items, whose sums are kept,
// before the next chunk is.
//
// A product keeps the unit busy for many cycles in which the vector units have nothing to do, so
// the expansion costs little. It is spread over as many row pairs as a full block has; what a
// smaller block leaves over follows at the end. Rows past the block's are zeros up to a multiple
// of 32.
#include "codegen/MatrixContraction.h"
#include "codegen/EmitSupport.h"
#include "codegen/RowBlocks.h"
#include "codegen/TileProducts.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace kiln;
using namespace kiln::emit;

static constexpr int64_t pairRows = 2 * MatrixUnit::kRows;
static constexpr int64_t tileBytes = MatrixUnit::kTileBytes;
static constexpr int64_t sumsBytes = 4 * tileBytes; // of a row pair: [32 rows][32 columns] f32

std::optional<std::string> MatrixContraction::refuse(const ContractionShape &shape,
                                                     const Target &target) {
  if (!target.matrix)
    return "the target has no matrix unit";
  bool isSplit = shape.format->id == FormatId::F32;
  if (shape.matmuls.size() > (isSplit ? 1 : 2))
    return "too many matmuls share the rows";
  return ExpandPanel::refuse(*shape.format);
}

/// Depth groups of a chunk: as even as they can be, and few of which the buffers stay small.
static int64_t chooseChunkGroups(int64_t groups, int64_t parts) {
  int64_t most = parts == 1 ? 64 : 16;
  if (parts > 1) // all alike where that is possible, for sweeps
    for (int64_t chunk = std::min(groups, most); chunk >= most / 2; --chunk)
      if (groups % chunk == 0)
        return chunk;
  return llvm::divideCeil(groups, llvm::divideCeil(groups, most));
}

/// Rows whose tiles leave room in the second-level cache for the columns' two buffers. No more than
/// suffice to hide the expansion: of fewer blocks than workers each would be prepared by several.
static constexpr int64_t mostPairs = 8;
static int64_t chooseBlockRows(int64_t tiles, int64_t bufferBytes, int64_t l2Bytes) {
  int64_t perPair = tiles * 2 * tileBytes;
  int64_t pairs = (l2Bytes - l2Bytes / 8 - 2 * bufferBytes) / perPair;
  return std::clamp<int64_t>(pairs, 2, mostPairs) * pairRows;
}

MatrixContraction::MatrixContraction(ContractionKernel &kernel, Value scratch)
    : k(kernel), frame(kernel.frame), b(kernel.b), unit(*kernel.target.matrix), scratch(scratch),
      expand(b, k.layout, k.target.lookUpBytes), parts(expand.parts()),
      groups(k.layout.paddedDepth() / MatrixUnit::kDepth),
      chunkGroups(chooseChunkGroups(groups, parts)), chunks(llvm::divideCeil(groups, chunkGroups)),
      bufferBytes(expand.isIdentity() ? 0 : chunkGroups * parts * 2 * tileBytes),
      blockRows(chooseBlockRows(groups * parts, bufferBytes, k.target.l2Bytes)), sweepItems(0) {
  // Of split numbers, whose tiles and whose expansion are several times as large.
  bool isEven = k.shape.depth % MatrixUnit::kDepth == 0 && groups % chunkGroups == 0;
  constexpr int64_t fewPairs = 4, mostItems = 24;
  if (parts > 1 && blockRows < fewPairs * pairRows && isEven && !k.shape.rows.norm) {
    sweepItems = std::min(itemsPerBlock(), mostItems);
    blockRows = mostPairs * pairRows;
  }
  auto reserve = [&](int64_t size) {
    int64_t offset = bytes;
    bytes += size;
    return offset;
  };
  configOffset = reserve(MatrixUnit::kConfigBytes);
  sumsOffset = reserve((chunks > 1 ? blockRows / pairRows : 1) * std::max<int64_t>(sweepItems, 1) *
                       sumsBytes);
  rowsOffset = reserve(blockRows / MatrixUnit::kRows * groupsAtOnce() * parts * tileBytes);
  columnsOffset = reserve(2 * bufferBytes);
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
  if (sweepItems)
    return;
  emitPrepareTiles(frame, k.shape.rows, unit, groups, parts, first, count, at(rowsOffset));
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

static constexpr int64_t piecesPerGroup = 2 * ExpandPanel::kUnits;

/// What expands piece `index` (i64, below piecesPerGroup) of each group of a step's columns; the
/// pieces of the first column tile come first. What the step `later` will need of the same piece is
/// fetched meanwhile.
MatrixContraction::Piece MatrixContraction::pieceOf(const Step &step, const Step &later,
                                                    Value index) {
  Value isFirst =
      arith::CmpIOp::create(b, arith::CmpIPredicate::slt, index, i64(b, ExpandPanel::kUnits));
  auto panelOfStep = [&](const Step &s) -> Value {
    return arith::SelectOp::create(b, isFirst, weightsOf(s.item, 0), weightsOf(s.item, 1));
  };
  Value panel = panelOfStep(step);
  Value soon = expand.codesOf(panelOfStep(later), later.firstGroup);
  Value tiles =
      address(b, step.buffer, frame.floorDiv(index, ExpandPanel::kUnits), parts * tileBytes);
  Value part = arith::AndIOp::create(b, index, i64(b, ExpandPanel::kUnits - 1));
  return {panel, tiles, part, address(b, soon, part, std::max<int64_t>(expand.pieceBytes(), 64))};
}

/// Expands a piece of one group, the i-th (i64) of the step's chunk.
void MatrixContraction::expandPiece(const Step &step, const Piece &piece, Value i) {
  Value soon = expand.codesOf(piece.soon, i);
  for (int64_t line = 0; line < std::max<int64_t>(expand.pieceBytes(), 64); line += 64)
    LLVM::Prefetch::create(b, address(b, soon, line), /*rw=*/0, /*hint=*/2, /*cache=*/1);
  expand.emitUnit(piece.panel, frame.add(step.firstGroup, i), piece.part,
                  address(b, piece.tiles, i, 2 * parts * tileBytes));
}

/// Expands the pieces [from, piecesPerGroup) of a step.
void MatrixContraction::expandFrom(Value from, const Step &step, const Step &later) {
  loop(b, from, i64(b, piecesPerGroup), 1, [&](Value index) {
    Piece piece = pieceOf(step, later, index);
    loop(b, i64(b, 0), step.groups, 1, [&](Value i) { expandPiece(step, piece, i); });
  });
}

// ---- Products -------------------------------------------------------------------------------

/// Step number `index` (i64) of a range that begins with item `from`: chunks of an item follow each
/// other, or it is the same `chunk` of all items.
MatrixContraction::Step MatrixContraction::stepAt(Value index, Value from, Value chunk) {
  Step step;
  step.number = index;
  step.item = frame.add(from, chunk ? index : frame.floorDiv(index, chunks));
  step.chunk = chunk         ? chunk
               : chunks == 1 ? i64(b, 0)
                             : arith::RemUIOp::create(b, index, i64(b, chunks)).getResult();
  step.firstGroup = frame.mul(step.chunk, i64(b, chunkGroups));
  step.groups = frame.min(i64(b, chunkGroups), frame.sub(i64(b, groups), step.firstGroup));
  Value parity = arith::AndIOp::create(b, index, i64(b, 1));
  step.buffer = address(b, at(columnsOffset), parity, bufferBytes);
  return step;
}

/// Where a row pair's sums are kept.
Value MatrixContraction::sumsOf(Value rowPair, const Step &step) {
  if (chunks == 1)
    return at(sumsOffset);
  Value sums = address(b, at(sumsOffset), rowPair, sumsBytes);
  return sweepItems ? address(b, sums, step.number, blockRows / pairRows * sumsBytes) : sums;
}

static int64_t sumsTileOffset(int64_t i, int64_t j) { return i * 2 * tileBytes + j * 64; }

/// `rowTiles`: of the pair, that hold rows.
void MatrixContraction::multiplyRows(Value rowPair, const Step &step, int64_t rowTiles,
                                     llvm::function_ref<void(Value i)> meanwhile) {
  Value rows[2], columns[2], sums = sumsOf(rowPair, step);
  for (int64_t i = 0; i < 2; ++i) {
    int64_t rowBytes = groupsAtOnce() * parts * tileBytes;
    rows[i] = address(b, at(rowsOffset), rowPair, 2 * rowBytes, i * rowBytes);
    if (!sweepItems)
      rows[i] = address(b, rows[i], step.firstGroup, parts * tileBytes);
    columns[i] = expand.isIdentity()
                     ? address(b, weightsOf(step.item, i), step.firstGroup, tileBytes)
                     : address(b, step.buffer, i * parts * tileBytes);
  }
  int64_t columnStep = expand.isIdentity() ? tileBytes : 2 * parts * tileBytes;
  auto forSums = [&](llvm::function_ref<void(int64_t tile, int64_t offset)> body) {
    for (int64_t i = 0; i < rowTiles; ++i)
      for (int64_t j = 0; j < 2; ++j)
        body(2 * i + j, sumsTileOffset(i, j));
  };
  auto zero = [&] { forSums([&](int64_t tile, int64_t) { unit.zero(b, tile); }); };
  auto reload = [&] {
    forSums(
        [&](int64_t tile, int64_t offset) { unit.load(b, tile, address(b, sums, offset), 128); });
  };
  if (chunks == 1)
    zero();
  else
    branch(b, arith::CmpIOp::create(b, arith::CmpIPredicate::eq, step.chunk, i64(b, 0)), zero,
           reload);
  loop(b, i64(b, 0), step.groups, 1, [&](Value group) {
    emitTileProducts(
        b, unit, parts, rowTiles,
        [&](int64_t i, int64_t part) {
          return address(b, rows[i], group, parts * tileBytes, part * tileBytes);
        },
        [&](int64_t j, int64_t part) {
          return address(b, columns[j], group, columnStep, part * tileBytes);
        });
    meanwhile(group);
  });
  forSums(
      [&](int64_t tile, int64_t offset) { unit.store(b, tile, address(b, sums, offset), 128); });
}

/// From a row pair's sums to results: rows firstRow .. firstRow + left - 1, at most 32.
void MatrixContraction::finish(Value rowPair, const Step &step, Value firstRow, Value left) {
  Value count = frame.min(left, i64(b, pairRows)), item = step.item;
  Value row = k.toIndex(firstRow), base = sumsOf(rowPair, step);
  auto emitTiles = [&](ArrayRef<std::pair<graph::MatmulOp, int64_t>> sums, Value panel) {
    Value column = k.toIndex(frame.mul(panel, i64(b, MatrixUnit::kColumns)));
    forTiles(b, k.target, count, pairRows, [&](Value tileRow, RankedTensorType type) {
      IRMapping tiles;
      for (auto [matmul, j] : sums)
        tiles.map(matmul.getResult(),
                  exec::TileLoadOp::create(b, type, base, tileRow,
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
  if (!sweepItems)
    return multiplySteps(first, count, from, frame.mul(frame.sub(to, from), i64(b, chunks)), {});
  loop(b, from, to, sweepItems, [&](Value item) {
    Value items = frame.min(frame.sub(to, item), i64(b, sweepItems));
    loop(b, i64(b, 0), i64(b, chunks), 1, [&](Value chunk) {
      emitPrepareTiles(frame, k.shape.rows, unit, chunkGroups, parts, first, count, at(rowsOffset),
                       frame.mul(chunk, i64(b, chunkGroups)));
      multiplySteps(first, count, item, items, chunk);
    });
  });
}

void MatrixContraction::multiplySteps(Value first, Value count, Value from, Value steps,
                                      Value chunk) {
  bool expands = !expand.isIdentity();
  // A power of two, as piecesPerGroup is, so that a full block expands everything on the way.
  int64_t pairsOfBlock = int64_t(llvm::bit_floor(uint64_t(blockRows / pairRows)));
  int64_t atOnce = std::max<int64_t>(1, piecesPerGroup / pairsOfBlock);
  Value pairs = frame.ceilDiv(count, pairRows);
  if (expands)
    expandFrom(i64(b, 0), stepAt(i64(b, 0), from, chunk), stepAt(i64(b, 1), from, chunk));
  loop(b, i64(b, 0), steps, 1, [&](Value index) {
    Step step = stepAt(index, from, chunk), next = stepAt(frame.add(index, i64(b, 1)), from, chunk);
    Step later = stepAt(frame.add(index, i64(b, 2)), from, chunk);
    Value hasNext =
        arith::CmpIOp::create(b, arith::CmpIPredicate::slt, frame.add(index, i64(b, 1)), steps);
    Value expandingPairs =
        arith::SelectOp::create(b, hasNext, i64(b, piecesPerGroup / atOnce), i64(b, 0));
    loop(b, i64(b, 0), pairs, 1, [&](Value pair) {
      Value done = frame.mul(pair, i64(b, pairRows)), left = frame.sub(count, done);
      auto forTilesOf = [&](llvm::function_ref<void(Value)> meanwhile) {
        Value hasBoth =
            arith::CmpIOp::create(b, arith::CmpIPredicate::sgt, left, i64(b, MatrixUnit::kRows));
        branch(
            b, hasBoth, [&] { multiplyRows(pair, step, 2, meanwhile); },
            [&] { multiplyRows(pair, step, 1, meanwhile); });
      };
      auto plain = [&] { forTilesOf([](Value) {}); };
      auto expanding = [&] {
        SmallVector<Piece> pieces;
        for (int64_t i = 0; i < atOnce; ++i)
          pieces.push_back(
              pieceOf(next, later, frame.add(frame.mul(pair, i64(b, atOnce)), i64(b, i))));
        forTilesOf([&](Value i) {
          for (const Piece &piece : pieces)
            expandPiece(next, piece, i);
        });
        // The next chunk may have more groups than this one.
        if (groups % chunkGroups)
          loop(b, step.groups, next.groups, 1, [&](Value i) {
            for (const Piece &piece : pieces)
              expandPiece(next, piece, i);
          });
      };
      if (expands)
        branch(b, arith::CmpIOp::create(b, arith::CmpIPredicate::slt, pair, expandingPairs),
               expanding, plain);
      else
        plain();
      auto finishPair = [&] { finish(pair, step, frame.add(first, done), left); };
      if (chunks == 1)
        finishPair();
      else
        branch(b,
               arith::CmpIOp::create(b, arith::CmpIPredicate::eq, step.chunk, i64(b, chunks - 1)),
               finishPair);
    });
    if (expands)
      branch(b, hasNext, [&] { expandFrom(frame.mul(pairs, i64(b, atOnce)), next, later); });
  });
}
