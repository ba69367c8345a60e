// Lines of images: taps that fall outside of the image are cut off before the loops over them, so
// that no loop has a predicate. Along a line the extents are known, and with them which positions
// of a tile a tap touches: tiles at the edges have code of their own.
#include "codegen/conv/ImageLines.h"
#include "codegen/FloatTile.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace kiln;
using namespace kiln::emit;

SmallVector<TileRun> kiln::cutLine(const ConvolutionShape &shape, int64_t rows) {
  size_t last = shape.spatial() - 1;
  int64_t positions = shape.resultExtent(last), extent = shape.imageExtent(last);
  int64_t tiles = llvm::divideCeil(positions, rows), larger = llvm::divideCeil(positions, tiles);
  int64_t largerTiles = positions - tiles * (larger - 1);
  SmallVector<TileRun> runs;
  int64_t first = 0;
  for (int64_t i = 0; i < tiles; ++i) {
    TileRun run{first, i < largerTiles ? larger : larger - 1, 1, {}};
    for (int64_t tap = 0; tap < shape.kernel[last]; ++tap) {
      int64_t from = 0, to = 0;
      for (int64_t r = 0; r < run.rows; ++r) {
        int64_t at =
            (first + r) * shape.strides[last] + tap * shape.dilations[last] - shape.padsBegin[last];
        if (at < 0)
          from = r + 1;
        if (at < extent)
          to = r + 1;
      }
      run.inside.push_back({from, std::max(from, to)});
    }
    first += run.rows;
    if (!runs.empty() && runs.back().rows == run.rows && runs.back().inside == run.inside)
      ++runs.back().count;
    else
      runs.push_back(std::move(run));
  }
  return runs;
}

Value ImageLines::count() {
  Value lines = frame.rowsOf(shape.result);
  for (size_t i = 0; i + 1 < shape.spatial(); ++i)
    lines = frame.mul(lines, resultExtent(i));
  return lines;
}

AffineExpr ImageLines::countExpr() {
  AffineExpr lines = frame.rowsExprOf(shape.result);
  for (size_t i = 0; i + 1 < shape.spatial(); ++i)
    lines = lines * graph::extentExpr(shape.op, shape.result, unsigned(i) + 1);
  return lines;
}

ImageLines::Line ImageLines::at(Value index) {
  Line line;
  size_t dims = shape.spatial() - 1;
  line.from.resize(dims);
  line.low.resize(dims);
  line.high.resize(dims);
  for (size_t i = dims; i-- > 0;) {
    int64_t stride = shape.strides[i], dilation = shape.dilations[i], taps = shape.kernel[i],
            pad = shape.padsBegin[i];
    Value position = arith::RemUIOp::create(b, index, resultExtent(i));
    index = arith::DivUIOp::create(b, index, resultExtent(i));
    line.from[i] = frame.sub(frame.mul(position, i64(b, stride)), i64(b, pad));
    line.low[i] = i64(b, 0);
    line.high[i] = i64(b, taps);
    if (pad)
      line.low[i] =
          frame.ceilDiv(frame.max(frame.sub(i64(b, 0), line.from[i]), i64(b, 0)), dilation);
    bool isInside =
        !ShapedType::isDynamic(shape.imageExtent(i)) &&
        !ShapedType::isDynamic(shape.resultExtent(i)) &&
        (shape.resultExtent(i) - 1) * stride - pad + (taps - 1) * dilation < shape.imageExtent(i);
    if (!isInside) {
      Value left = frame.max(frame.sub(imageExtent(i), line.from[i]), i64(b, 0));
      line.high[i] = frame.min(line.high[i], frame.ceilDiv(left, dilation));
    }
  }
  line.image = index;
  return line;
}

