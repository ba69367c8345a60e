// Convolutions of codes that keep channels apart, on vectors of 64 bytes. Where two lines of an
// image, or up to four, lie under each other, their bytes are interleaved, so that each quad holds
// the vertical taps of one channel: a column of quads is made once, multiplied with the weights of
// every tap along the line, and added to the positions that see it. Three taps of three lines take
// a dozen products for 64 outputs.
//
// A vector holds 64 channels of a pixel, or 32 channels of two pixels, or 16 of four, which are of
// different parts of the line. Interleaving within 128 bits leaves vector j of four with channels
// 4j .. 4j+3 of each 16; weights, biases and factors are brought in that order once for all lines,
// and the bytes of results are brought back by shifts and one shuffle.
//
// Lines outside of the image: their weights count as zeros, and what they add is in the first sums.
#include "codegen/ByteTile.h"
#include "codegen/Target.h"
#include "codegen/conv/Convolution.h"
#include "codegen/conv/ImageLines.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace kiln;
using namespace kiln::emit;

static constexpr int64_t lanes = PanelLayout::kPanelRows, vectorBytes = 64, parts = 4;

static std::optional<std::string> refuse(exec::KernelOp kernel, const Target &target) {
  std::string reason;
  std::optional<ConvolutionShape> shape = ConvolutionShape::match(kernel, reason);
  if (!shape)
    return reason;
  if (!shape->isCodes())
    return "its weight is no codes";
  if (target.vectorBits < 512)
    return "the target's registers do not hold its sums";
  if (shape->groups != shape->channels || shape->groups != shape->outputs)
    return "an output has more or less than a channel of its own";
  if (shape->channels % lanes)
    return "its channels fill no vectors";
  if (shape->spatial() != 2 || !shape->isStatic())
    return "it has no lines of known length under each other";
  if (shape->kernel[0] > parts || shape->kernel[1] > 8)
    return "its window is too large to be unrolled";
  if (!shape->epilogue.givesCodesOfColumns())
    return "it gives something else than codes, or needs other tensors of its size";
  return std::nullopt;
}

namespace {

/// A vector for each of the four orders of lanes.
using Parts = SmallVector<Value, parts>;

class DepthwiseCodes {
public:
  DepthwiseCodes(exec::KernelOp kernel, const Target &target, OpBuilder &builder,
                 ConvolutionShape matched)
      : shape(std::move(matched)), frame(kernel, builder), b(frame.builder()),
        layout(shape.layout()), lines(frame, shape),
        form(*target.byteDot, shape.image.getElementType(), shape.outside()),
        dims(kernel.getDims().size()) {}

  KernelCode emit();

private:
  /// Channels that are done at once: `panels` panels of 16 of a pixel, in as many pixels as fill a
  /// vector.
  struct Unit {
    Value panel; // i64, the first
    int64_t panels;
    int64_t pixels() const { return parts / panels; }
    int64_t bytes() const { return panels * lanes; }
  };
  /// What is the same for all lines.
  struct UnitWeights {
    SmallVector<Parts> taps; // of each tap along the line: quads of vertical taps
    Parts start;             // bias and correction
    llvm::SmallDenseMap<Value, Parts> columns;
  };
  /// Positions of the pixels of a vector: `count` of them after each other.
  struct Tile {
    SmallVector<int64_t> starts;
    int64_t count;
  };

  int64_t units() const {
    return layout.panelCount() / 4 + llvm::popcount(uint64_t(layout.panelCount() % 4));
  }
  void emitUnit(Value first, Value last, const Unit &unit);
  void emitLine(Value index, const Unit &unit, const UnitWeights &weights);
  void emitTile(const Tile &tile, Value position, ArrayRef<Value> rows, Value resultRow,
                const Unit &unit, ArrayRef<Parts> taps, const Parts &start,
                const UnitWeights &weights);
  SmallVector<Tile> cut(int64_t pixels) const;
  bool isInterior(const Tile &tile) const;

