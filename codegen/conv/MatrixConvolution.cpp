// Convolution of floats through a matrix unit, each number as the sum of three bf16 (SplitFloat):
//
//   for each item (block of an image's lines, some column pairs)
//     what the block's taps see of the image into scratch        ImagePlanes, where the item before
//                                                                had another block
//     for each column pair, for each step of its depth (taps, or groups of a tap's channels)
//       for each pair of row tiles
//         for each group of 32 channels in the step
//           2 x 2 products of tiles
//           expand a piece of the next step's weights into the other buffer
//         after the last step the elementwise ops, stores
//
// Steps are so short that their weights stay in the nearest cache; between them a row pair's sums
// are kept in scratch. Rows are positions from anywhere on, as ImagePlanes counts them: what falls
// between two lines of the result is computed and not stored.
#include "codegen/EmitSupport.h"
#include "codegen/ExpandPanel.h"
#include "codegen/KernelFrame.h"
#include "codegen/Target.h"
#include "codegen/TileProducts.h"
#include "codegen/conv/Convolution.h"
#include "codegen/conv/ImagePlanes.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace kiln;
using namespace kiln::emit;

static constexpr int64_t lanes = PanelLayout::kPanelRows;
static constexpr int64_t tileBytes = MatrixUnit::kTileBytes;
static constexpr int64_t pairRows = 2 * MatrixUnit::kRows;
static constexpr int64_t sumsBytes = 4 * tileBytes; // of a row pair: [32 rows][32 columns] f32
static constexpr int64_t columnsBytes = 2 * kFloatParts * tileBytes; // of a group of a column pair
/// Depths that an expanded piece covers.
static constexpr int64_t pieceDepth = MatrixUnit::kDepth / ExpandPanel::kUnits;
static constexpr int64_t piecesPerGroup = 2 * ExpandPanel::kUnits;
/// Bytes of a panel's weights that a group and a piece of it are made of.
static constexpr int64_t groupBytes = MatrixUnit::kDepth * lanes * 4;
static constexpr int64_t pieceBytes = pieceDepth * lanes * 4;

/// Cycles, as measured on Sapphire Rapids: of a group's products with a column pair for a tile of
/// rows, of bringing that tile in, of a product by vectors; where tiles run the clock is slower.
static constexpr double ofProducts = 240, ofPreparing = 500, ofVector = 0.8 / (32 * 0.9);

static int64_t columnPairsOf(const ConvolutionShape &shape) {
  return llvm::divideCeil(shape.outputs, 2 * lanes);
}

namespace {
/// How the work is cut. Static, as all that it follows from.
struct Cut {
  int64_t lines;        // of a block
  int64_t pairs;        // of row tiles, of a whole block
  int64_t columnPairs;  // of an item
  int64_t tapsOfStep;   // one, or all groups of each
  int64_t groupsOfStep; // of a tap

  int64_t columnItems(const ConvolutionShape &shape) const {
    return llvm::divideCeil(columnPairsOf(shape), columnPairs);
  }
};
} // namespace

/// Groups of a step: so many that sums are seldom moved, so few that their weights stay near.
static int64_t chooseGroups(int64_t groups) {
  constexpr int64_t enough = 3, most = 6;
  for (int64_t count = std::min(groups, most); count >= std::min(groups, enough); --count)
    if (groups % count == 0)
      return count;
  for (int64_t count = most + 1; count < groups; ++count)
    if (groups % count == 0)
      return count;
  return groups;
}