SmallVector<Value> ImageLines::nest(const Line &line, size_t dim, Value number, Value tap,
                                    ValueRange carried, Body body) {
  if (dim + 1 == shape.spatial())
    return body(number, frame.mul(tap, i64(b, shape.kernel[dim])), carried);
  return loop(b, line.low[dim], line.high[dim], 1, carried, [&](Value i, ValueRange inner) {
    Value at = frame.add(line.from[dim], frame.mul(i, i64(b, shape.dilations[dim])));
    return nest(line, dim + 1, frame.add(frame.mul(number, imageExtent(dim)), at),
                frame.add(frame.mul(tap, i64(b, shape.kernel[dim])), i), inner, body);
  });
}

SmallVector<Value> ImageLines::forTaps(const Line &line, ValueRange carried, Body body) {
  return nest(line, 0, line.image, i64(b, 0), carried, body);
}

SmallVector<std::pair<Value, Value>> kiln::complement(KernelFrame &frame, Value low, Value high,
                                                      int64_t count) {
  ImplicitLocOpBuilder &b = frame.builder();
  Value before = frame.min(low, i64(b, count));
  return {{i64(b, 0), before}, {frame.max(before, high), i64(b, count)}};
}

SmallVector<Value> ImageLines::nestOutside(const Line &line, size_t dim, Value tap,
                                           ValueRange carried, Body body) {
  SmallVector<Value> state(carried);
  if (dim + 1 == shape.spatial())
    return state;
  int64_t rest = 1; // taps of one of this dim's
  for (int64_t extent : shape.kernel.drop_front(dim + 1))
    rest *= extent;
  Value first = frame.mul(tap, i64(b, shape.kernel[dim]));
  for (auto [from, to] : complement(frame, line.low[dim], line.high[dim], shape.kernel[dim]))
    state = body(frame.mul(frame.add(first, from), i64(b, rest)),
                 frame.mul(frame.sub(to, from), i64(b, rest)), state);
  if (dim + 2 == shape.spatial())
    return state;
  return loop(b, line.low[dim], line.high[dim], 1, state, [&](Value i, ValueRange inner) {
    return nestOutside(line, dim + 1, frame.add(first, i), inner, body);
  });
}

SmallVector<Value> ImageLines::forTapsOutside(const Line &line, ValueRange carried, Body body) {
  return nestOutside(line, 0, i64(b, 0), carried, body);
}

// ---- Lines of unknown length --------------------------------------------------------------------

std::pair<Value, Value> ImageLines::interior() {
  size_t last = shape.spatial() - 1;
  int64_t stride = shape.strides[last], pad = shape.padsBegin[last],
          reach = (shape.kernel[last] - 1) * shape.dilations[last];
  Value positions = resultExtent(last);
  Value from = frame.min(i64(b, llvm::divideCeil(pad, stride)), positions);
  // The last position whose last tap lies inside, and one more.
  Value room = frame.add(imageExtent(last), i64(b, pad - reach - 1 + stride));
  Value to = frame.floorDiv(frame.max(room, i64(b, 0)), stride);
  return {from, frame.max(from, frame.min(to, positions))};
}

std::pair<Value, Value> ImageLines::tapsAt(Value position) {
  size_t last = shape.spatial() - 1;
  int64_t dilation = shape.dilations[last];
  Value at =
      frame.sub(frame.mul(position, i64(b, shape.strides[last])), i64(b, shape.padsBegin[last]));
  Value before = frame.max(frame.sub(i64(b, 0), at), i64(b, 0));
  Value left = frame.max(frame.sub(imageExtent(last), at), i64(b, 0));
  return {frame.ceilDiv(before, dilation),
          frame.min(i64(b, shape.kernel[last]), frame.ceilDiv(left, dilation))};
}

void ImageLines::forPositions(ArrayRef<int64_t> heights,
                              llvm::function_ref<void(Value, int64_t)> emitInterior,
                              llvm::function_ref<void(Value)> edge) {
  auto [from, to] = interior();
  loop(b, i64(b, 0), from, 1, edge);
  forHeights(b, heights, from, to, emitInterior);
  loop(b, to, resultExtent(shape.spatial() - 1), 1, edge);
}