  VectorType ints() { return vectorOf(lanes, b.getI32Type()); }
  VectorType bytes() { return vectorOf(vectorBytes, b.getI8Type()); }
  Value panelAt(const Unit &unit, int64_t i) {
    return address(b, frame.buffer(shape.weightParameter), frame.add(unit.panel, i64(b, i)),
                   layout.panelBytes());
  }
  Parts inOrder(const Unit &unit, llvm::function_ref<Value(int64_t panel)> panelVector);
  UnitWeights loadUnit(const Unit &unit);
  Value interleave(Value x, Value y, bool upper, unsigned bits);
  Parts makeColumn(ArrayRef<Value> lines);
  Value joinParts(ArrayRef<Value> results);

  ConvolutionShape shape;
  KernelFrame frame;
  ImplicitLocOpBuilder &b;
  PanelLayout layout;
  ImageLines lines;
  CodeForm form;
  unsigned dims;
};

} // namespace

// ---- Orders of lanes ----------------------------------------------------------------------------

/// Part j has, in each 128 bits, four lanes of a panel: 4j .. 4j+3. Panels repeat for the pixels.
Parts DepthwiseCodes::inOrder(const Unit &unit, llvm::function_ref<Value(int64_t)> panelVector) {
  SmallVector<Value> panels;
  for (int64_t i = 0; i < unit.panels; ++i)
    panels.push_back(panelVector(i));
  auto both = [&](Value x, Value y, int64_t j) -> Value {
    SmallVector<int64_t> order;
    for (int64_t from : {int64_t(0), lanes})
      for (int64_t i = 0; i < parts; ++i)
        order.push_back(from + parts * j + i);
    return vector::ShuffleOp::create(b, x, y, order);
  };
  Parts result;
  SmallVector<int64_t> all = llvm::to_vector(llvm::seq<int64_t>(0, lanes));
  for (int64_t j = 0; j < parts; ++j) {
    auto panelOf = [&](int64_t i) { return panels[size_t(i % unit.panels)]; };
    Value low = both(panelOf(0), panelOf(1), j), high = both(panelOf(2), panelOf(3), j);
    result.push_back(vector::ShuffleOp::create(b, low, high, all));
  }
  return result;
}

/// Elements of both vectors in turns, of the lower or upper half of each 128 bits.
Value DepthwiseCodes::interleave(Value x, Value y, bool upper, unsigned bits) {
  int64_t count = vectorBytes * 8 / bits, block = 128 / bits;
  VectorType type = vectorOf(count, b.getIntegerType(bits));
  SmallVector<int64_t> order;
  for (int64_t first = 0; first < count; first += block)
    for (int64_t i = 0; i < block / 2; ++i)
      for (int64_t from : {int64_t(0), count})
        order.push_back(from + first + (upper ? block / 2 : 0) + i);
  auto cast = [&](Value v) -> Value {
    return v.getType() == type ? v : vector::BitCastOp::create(b, type, v).getResult();
  };
  return vector::ShuffleOp::create(b, cast(x), cast(y), order);
}

/// Quads of the bytes of four lines.
Parts DepthwiseCodes::makeColumn(ArrayRef<Value> rows) {
  // Where there are fewer, weights are zeros.
  auto row = [&](size_t i) { return i < rows.size() ? rows[i] : rows.back(); };
  Parts result;
  for (bool upper : {false, true}) {
    Value first = interleave(row(0), row(1), upper, 8),
          second = interleave(row(2), row(3), upper, 8);
    for (bool upperWords : {false, true})
      result.push_back(
          vector::BitCastOp::create(b, ints(), interleave(first, second, upperWords, 16)));
  }
  return result;
}

/// The low bytes of four vectors of i32 as 64 bytes in the order of channels.
Value DepthwiseCodes::joinParts(ArrayRef<Value> results) {
  Value joined;
  for (auto [j, result] : llvm::enumerate(results)) {
    Value wide;
    if (auto cut = result.getDefiningOp<arith::TruncIOp>(); cut && cut.getIn().getType() == ints())
      wide = cut.getIn();
    else
      wide = arith::ExtUIOp::create(b, ints(), result);
    if (j + 1 < parts)
      wide = arith::AndIOp::create(b, wide, splatConstant(b, ints(), 255));
    if (j)
      wide = arith::ShLIOp::create(b, wide, splatConstant(b, ints(), double(8 * j)));
    joined = joined ? arith::OrIOp::create(b, joined, wide).getResult() : wide;
  }
  Value split = vector::BitCastOp::create(b, bytes(), joined);
  SmallVector<int64_t> order;
  for (int64_t first = 0; first < vectorBytes; first += lanes)
    for (int64_t j = 0; j < parts; ++j)
      for (int64_t i = 0; i < parts; ++i)
        order.push_back(first + parts * i + j);
  return vector::ShuffleOp::create(b, split, split, order);
}