/// Blocks whose planes stay in the second-level cache; then smaller items, until there is something
/// to do for every worker: less of the lines where the weights stay near, for they pass once for
/// each block, and less of the columns, for each of whose items the block is brought in.
static Cut chooseCut(const ConvolutionShape &shape, const Target &target) {
  constexpr int64_t mostPairs = 24, fewPairs = 4, items = 8;
  constexpr double enough = 2.5e4; // cycles of an item
  ImagePlanes one(shape, 1);
  int64_t all = one.resultLines(), groups = one.groups();
  Cut cut{};
  cut.columnPairs = columnPairsOf(shape);
  auto setLines = [&](int64_t lines) {
    cut.lines = lines;
    cut.pairs = llvm::divideCeil(lines * ImagePlanes(shape, lines).width(), pairRows);
  };
  auto fewerLines = [&] { // one block more, as even as can be
    int64_t lines = llvm::divideCeil(all, llvm::divideCeil(all, cut.lines) + 1);
    setLines(std::min(lines, cut.lines - 1));
  };
  // An item twice as large as it has to be, bringing in included, and one of too few.
  auto isLarge = [&](double preparing) {
    int64_t count = llvm::divideCeil(all, cut.lines) * cut.columnItems(shape);
    double tiles = double(2 * cut.pairs * groups);
    double products = tiles * double(shape.taps() * cut.columnPairs) * ofProducts;
    return count < items && products > 2 * std::max(enough, 4 * tiles * preparing);
  };
  setLines(all);
  while (cut.lines > 1 &&
         (ImagePlanes(shape, cut.lines).bytes() > target.l2Bytes / 2 || cut.pairs > mostPairs))
    fewerLines();
  if (shape.layout().totalBytes() <= target.l2Bytes / 2)
    while (cut.lines > 1 && cut.pairs > fewPairs && isLarge(0))
      fewerLines();
  while (cut.columnPairs > 1 && isLarge(ofPreparing))
    cut.columnPairs = llvm::divideCeil(cut.columnPairs, 2);
  cut.groupsOfStep = chooseGroups(groups);
  cut.tapsOfStep = cut.groupsOfStep == groups
                       ? std::max<int64_t>(1, chooseGroups(shape.taps() * groups) / groups)
                       : 1;
  while (shape.taps() % cut.tapsOfStep)
    --cut.tapsOfStep;
  return cut;
}

static std::optional<std::string> refuse(exec::KernelOp kernel, const Target &target) {
  if (!target.matrix)
    return "the target has no matrix unit";
  std::string reason;
  std::optional<ConvolutionShape> shape = ConvolutionShape::match(kernel, reason);
  if (!shape)
    return reason;
  if (shape->format->id != FormatId::F32)
    return "its weights are " + shape->format->name.str() + ", not f32";
  if (shape->groups > 1)
    return "it has groups";
  if (shape->depth() % pieceDepth)
    return "its channels are no multiple of 8";
  if (std::optional<std::string> why = ImagePlanes::refuse(*shape))
    return why;
  constexpr double gain = 1.1, fewTiles = 8;
  ImagePlanes planes(*shape, shape->spatial() == 2 ? shape->resultExtent(0) : 1);
  int64_t positions = planes.resultLines() * planes.resultWidth();
  double tiles =
      double(llvm::divideCeil(planes.resultLines() * planes.width(), int64_t(MatrixUnit::kRows)));
  if (tiles < fewTiles)
    return "too few positions for the expansion of weights to hide behind";
  Cut cut = chooseCut(*shape, target);
  if (ImagePlanes(*shape, cut.lines).bytes() > target.l2Bytes)
    return "what a line sees of the image does not fit the second-level cache";
  double matrix = tiles * double(planes.groups()) *
                  (double(shape->taps() * columnPairsOf(*shape)) * ofProducts +
                   double(cut.columnItems(*shape)) * ofPreparing);
  double vectors =
      double(positions * shape->outputs) * double(shape->taps() * shape->depth()) * ofVector;
  if (matrix * gain > vectors)
    return "vectors are expected to be as fast";
  return std::nullopt;
}

namespace {

class MatrixConvolution {
public:
  MatrixConvolution(exec::KernelOp kernel, const Target &target, OpBuilder &builder,
                    ConvolutionShape matched)
      : shape(std::move(matched)), frame(kernel, builder), b(frame.builder()), unit(*target.matrix),
        layout(shape.layout()), expand(b, layout, target.lookUpBytes),
        cut(chooseCut(shape, target)), planes(shape, cut.lines) {
    auto reserve = [&](int64_t size) {
      int64_t offset = bytes;
      bytes += int64_t(llvm::alignTo(uint64_t(size), 64));
      return offset;
    };
    configOffset = reserve(MatrixUnit::kConfigBytes);
    tapsOffset = reserve(shape.taps() * 8);
    sumsOffset = reserve((steps() > 1 ? cut.pairs : 1) * sumsBytes);
    columnsOffset = reserve(2 * bufferBytes());
    planesOffset = reserve(planes.bytes());
  }

  KernelCode emit();

private:
  /// A step of a column pair's depth. Values are i64, the buffer an address.
  struct Step {
    Value pair, inner, tap, group, buffer;
  };
  /// One of the eight parts that the work of expanding a step's weights falls into.
  struct Piece {
    Value panel, soon, tiles, part;
  };

