// Convolution as products of matrices without a matrix being made: positions along a line of the
// result are rows, and the rows' elements are read where they lie in the image, tap by tap.
//
//   for each item (block of lines, few panels of outputs)
//     for each line of the result in the block, for each tile of positions along it
//       sums = bias
//       for each tap                                  those outside of the image left out
//         sums += channels at the tap x weights       codegen/FloatTile, codegen/ByteTile
//       the elementwise ops, stores
//
// Of codes, taps outside of the image are multiplied with a code of their own: those of whole lines
// for all rows at once.
//
// Where one position sees one position, all of them, of all images, are one line. Weights that do
// not fit the second-level cache stay there panel by panel while all lines pass; else the lines of
// a block stay while all panels pass.
#include "codegen/ByteTile.h"
#include "codegen/DotStrategy.h"
#include "codegen/FloatTile.h"
#include "codegen/Target.h"
#include "codegen/conv/Convolution.h"
#include "codegen/conv/ImageLines.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace kiln;
using namespace kiln::emit;

static constexpr int64_t lanes = PanelLayout::kPanelRows;

static std::optional<std::string> refuse(exec::KernelOp kernel, const Target &) {
  std::string reason;
  std::optional<ConvolutionShape> shape = ConvolutionShape::match(kernel, reason);
  if (!shape)
    return reason;
  if (std::optional<std::string> why = refuseFloatTile(*shape->format); why && !shape->isCodes())
    return why;
  if (shape->groups > 1 && shape->outputs / shape->groups % lanes)
    return "a panel of outputs belongs to more than one group";
  return std::nullopt;
}

namespace {

/// Outputs as blocks of a few panels, each within a group of the convolution; the last block of a
/// group may be smaller.
struct ColumnBlocks {
  int64_t panelsOfGroup, panels, blocksOfGroup, rest;

  ColumnBlocks(const ConvolutionShape &shape, int64_t panels)
      : panelsOfGroup(llvm::divideCeil(shape.outputs / shape.groups, lanes)), panels(panels),
        blocksOfGroup(llvm::divideCeil(panelsOfGroup, panels)), rest(panelsOfGroup % panels) {}
};

class DirectConvolution {
public:
  DirectConvolution(exec::KernelOp kernel, const Target &target, OpBuilder &builder,
                    ConvolutionShape matched)
      : target(target), shape(std::move(matched)), frame(kernel, builder), b(frame.builder()),
        layout(shape.layout()), lines(frame, shape),
        form(*target.byteDot, shape.image.getElementType(), shape.outside()),
        tile(chooseTile(positionsAtOnce(), llvm::divideCeil(shape.outputs / shape.groups, lanes),
                        target)),
        columns(shape, tile.panels) {}

  KernelCode emit() {
    setTileTuning(frame.function(), target);
    if (shape.isPointwise())
      return emitPointwise();
    int64_t known = knownCount(shape.result.getShape().drop_back(2));
    int64_t block = linesOfBlock(known, std::min<int64_t>(positionsAtOnce(), 64));
    forItems(lines.count(), block, [&](Value first, Value last, const Columns &at) {
      loop(b, first, last, 1, [&](Value line) { emitLine(line, at); });
    });
    return code(lines.countExpr(), block);
  }

private:
  /// The few panels at hand.
  struct Columns {
    Value panel, group; // i64
    int64_t panels;
  };

  static constexpr int64_t unknown = 1 << 20; // positions: many

  /// The product of extents that are known; of others nothing is assumed.
  static int64_t knownCount(ArrayRef<int64_t> extents) {
    int64_t count = 1;
    for (int64_t extent : extents)
      if (!ShapedType::isDynamic(extent))
        count *= extent;
    return count;
  }