DepthwiseCodes::UnitWeights DepthwiseCodes::loadUnit(const Unit &unit) {
  UnitWeights weights;
  int64_t tapBytes = lanes * shape.tapDepth();
  for (int64_t tap = 0; tap < shape.kernel[1]; ++tap)
    weights.taps.push_back(inOrder(unit, [&](int64_t panel) {
      Value quads;
      for (int64_t line = 0; line < shape.kernel[0]; ++line) {
        // The first of a tap's quad is its weight, the others stand for no channel.
        Value weight = load(
            b, ints(), address(b, panelAt(unit, panel), (line * shape.kernel[1] + tap) * tapBytes),
            vectorBytes);
        weight = arith::AndIOp::create(b, weight, splatConstant(b, ints(), 255));
        if (line)
          weight = arith::ShLIOp::create(b, weight, splatConstant(b, ints(), double(8 * line)));
        quads = quads ? arith::OrIOp::create(b, quads, weight).getResult() : weight;
      }
      return quads;
    }));
  auto columnOf = [&](int64_t panel) {
    return VectorEpilogue::Place{Value(),
                                 frame.mul(frame.add(unit.panel, i64(b, panel)), i64(b, lanes))};
  };
  weights.start = inOrder(unit, [&](int64_t panel) {
    Value start = form.startSums(b, panelAt(unit, panel), layout.sumsOffset());
    if (!shape.bias)
      return start;
    Value bias = shape.epilogue.loadColumns(frame, shape.bias, columnOf(panel));
    return arith::AddIOp::create(b, start, bias).getResult();
  });
  for (BlockArgument parameter : shape.epilogue.columnParameters())
    weights.columns[parameter] = inOrder(unit, [&](int64_t panel) {
      return shape.epilogue.loadColumns(frame, parameter, columnOf(panel));
    });
  return weights;
}

// ---- Tiles --------------------------------------------------------------------------------------

/// A line cut into runs of positions of one length, `pixels` of them a tile; the last ones may
/// begin earlier and do again what others do.
SmallVector<DepthwiseCodes::Tile> DepthwiseCodes::cut(int64_t pixels) const {
  constexpr int64_t most = 8;
  int64_t extent = shape.resultExtent(1), length = 1, least = 0;
  for (int64_t size = 1; size <= std::min(most, extent); ++size) {
    int64_t tiles = llvm::divideCeil(llvm::divideCeil(extent, size), pixels);
    int64_t cost = tiles * (size * 8 + 6); // of positions, and of columns that are made again
    if (!least || cost <= least) {
      least = cost;
      length = size;
    }
  }
  SmallVector<Tile> tiles;
  for (int64_t start = 0; start < extent; start += length * pixels) {
    Tile tile{{}, length};
    for (int64_t i = 0; i < pixels; ++i)
      tile.starts.push_back(std::min(start + i * length, extent - length));
    tiles.push_back(std::move(tile));
  }
  return tiles;
}

bool DepthwiseCodes::isInterior(const Tile &tile) const {
  int64_t reach = (tile.count - 1) * shape.strides[1] + (shape.kernel[1] - 1) * shape.dilations[1];
  return llvm::all_of(tile.starts, [&](int64_t start) {
    int64_t from = start * shape.strides[1] - shape.padsBegin[1];
    return from >= 0 && from + reach < shape.imageExtent(1);
  });
}