  int64_t chunksOfTap() const { return planes.groups() / cut.groupsOfStep; }
  /// Of a column pair.
  int64_t steps() const { return shape.taps() / cut.tapsOfStep * chunksOfTap(); }
  /// Of a panel's weights.
  int64_t tapBytes() const { return shape.depth() * lanes * 4; }
  int64_t bufferBytes() const { return cut.tapsOfStep * cut.groupsOfStep * columnsBytes; }
  int64_t blocks() const { return llvm::divideCeil(planes.resultLines(), cut.lines); }
  int64_t columnItems() const { return cut.columnItems(shape); }
  Value at(int64_t offset) { return address(b, frame.scratch(), offset); }
  Value isLess(Value left, Value right) {
    return arith::CmpIOp::create(b, arith::CmpIPredicate::slt, left, right);
  }
  Value remainder(Value left, int64_t right) {
    return right == 1 ? i64(b, 0) : arith::RemUIOp::create(b, left, i64(b, right)).getResult();
  }
  Value sumsOf(Value rowPair) {
    return steps() == 1 ? at(sumsOffset) : address(b, at(sumsOffset), rowPair, sumsBytes);
  }
  Value panelAt(Value pair, Value column);

  Value emitItem(Value item, Value prepared);
  void multiplyBlock(Value image, Value first, Value lines, Value from, Value to);
  Step stepAt(Value index, Value from);
  Piece pieceOf(const Step &step, const Step &later, Value index);
  void expandPiece(const Step &step, const Piece &piece, Value tap, Value group);
  void expandFrom(Value from, const Step &step, const Step &later);
  void forGroups(llvm::function_ref<void(Value tap, Value group)> body);
  void multiplyRows(Value rowPair, const Step &step, int64_t rowTiles,
                    llvm::function_ref<void(Value tap, Value group)> meanwhile);
  void finish(Value rowPair, Value pair, Value positions, Value firstRow);
  void finishRows(Value sums, Value first, Value count, Value row, Value pair, int64_t panels,
                  ArrayRef<Value> bias);

  ConvolutionShape shape;
  KernelFrame frame;
  ImplicitLocOpBuilder &b;
  const MatrixUnit &unit;
  PanelLayout layout;
  ExpandPanel expand;
  Cut cut;
  ImagePlanes planes;
  int64_t configOffset = 0, tapsOffset = 0, sumsOffset = 0, columnsOffset = 0, planesOffset = 0,
          bytes = 0;
};

} // namespace

// ---- Items --------------------------------------------------------------------------------------

KernelCode MatrixConvolution::emit() {
  for (int64_t tap = 0; tap < shape.taps(); ++tap)
    store(b, i64(b, planes.tapOffset(tap)), at(tapsOffset + tap * 8), 8);
  unit.begin(b, at(configOffset));
  loop(b, frame.begin(), frame.end(), 1, {i64(b, -1)}, [&](Value item, ValueRange prepared) {
    return SmallVector<Value>{emitItem(item, prepared.front())};
  });
  unit.end(b);
  auto map = [&](AffineExpr expr) {
    unsigned dims = shape.op->getParentOfType<exec::KernelOp>().getDims().size();
    return AffineMap::get(0, dims, expr, b.getContext());
  };
  return {map(frame.rowsExprOf(shape.result) * blocks() * columnItems()),
          map(getAffineConstantExpr(bytes, b.getContext()))};
}

/// `prepared`: the block, counted through all images, whose planes are in scratch. Gives the
/// item's.
Value MatrixConvolution::emitItem(Value item, Value prepared) {
  Value number = frame.floorDiv(item, columnItems());
  Value image = frame.floorDiv(number, blocks());
  Value first = frame.mul(remainder(number, blocks()), i64(b, cut.lines));
  Value lines = frame.min(frame.sub(i64(b, planes.resultLines()), first), i64(b, cut.lines));
  branch(b, arith::CmpIOp::create(b, arith::CmpIPredicate::ne, number, prepared),
         [&] { planes.prepare(frame, unit, image, first, lines, at(planesOffset)); });
  Value from = frame.mul(remainder(item, columnItems()), i64(b, cut.columnPairs));
  Value to = frame.min(frame.add(from, i64(b, cut.columnPairs)), i64(b, columnPairsOf(shape)));
  multiplyBlock(image, first, lines, from, to);
  return number;
}

