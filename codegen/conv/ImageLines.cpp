// Lines of images: taps that fall outside of the image are cut off before the loops over them, so
// that no loop has a predicate. Along a line the extents are known, and with them which positions
// of a tile a tap touches: tiles at the edges have code of their own.
#include "codegen/conv/ImageLines.h"
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
    lines = frame.mul(lines, i64(b, shape.resultExtent(i)));
  return lines;
}

AffineExpr ImageLines::countExpr() {
  AffineExpr lines = frame.rowsExprOf(shape.result);
  for (size_t i = 0; i + 1 < shape.spatial(); ++i)
    lines = lines * shape.resultExtent(i);
  return lines;
}

ImageLines::Line ImageLines::at(Value index) {
  Line line;
  size_t dims = shape.spatial() - 1;
  line.from.resize(dims);
  line.low.resize(dims);
  line.high.resize(dims);
  for (size_t i = dims; i-- > 0;) {
    int64_t extent = shape.imageExtent(i), positions = shape.resultExtent(i),
            stride = shape.strides[i], dilation = shape.dilations[i], taps = shape.kernel[i],
            pad = shape.padsBegin[i];
    Value position = arith::RemUIOp::create(b, index, i64(b, positions));
    index = frame.floorDiv(index, positions);
    line.from[i] = frame.sub(frame.mul(position, i64(b, stride)), i64(b, pad));
    line.low[i] = i64(b, 0);
    line.high[i] = i64(b, taps);
    if (pad)
      line.low[i] =
          frame.ceilDiv(frame.max(frame.sub(i64(b, 0), line.from[i]), i64(b, 0)), dilation);
    if ((positions - 1) * stride - pad + (taps - 1) * dilation >= extent) {
      Value left = frame.max(frame.sub(i64(b, extent), line.from[i]), i64(b, 0));
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
    return nest(line, dim + 1, frame.add(frame.mul(number, i64(b, shape.imageExtent(dim))), at),
                frame.add(frame.mul(tap, i64(b, shape.kernel[dim])), i), inner, body);
  });
}

SmallVector<Value> ImageLines::forTaps(const Line &line, ValueRange carried, Body body) {
  return nest(line, 0, line.image, i64(b, 0), carried, body);
}