/// `position` (i64) is added to the tile's starts; `rows` are the image's lines of the vertical
/// taps, at the unit's first channel, `resultRow` the first of the result's line.
void DepthwiseCodes::emitTile(const Tile &tile, Value position, ArrayRef<Value> rows,
                              Value resultRow, const Unit &unit, ArrayRef<Parts> taps,
                              const Parts &start, const UnitWeights &weights) {
  int64_t stride = shape.strides[1], dilation = shape.dilations[1], extent = shape.imageExtent(1);
  int64_t columns = (tile.count - 1) * stride + (shape.kernel[1] - 1) * dilation + 1;
  bool interior = isInterior(tile);
  VectorType piece = vectorOf(unit.bytes(), b.getI8Type());
  // Bytes of a pixel of each run, in the order of the vector.
  auto loadLine = [&](Value row, int64_t column) -> Value {
    Value line;
    for (auto [i, first] : llvm::enumerate(tile.starts)) {
      int64_t place = first * stride - shape.padsBegin[1] + column;
      bool inside = interior || (place >= 0 && place < extent);
      Value part =
          inside ? form.flip(b, load(b, piece, address(b, row, place * shape.pixelBytes()), 1))
                 : splatConstant(b, piece, double(int8_t(form.outside)));
      if (unit.pixels() == 1)
        return part;
      if (!line)
        line = splatConstant(b, bytes(), 0);
      line = vector::InsertStridedSliceOp::create(
          b, part, line, ArrayRef<int64_t>{int64_t(i) * unit.bytes()}, ArrayRef<int64_t>{1});
    }
    return line;
  };
  auto finish = [&](int64_t r, const Parts &sums) {
    SmallVector<Value> results;
    for (int64_t j = 0; j < parts; ++j)
      results.push_back(shape.epilogue.apply(frame, sums[size_t(j)], [&](BlockArgument parameter) {
        return weights.columns.lookup(parameter)[size_t(j)];
      }));
    Value joined = joinParts(results);
    int64_t pixel = shape.epilogue.strideOfResult();
    Value first = address(b, frame.writeBuffer(0), frame.add(resultRow, position), pixel);
    first = address(b, first, unit.panel, lanes);
    for (auto [i, from] : llvm::enumerate(tile.starts)) {
      Value part = joined;
      if (unit.pixels() > 1)
        part = vector::ExtractStridedSliceOp::create(
            b, joined, ArrayRef<int64_t>{int64_t(i) * unit.bytes()},
            ArrayRef<int64_t>{unit.bytes()}, ArrayRef<int64_t>{1});
      store(b, part, address(b, first, (from + r) * pixel), 1);
    }
  };
  SmallVector<Value> at;
  for (Value row : rows)
    at.push_back(address(b, row, position, stride * shape.pixelBytes()));
  SmallVector<Parts> sums(size_t(tile.count));
  for (int64_t column = 0; column < columns; ++column) {
    SmallVector<std::pair<int64_t, int64_t>> seen; // position and tap
    for (int64_t r = 0; r < tile.count; ++r)
      if (int64_t from = column - r * stride;
          from >= 0 && from % dilation == 0 && from / dilation < shape.kernel[1])
        seen.push_back({r, from / dilation});
    if (seen.empty())
      continue;
    SmallVector<Value> bytesOfRows;
    for (Value row : at)
      bytesOfRows.push_back(loadLine(row, column));
    Parts quads = makeColumn(bytesOfRows);
    for (auto [r, tap] : seen) {
      Parts &sum = sums[size_t(r)];
      if (sum.empty())
        sum = start;
      for (size_t j = 0; j < size_t(parts); ++j)
        sum[j] = emitByteDot(b, *form.dot, sum[j], quads[j], taps[size_t(tap)][j]);
      if (tap + 1 == shape.kernel[1])
        finish(r, sum);
    }
  }
}

// ---- Lines --------------------------------------------------------------------------------------