void MatrixConvolution::multiplyBlock(Value image, Value first, Value lines, Value from, Value to) {
  int64_t atOnce = std::max<int64_t>(
      1, piecesPerGroup / int64_t(llvm::bit_floor(uint64_t(std::min(cut.pairs, piecesPerGroup)))));
  Value count = frame.mul(frame.sub(to, from), i64(b, steps()));
  // The last line ends with the result's.
  Value positions = frame.sub(frame.mul(lines, i64(b, planes.width())),
                              i64(b, planes.width() - planes.resultWidth()));
  Value rowPairs = frame.ceilDiv(positions, pairRows);
  Value firstRow = frame.mul(frame.add(frame.mul(image, i64(b, planes.resultLines())), first),
                             i64(b, planes.resultWidth()));
  expandFrom(i64(b, 0), stepAt(i64(b, 0), from), stepAt(i64(b, 1), from));
  loop(b, i64(b, 0), count, 1, [&](Value index) {
    Step step = stepAt(index, from), next = stepAt(frame.add(index, i64(b, 1)), from);
    Step later = stepAt(frame.add(index, i64(b, 2)), from);
    Value hasNext = isLess(frame.add(index, i64(b, 1)), count);
    Value expanding =
        arith::SelectOp::create(b, hasNext, i64(b, piecesPerGroup / atOnce), i64(b, 0));
    loop(b, i64(b, 0), rowPairs, 1, [&](Value rowPair) {
      Value left = frame.sub(positions, frame.mul(rowPair, i64(b, pairRows)));
      auto forTiles = [&](llvm::function_ref<void(Value, Value)> meanwhile) {
        branch(
            b, isLess(i64(b, MatrixUnit::kRows), left),
            [&] { multiplyRows(rowPair, step, 2, meanwhile); },
            [&] { multiplyRows(rowPair, step, 1, meanwhile); });
      };
      branch(
          b, isLess(rowPair, expanding),
          [&] {
            SmallVector<Piece> pieces;
            for (int64_t i = 0; i < atOnce; ++i)
              pieces.push_back(
                  pieceOf(next, later, frame.add(frame.mul(rowPair, i64(b, atOnce)), i64(b, i))));
            forTiles([&](Value tap, Value group) {
              for (const Piece &piece : pieces)
                expandPiece(next, piece, tap, group);
            });
          },
          [&] { forTiles([](Value, Value) {}); });
      branch(b, arith::CmpIOp::create(b, arith::CmpIPredicate::eq, step.inner, i64(b, steps() - 1)),
             [&] { finish(rowPair, step.pair, positions, firstRow); });
    });
    branch(b, hasNext, [&] {
      expandFrom(frame.min(frame.mul(rowPairs, i64(b, atOnce)), i64(b, piecesPerGroup)), next,
                 later);
    });
  });
}

// ---- Weights ------------------------------------------------------------------------------------

/// The panel of a column pair's column tile; past the last one the last, whose results are not
/// stored again.
Value MatrixConvolution::panelAt(Value pair, Value column) {
  Value panel = frame.add(frame.mul(pair, i64(b, 2)), column);
  if (layout.panelCount() % 2)
    panel = frame.min(panel, i64(b, layout.panelCount() - 1));
  return address(b, frame.buffer(shape.weightParameter), panel, layout.panelBytes());
}

/// Step number `index` of those that begin with column pair `from`.
MatrixConvolution::Step MatrixConvolution::stepAt(Value index, Value from) {
  Step step;
  step.pair = frame.add(from, frame.floorDiv(index, steps()));
  step.inner = remainder(index, steps());
  step.tap = frame.mul(frame.floorDiv(step.inner, chunksOfTap()), i64(b, cut.tapsOfStep));
  step.group = frame.mul(remainder(step.inner, chunksOfTap()), i64(b, cut.groupsOfStep));
  Value parity = arith::AndIOp::create(b, index, i64(b, 1));
  step.buffer = address(b, at(columnsOffset), parity, bufferBytes());
  return step;
}