  /// Positions of a line; of pointwise convolutions where their number is not known: many.
  int64_t positionsAtOnce() const {
    if (!shape.isPointwise() && shape.isStatic())
      return shape.resultExtent(shape.spatial() - 1);
    if (!shape.isPointwise())
      return unknown;
    return isRowCountKnown() ? knownCount(shape.result.getShape().drop_back()) : unknown;
  }
  bool isRowCountKnown() const {
    return llvm::none_of(shape.result.getShape().drop_back(), ShapedType::isDynamic);
  }

  int64_t columnBlocks() const { return shape.groups * columns.blocksOfGroup; }
  int64_t bytesOfDepth() const { return layout.getFormat().bits * lanes / 8; }
  /// Whether what is larger passes while the other stays in the second-level cache.
  bool panelsStay() const {
    int64_t image = knownCount(shape.image.getShape().drop_back()) * shape.pixelBytes();
    return layout.totalBytes() > std::min(target.l2Bytes / 2, image);
  }

  /// How many lines (or tiles) an item takes: so many that it is some work, and so few that there
  /// is something to do for every worker.
  int64_t linesOfBlock(int64_t count, int64_t positions) const {
    constexpr int64_t work = 1 << 18, items = 64; // products
    int64_t products = positions * tile.panels * lanes * layout.paddedDepth();
    int64_t enough = llvm::divideCeil(work, products);
    return std::clamp<int64_t>(count * columnBlocks() / items, 1, std::max<int64_t>(enough, 1));
  }

  KernelCode code(AffineExpr count, int64_t block) {
    auto map = [&](AffineExpr expr) {
      return AffineMap::get(0, kernelDims(), expr, b.getContext());
    };
    return {map(count.ceilDiv(block) * columnBlocks()),
            map(getAffineConstantExpr(0, b.getContext()))};
  }
  unsigned kernelDims() { return shape.op->getParentOfType<exec::KernelOp>().getDims().size(); }

  /// The kernel's items: blocks of `count` (i64) lines and blocks of columns.
  void forItems(Value count, int64_t block,
                llvm::function_ref<void(Value first, Value last, const Columns &)> body) {
    Value blocks = frame.ceilDiv(count, block), all = i64(b, columnBlocks());
    loop(b, frame.begin(), frame.end(), 1, [&](Value item) {
      Value slow = panelsStay() ? blocks : all;
      Value quotient = arith::DivUIOp::create(b, item, slow);
      Value rest = arith::RemUIOp::create(b, item, slow);
      Value column = panelsStay() ? quotient : rest, row = panelsStay() ? rest : quotient;
      Value first = frame.mul(row, i64(b, block));
      Value last = frame.min(frame.add(first, i64(b, block)), count);
      Value group = frame.floorDiv(column, columns.blocksOfGroup);
      Value inGroup = arith::RemUIOp::create(b, column, i64(b, columns.blocksOfGroup));
      Value panel = frame.add(frame.mul(group, i64(b, columns.panelsOfGroup)),
                              frame.mul(inGroup, i64(b, columns.panels)));
      if (shape.groups == 1)
        group = i64(b, 0);
      auto whole = [&] { body(first, last, {panel, group, columns.panels}); };
      auto smaller = [&] { body(first, last, {panel, group, columns.rest}); };
      if (!columns.rest)
        return whole();
      branch(b,
             arith::CmpIOp::create(b, arith::CmpIPredicate::slt, inGroup,
                                   i64(b, columns.blocksOfGroup - 1)),
             whole, smaller);
    });
  }

  // ---- Sums ---------------------------------------------------------------------------------

  Value columnOf(const Columns &at, int64_t panel) {
    return frame.mul(frame.add(at.panel, i64(b, panel)), i64(b, lanes));
  }