void DepthwiseCodes::emitLine(Value index, const Unit &unit, const UnitWeights &weights) {
  ImageLines::Line line = lines.at(index);
  int64_t vertical = shape.kernel[0];
  // The byte of each vertical tap that lies inside; of the others the nearest line is read.
  Value zero = i64(b, 0), last = frame.sub(lines.imageExtent(0), i64(b, 1));
  SmallVector<Value> rows;
  Value mask = arith::ConstantOp::create(b, b.getI32IntegerAttr(0));
  for (int64_t tap = 0; tap < vertical; ++tap) {
    Value at = frame.add(line.from[0], i64(b, tap * shape.dilations[0]));
    Value inside = arith::CmpIOp::create(b, arith::CmpIPredicate::ult, at, lines.imageExtent(0));
    Value byte =
        arith::ConstantOp::create(b, b.getI32IntegerAttr(int32_t(uint32_t(255) << (8 * tap))));
    Value none = arith::ConstantOp::create(b, b.getI32IntegerAttr(0));
    mask = arith::OrIOp::create(b, mask, arith::SelectOp::create(b, inside, byte, none));
    Value place = frame.min(frame.max(at, zero), last);
    Value number = frame.mul(frame.add(frame.mul(line.image, lines.imageExtent(0)), place),
                             lines.imageExtent(1));
    rows.push_back(
        address(b, address(b, frame.buffer(shape.imageParameter), number, shape.pixelBytes()),
                unit.panel, lanes));
  }
  // What lies outside is multiplied with the weights that are left out.
  Value kept = broadcast(b, mask, lanes);
  Value left = arith::XOrIOp::create(b, kept, splatConstant(b, ints(), -1));
  Value outside = splatConstant(b, ints(), double(int32_t(uint32_t(form.outside) * 0x01010101u)));
  SmallVector<Parts> taps;
  Parts start = weights.start;
  for (const Parts &tap : weights.taps) {
    Parts inside;
    for (size_t j = 0; j < size_t(parts); ++j) {
      inside.push_back(arith::AndIOp::create(b, tap[j], kept));
      if (form.outside)
        start[j] =
            emitByteDot(b, *form.dot, start[j], outside, arith::AndIOp::create(b, tap[j], left));
    }
    taps.push_back(std::move(inside));
  }
  Value resultRow = frame.mul(index, lines.resultExtent(1));
  SmallVector<Tile> tiles = cut(unit.pixels());
  for (size_t i = 0; i < tiles.size();) {
    // Tiles of the interior that follow each other evenly are one loop.
    int64_t step = tiles[i].count * unit.pixels();
    size_t end = i + 1;
    auto isEven = [&](const Tile &tile) {
      return tile.starts.back() == tile.starts.front() + step - tile.count && isInterior(tile);
    };
    if (isEven(tiles[i]))
      while (end < tiles.size() && isEven(tiles[end]))
        ++end;
    auto emitAt = [&](Value position) {
      emitTile(tiles[i], position, rows, resultRow, unit, taps, start, weights);
    };
    if (end == i + 1)
      emitAt(zero);
    else
      loop(b, zero, i64(b, int64_t(end - i) * step), step, emitAt);
    i = end;
  }
}

void DepthwiseCodes::emitUnit(Value first, Value last, const Unit &unit) {
  UnitWeights weights = loadUnit(unit);
  loop(b, first, last, 1, [&](Value index) { emitLine(index, unit, weights); });
}

KernelCode DepthwiseCodes::emit() {
  constexpr int64_t items = 32;
  int64_t known = shape.resultExtent(0);
  if (!shape.result.isDynamicDim(0))
    known *= shape.result.getDimSize(0);
  int64_t block = llvm::divideCeil(known, std::clamp<int64_t>(items / units(), 1, known));
  int64_t wide = layout.panelCount() / 4, rest = layout.panelCount() % 4;
  Value count = lines.count();
  loop(b, frame.begin(), frame.end(), 1, [&](Value item) {
    Value unit = arith::RemUIOp::create(b, item, i64(b, units()));
    Value first = frame.mul(frame.floorDiv(item, units()), i64(b, block));
    Value last = frame.min(frame.add(first, i64(b, block)), count);
    auto isUnit = [&](arith::CmpIPredicate predicate, int64_t number) -> Value {
      return arith::CmpIOp::create(b, predicate, unit, i64(b, number));
    };
    if (wide)
      branch(b, isUnit(arith::CmpIPredicate::ult, wide),
             [&] { emitUnit(first, last, {frame.mul(unit, i64(b, 4)), 4}); });
    int64_t number = wide, panel = wide * 4;
    for (int64_t panels : {2, 1})
      if (rest & panels) {
        branch(b, isUnit(arith::CmpIPredicate::eq, number),
               [&] { emitUnit(first, last, {i64(b, panel), panels}); });
        ++number;
        panel += panels;
      }
  });
  auto map = [&](AffineExpr expr) { return AffineMap::get(0, dims, expr, b.getContext()); };
  return {map(lines.countExpr().ceilDiv(block) * units()),
          map(getAffineConstantExpr(0, b.getContext()))};
}

const KernelEmitter &kiln::depthwiseCodesEmitter() {
  static constexpr KernelEmitter emitter = {"convolution-depthwise-codes", refuse,
                                            emitConvolution<DepthwiseCodes>};
  return emitter;
}