/// Piece `index` (below piecesPerGroup) of each group of a step; those of the first column tile
/// come first. What the step `later` will need of the same piece is fetched meanwhile.
MatrixConvolution::Piece MatrixConvolution::pieceOf(const Step &step, const Step &later,
                                                    Value index) {
  Value column = frame.floorDiv(index, ExpandPanel::kUnits);
  Value part = remainder(index, ExpandPanel::kUnits);
  Value panel = panelAt(frame.min(later.pair, i64(b, columnPairsOf(shape) - 1)), column);
  Value soon = address(b, address(b, panel, later.tap, tapBytes()), later.group, groupBytes);
  return {panelAt(step.pair, column), address(b, soon, part, pieceBytes),
          address(b, step.buffer, column, kFloatParts * tileBytes), part};
}

/// Expands a piece of one group: tap and group count from the step's first.
void MatrixConvolution::expandPiece(const Step &step, const Piece &piece, Value tap, Value group) {
  Value soon = address(b, address(b, piece.soon, tap, tapBytes()), group, groupBytes);
  for (int64_t line = 0; line < pieceBytes; line += 64)
    LLVM::Prefetch::create(b, address(b, soon, line), /*rw=*/0, /*hint=*/2, /*cache=*/1);
  Value number = frame.add(step.group, group);
  Value inStep = frame.add(frame.mul(tap, i64(b, cut.groupsOfStep)), group);
  Value tile = address(b, piece.tiles, inStep, columnsBytes);
  Value weights = address(b, piece.panel, frame.add(step.tap, tap), tapBytes());
  auto emitPiece = [&] { expand.emitUnit(weights, number, piece.part, tile); };
  if (shape.depth() % MatrixUnit::kDepth == 0)
    return emitPiece();
  Value channel = frame.add(frame.mul(number, i64(b, MatrixUnit::kDepth)),
                            frame.mul(piece.part, i64(b, pieceDepth)));
  branch(b, isLess(channel, i64(b, shape.depth())), emitPiece, [&] {
    Value zero = splatConstant(b, vectorOf(lanes, b.getI32Type()), 0);
    Value lines = address(b, tile, piece.part, tileBytes / ExpandPanel::kUnits);
    for (int64_t part = 0; part < kFloatParts; ++part)
      for (int64_t line = 0; line < MatrixUnit::kRows / ExpandPanel::kUnits; ++line)
        store(b, zero, address(b, lines, part * tileBytes + line * 64), 64);
  });
}

/// Expands the pieces [from, piecesPerGroup) of a step.
void MatrixConvolution::expandFrom(Value from, const Step &step, const Step &later) {
  loop(b, from, i64(b, piecesPerGroup), 1, [&](Value index) {
    Piece piece = pieceOf(step, later, index);
    forGroups([&](Value tap, Value group) { expandPiece(step, piece, tap, group); });
  });
}

void MatrixConvolution::forGroups(llvm::function_ref<void(Value tap, Value group)> body) {
  loop(b, i64(b, 0), i64(b, cut.tapsOfStep), 1, [&](Value tap) {
    loop(b, i64(b, 0), i64(b, cut.groupsOfStep), 1, [&](Value group) { body(tap, group); });
  });
}

// ---- Products -----------------------------------------------------------------------------------

/// `rowTiles`: of the pair, that hold positions.
void MatrixConvolution::multiplyRows(Value rowPair, const Step &step, int64_t rowTiles,
                                     llvm::function_ref<void(Value, Value)> meanwhile) {
  Value sums = sumsOf(rowPair);
  auto forSums = [&](llvm::function_ref<void(int64_t tile, Value at)> body) {
    for (int64_t i = 0; i < rowTiles; ++i)
      for (int64_t j = 0; j < 2; ++j)
        body(2 * i + j, address(b, sums, i * 2 * tileBytes + j * 64));
  };
  auto zero = [&] { forSums([&](int64_t tile, Value) { unit.zero(b, tile); }); };
  auto reload = [&] { forSums([&](int64_t tile, Value at) { unit.load(b, tile, at, 128); }); };
  if (steps() == 1)
    zero();
  else
    branch(b, arith::CmpIOp::create(b, arith::CmpIPredicate::eq, step.inner, i64(b, 0)), zero,
           reload);
  Value rows = address(b, at(planesOffset), step.group, planes.groupBytes());
  rows = address(b, rows, rowPair, pairRows * ImagePlanes::kPixelBytes);
  forGroups([&](Value tap, Value group) {
    Value number = frame.add(step.tap, tap);
    Value offset = load(b, b.getI64Type(), address(b, at(tapsOffset), number, 8), 8);
    Value seen = address(b, address(b, rows, offset, 1), group, planes.groupBytes());
    Value inStep = frame.add(frame.mul(tap, i64(b, cut.groupsOfStep)), group);
    Value columns = address(b, step.buffer, inStep, columnsBytes);
    emitTileProducts(
        b, unit, kFloatParts, rowTiles,
        [&](int64_t i, int64_t part) {
          return address(b, seen, i * tileBytes + part * planes.partBytes());
        },
        [&](int64_t j, int64_t part) {
          return address(b, columns, (j * kFloatParts + part) * tileBytes);
        });
    meanwhile(tap, group);
  });
  forSums([&](int64_t tile, Value at) { unit.store(b, tile, at, 128); });
}