  /// What a row's sums begin with, one for each panel.
  SmallVector<Value> startSums(const Columns &at) {
    SmallVector<Value> sums;
    Type element = shape.result.getElementType();
    for (int64_t p = 0; p < at.panels; ++p) {
      Value start, bias;
      if (shape.bias)
        bias = shape.epilogue.loadColumns(frame, shape.bias, {Value(), columnOf(at, p)});
      if (shape.isCodes())
        start = form.startSums(b, panelsAt(at, i64(b, 0))[size_t(p)], layout.sumsOffset());
      else if (!bias)
        start = splatConstant(b, vectorOf(lanes, element), 0);
      if (start && bias)
        start = arith::AddIOp::create(b, start, bias);
      sums.push_back(start ? start : bias);
    }
    return sums;
  }

  /// The same with what the lines outside of the image add, for each panel and row.
  SmallVector<Value> startSums(const Columns &at, const ImageLines::Line &line, int64_t rows) {
    SmallVector<Value> sums = startSums(at);
    if (shape.isCodes() && form.outside)
      sums = lines.forTapsOutside(line, sums, [&](Value tap, Value taps, ValueRange carried) {
        return emitOutside(b, form, panelsAt(at, tap), frame.mul(taps, i64(b, shape.tapDepth())),
                           carried);
      });
    return spread(sums, rows);
  }

  static SmallVector<Value> spread(ArrayRef<Value> sums, int64_t rows) {
    SmallVector<Value> result;
    for (Value sum : sums)
      result.append(size_t(rows), sum);
    return result;
  }

  /// Adds the products of the rows' elements with weights from tap number `tap` (i64) on. Rows
  /// without a place lie outside of the image.
  SmallVector<Value> multiply(const Columns &at, Value rows,
                              ArrayRef<std::optional<int64_t>> places, Value tap, int64_t depth,
                              ValueRange sums,
                              llvm::function_ref<bool(size_t row)> mayReadPast = nullptr) {
    SmallVector<Value> panels = panelsAt(at, tap);
    if (shape.isCodes())
      return emitByteProducts(b, {form, rows, places, panels, depth, mayReadPast}, sums);
    return emitFloatProducts(b, {rows, places, panels, shape.format, depth}, sums);
  }

  /// Applies the elementwise ops to a tile's sums and stores: positions from `row` (i64) on, all
  /// leading dims counted as one.
  void finish(ArrayRef<Value> sums, const Columns &at, Value row, int64_t rows) {
    for (int64_t p = 0; p < at.panels; ++p) {
      Value column = columnOf(at, p);
      for (int64_t r = 0; r < rows; ++r)
        shape.epilogue.emit(
            frame, sums[size_t(p * rows + r)],
            {row, column, r, shape.outputs % lanes == 0 || shape.epilogue.mayTouchWholeVectors()});
    }
  }

  /// The weights of tap number `tap` (i64) in each of the panels.
  SmallVector<Value> panelsAt(const Columns &at, Value tap) {
    SmallVector<Value> panels;
    Value first = address(b, frame.buffer(shape.weightParameter), at.panel, layout.panelBytes());
    for (int64_t p = 0; p < at.panels; ++p)
      panels.push_back(address(b, address(b, first, p * layout.panelBytes()), tap,
                               shape.tapDepth() * bytesOfDepth()));
    return panels;
  }

  /// The first channel of the group at hand in the image.
  Value imageOf(const Columns &at) {
    Value base = frame.buffer(shape.imageParameter);
    return shape.groups == 1 ? base
                             : address(b, base, at.group, shape.depth() * shape.elementBytes());
  }

  // ---- Lines --------------------------------------------------------------------------------

  void emitLine(Value index, const Columns &at) {
    size_t last = shape.spatial() - 1;
    ImageLines::Line line = lines.at(index);
    Value row = frame.mul(index, lines.resultExtent(last));
    if (!shape.isStatic()) {
      TileRun run{0, 1, 1, {}};
      lines.forPositions(
          tileHeights(tile.rows),
          [&](Value position, int64_t height) {
            run.rows = height;
            emitTile(run, line, position, row, at);
          },
          [&](Value position) { emitEdge(line, position, row, at); });
      return;
    }
    for (const TileRun &run : cutLine(shape, tile.rows)) {
      auto emitAt = [&](Value position) { emitTile(run, line, position, row, at); };
      if (run.count == 1)
        emitAt(i64(b, run.first));
      else
        loop(b, i64(b, run.first), i64(b, run.first + run.count * run.rows), run.rows, emitAt);
    }
  }

  /// Whether in any tile of the run enough pixels of the line follow what the row sees at a tap for
  /// a whole quad to be read.
  bool mayReadPast(const TileRun &run, int64_t row, int64_t tap) const {
    size_t last = shape.spatial() - 1;
    if (!shape.isStatic())
      return false;
    int64_t position = run.first + (run.count - 1) * run.rows + row;
    int64_t pixel =
        position * shape.strides[last] + tap * shape.dilations[last] - shape.padsBegin[last];
    return (shape.imageExtent(last) - 1 - pixel) * shape.imageStride >= 4 - shape.depth() % 4;
  }

  void emitTile(const TileRun &run, const ImageLines::Line &line, Value position, Value row,
                const Columns &at) {
    size_t last = shape.spatial() - 1;
    int64_t pixel = shape.pixelBytes(), taps = shape.kernel[last], depth = shape.depth();
    SmallVector<Value> sums = lines.forTaps(
        line, startSums(at, line, run.rows), [&](Value number, Value tap, ValueRange carried) {
          Value from = frame.sub(frame.mul(position, i64(b, shape.strides[last])),
                                 i64(b, shape.padsBegin[last]));
          Value first = frame.add(frame.mul(number, lines.imageExtent(last)), from);
          Value start = address(b, imageOf(at), first, pixel);
          int64_t step = shape.dilations[last] * pixel;
          SmallVector<std::optional<int64_t>> places;
          for (int64_t r = 0; r < run.rows; ++r)
            places.push_back(r * shape.strides[last] * pixel);
          bool areTapsWhole = shape.imageStride == depth && shape.tapDepth() == depth;
          if (run.isInterior() && areTapsWhole && step == pixel)
            return multiply(at, start, places, tap, taps * depth, carried); // side by side
          if (run.isInterior())
            return loop(b, i64(b, 0), i64(b, taps), 1, carried, [&](Value i, ValueRange inner) {
              return multiply(at, address(b, start, i, step), places, frame.add(tap, i), depth,
                              inner,
                              [&](size_t r) { return mayReadPast(run, int64_t(r), taps - 1); });
            });
          SmallVector<Value> current(carried);
          SmallVector<std::optional<int64_t>> all(places);
          for (int64_t i = 0; i < taps; ++i) {
            for (int64_t r = 0; r < run.rows; ++r)
              places[size_t(r)] =
                  run.inside[size_t(i)].first <= r && r < run.inside[size_t(i)].second
                      ? all[size_t(r)]
                      : std::nullopt;
            // What two taps read of one pixel is loaded twice rather than kept.
            if (run.inside[size_t(i)].first < run.inside[size_t(i)].second ||
                (shape.isCodes() && form.outside))
              current = multiply(at, anotherName(b, address(b, start, i * step)), places,
                                 frame.add(tap, i64(b, i)), depth, current,
                                 [&](size_t r) { return mayReadPast(run, int64_t(r), i); });
          }
          return current;
        });
    finish(sums, at, frame.add(row, position), run.rows);
  }