// ---- Results ------------------------------------------------------------------------------------

/// From a row pair's sums to results. `firstRow`: of the block in the result, all leading dims
/// counted as one.
void MatrixConvolution::finish(Value rowPair, Value pair, Value positions, Value firstRow) {
  Value begin = frame.mul(rowPair, i64(b, pairRows));
  Value end = frame.min(frame.add(begin, i64(b, pairRows)), positions);
  Value sums = sumsOf(rowPair);
  auto emitPanels = [&](int64_t panels) {
    SmallVector<Value> bias;
    for (int64_t p = 0; shape.bias && p < panels; ++p) {
      Value column = frame.add(frame.mul(pair, i64(b, 2 * lanes)), i64(b, p * lanes));
      bias.push_back(shape.epilogue.loadColumns(frame, shape.bias, {Value(), column}));
    }
    int64_t width = planes.width();
    if (width == planes.resultWidth())
      return finishRows(sums, i64(b, 0), frame.sub(end, begin), frame.add(firstRow, begin), pair,
                        panels, bias);
    loop(b, frame.floorDiv(begin, width), frame.ceilDiv(end, width), 1, [&](Value line) {
      Value start = frame.mul(line, i64(b, width));
      Value from = frame.max(start, begin);
      Value to = frame.min(frame.add(start, i64(b, planes.resultWidth())), end);
      Value row = frame.add(firstRow, frame.mul(line, i64(b, planes.resultWidth())));
      finishRows(sums, frame.sub(from, begin), frame.sub(to, from),
                 frame.add(row, frame.sub(from, start)), pair, panels, bias);
    });
  };
  if (layout.panelCount() % 2 == 0)
    return emitPanels(2);
  branch(
      b, isLess(pair, i64(b, columnPairsOf(shape) - 1)), [&] { emitPanels(2); },
      [&] { emitPanels(1); });
}

/// Rows [first, first + count) of a row pair's sums are the result's from `row` on.
void MatrixConvolution::finishRows(Value sums, Value first, Value count, Value row, Value pair,
                                   int64_t panels, ArrayRef<Value> bias) {
  constexpr int64_t unroll = 4;
  bool isWhole = shape.outputs % lanes == 0 || shape.epilogue.mayTouchWholeVectors();
  VectorType vector = vectorOf(lanes, b.getF32Type());
  Value from = address(b, sums, first, 2 * lanes * 4);
  auto emitRows = [&](Value i, int64_t rows) {
    for (int64_t p = 0; p < panels; ++p)
      for (int64_t r = 0; r < rows; ++r) {
        Value sum =
            load(b, vector, address(b, from, i, 2 * lanes * 4, (r * 2 + p) * lanes * 4), 64);
        if (!bias.empty())
          sum = arith::AddFOp::create(b, sum, bias[size_t(p)]);
        Value column = frame.add(frame.mul(pair, i64(b, 2 * lanes)), i64(b, p * lanes));
        shape.epilogue.emit(frame, sum, {frame.add(row, i), column, r, isWhole});
      }
  };
  Value whole = frame.mul(frame.floorDiv(frame.max(count, i64(b, 0)), unroll), i64(b, unroll));
  loop(b, i64(b, 0), whole, unroll, [&](Value i) { emitRows(i, unroll); });
  loop(b, whole, count, 1, [&](Value i) { emitRows(i, 1); });
}

const KernelEmitter &kiln::matrixConvolutionEmitter() {
  static constexpr KernelEmitter emitter = {"convolution-matrix", refuse,
                                            emitConvolution<MatrixConvolution>};
  return emitter;
}