  /// One position of a line of unknown length, with the taps that it has.
  void emitEdge(const ImageLines::Line &line, Value position, Value row, const Columns &at) {
    size_t last = shape.spatial() - 1;
    int64_t pixel = shape.pixelBytes();
    SmallVector<Value> sums = lines.forTaps(
        line, startSums(at, line, 1), [&](Value number, Value tap, ValueRange carried) {
          Value from = frame.sub(frame.mul(position, i64(b, shape.strides[last])),
                                 i64(b, shape.padsBegin[last]));
          Value first = frame.add(frame.mul(number, lines.imageExtent(last)), from);
          Value start = address(b, imageOf(at), first, pixel);
          auto [low, high] = lines.tapsAt(position);
          SmallVector<Value> current(carried);
          if (shape.isCodes() && form.outside)
            for (auto [from, to] : complement(frame, low, high, shape.kernel[last]))
              current =
                  emitOutside(b, form, panelsAt(at, frame.add(tap, from)),
                              frame.mul(frame.sub(to, from), i64(b, shape.tapDepth())), current);
          return loop(b, low, high, 1, current, [&](Value i, ValueRange inner) {
            return multiply(at, address(b, start, i, shape.dilations[last] * pixel),
                            {std::optional<int64_t>(0)}, frame.add(tap, i), shape.depth(), inner);
          });
        });
    finish(sums, at, frame.add(row, position), 1);
  }

  // ---- One position sees one position ---------------------------------------------------------

  KernelCode emitPointwise() {
    AffineExpr rowsExpr = frame.rowsExprOf(shape.result);
    Value rows = frame.rowsOf(shape.result);
    for (unsigned i = 1; i + 1 < unsigned(shape.result.getRank()); ++i) {
      rowsExpr = rowsExpr * graph::extentExpr(shape.op, shape.result, i);
      rows = frame.mul(rows, frame.extent(shape.result, i));
    }
    int64_t known = positionsAtOnce();
    // As even as can be; of an unknown number of rows what is left over makes smaller tiles.
    int64_t size = tile.rows, tiles = llvm::divideCeil(known, size), larger = 0;
    if (isRowCountKnown()) {
      size = llvm::divideCeil(known, tiles);
      larger = known - tiles * (size - 1);
    }
    int64_t block = linesOfBlock(tiles, size);
    Value whole = isRowCountKnown() ? i64(b, larger) : frame.floorDiv(rows, size);
    Value count = isRowCountKnown() ? i64(b, tiles) : frame.ceilDiv(rows, size);
    forItems(count, block, [&](Value first, Value last, const Columns &at) {
      loop(b, first, frame.min(last, whole), 1,
           [&](Value i) { emitRows(frame.mul(i, i64(b, size)), size, at); });
      if (isRowCountKnown()) {
        if (larger < tiles && size > 1)
          loop(b, frame.max(first, whole), last, 1, [&](Value i) {
            emitRows(frame.add(frame.mul(i, i64(b, size - 1)), i64(b, larger)), size - 1, at);
          });
        return;
      }
      branch(b, arith::CmpIOp::create(b, arith::CmpIPredicate::sgt, last, whole), [&] {
        forHeights(b, ArrayRef(tileHeights(size)).drop_front(), frame.mul(whole, i64(b, size)),
                   rows, [&](Value row, int64_t height) { emitRows(row, height, at); });
      });
    });
    return code(isRowCountKnown() ? getAffineConstantExpr(tiles, b.getContext())
                                  : rowsExpr.ceilDiv(size),
                block);
  }

  void emitRows(Value row, int64_t rows, const Columns &at) {
    SmallVector<std::optional<int64_t>> places;
    for (int64_t r = 0; r < rows; ++r)
      places.push_back(r * shape.pixelBytes());
    Value first = address(b, imageOf(at), row, shape.pixelBytes());
    SmallVector<Value> sums =
        multiply(at, first, places, i64(b, 0), shape.depth(), spread(startSums(at), rows));
    finish(sums, at, row, rows);
  }

  const Target &target;
  ConvolutionShape shape;
  KernelFrame frame;
  ImplicitLocOpBuilder &b;
  PanelLayout layout;
  ImageLines lines;
  CodeForm form;
  TileSize tile;
  ColumnBlocks columns;
};

} // namespace

const KernelEmitter &kiln::directConvolutionEmitter() {
  static constexpr KernelEmitter emitter = {"convolution-direct", refuse,
                                            emitConvolution<DirectConvolution>};
  return emitter;
}
