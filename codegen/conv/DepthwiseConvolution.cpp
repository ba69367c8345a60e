// Convolutions that keep channels apart: vectors of 16 channels of neighbouring positions times the
// weights of a tap, which a panel holds for 16 outputs side by side. Memory is the limit, so for
// each tile of positions all channels follow each other as they lie.
#include "codegen/ByteTile.h"
#include "codegen/FloatTile.h"
#include "codegen/Target.h"
#include "codegen/conv/Convolution.h"
#include "codegen/conv/ImageLines.h"
#include "mlir/Dialect/Math/IR/Math.h"
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
  if (shape->groups != shape->channels || shape->groups != shape->outputs)
    return "an output has more or less than a channel of its own";
  if (shape->kernel.empty() || shape->kernel.back() > 32)
    return "its window is too wide to be unrolled";
  return std::nullopt;
}

namespace {

class DepthwiseConvolution {
public:
  DepthwiseConvolution(exec::KernelOp kernel, const Target &target, OpBuilder &builder,
                       ConvolutionShape matched)
      : shape(std::move(matched)), frame(kernel, builder), b(frame.builder()),
        layout(shape.layout()), lines(frame, shape),
        form(*target.byteDot, shape.image.getElementType(), shape.outside()),
        dims(kernel.getDims().size()) {
    int64_t parts = std::max<int64_t>(1, lanes * 32 / target.vectorBits);
    mostRows = std::min<int64_t>(14, target.vectorRegisters / parts - 2);
    if (shape.isStatic())
      runs = cutLine(shape, mostRows);
  }

  KernelCode emit() {
    // Blocks of panels give more items where lines are few.
    constexpr int64_t items = 64;
    int64_t known = 1;
    for (int64_t extent : shape.result.getShape().drop_back(2))
      known *= ShapedType::isDynamic(extent) ? 1 : extent;
    int64_t parts = std::clamp<int64_t>(items / known, 1, layout.panelCount());
    int64_t panels = llvm::divideCeil(layout.panelCount(), parts);
    parts = llvm::divideCeil(layout.panelCount(), panels);
    loop(b, frame.begin(), frame.end(), 1, [&](Value item) {
      Value line = frame.floorDiv(item, parts);
      Value from = frame.mul(arith::RemUIOp::create(b, item, i64(b, parts)), i64(b, panels));
      emitLine(line, from, frame.min(frame.add(from, i64(b, panels)), i64(b, layout.panelCount())));
    });
    auto map = [&](AffineExpr expr) { return AffineMap::get(0, dims, expr, b.getContext()); };
    return {map(lines.countExpr() * parts), map(getAffineConstantExpr(0, b.getContext()))};
  }

private:
  bool areVectorsWhole() const {
    return shape.channels % lanes == 0 ||
           shape.imageStride >= int64_t(llvm::alignTo(shape.channels, lanes));
  }

  void emitLine(Value index, Value fromPanel, Value toPanel) {
    ImageLines::Line line = lines.at(index);
    Value row = frame.mul(index, lines.resultExtent(shape.spatial() - 1));
    if (!shape.isStatic()) {
      auto emitAt = [&](Value position, int64_t rows, bool isEdge) {
        loop(b, fromPanel, toPanel, 1, [&](Value panel) {
          TileRun run{0, rows, 1, {}};
          run.inside.assign(size_t(shape.kernel.back()), {0, rows});
          emitTile(run, line, position, row, panel, isEdge);
        });
      };
      lines.forPositions(
          {mostRows, 1}, [&](Value position, int64_t rows) { emitAt(position, rows, false); },
          [&](Value position) { emitAt(position, 1, true); });
      return;
    }
    for (const TileRun &run : runs) {
      auto emitAt = [&](Value position) {
        loop(b, fromPanel, toPanel, 1,
             [&](Value panel) { emitTile(run, line, position, row, panel); });
      };
      if (run.count == 1)
        emitAt(i64(b, run.first));
      else
        loop(b, i64(b, run.first), i64(b, run.first + run.count * run.rows), run.rows, emitAt);
    }
  }

  VectorType sumType() { return vectorOf(lanes, shape.result.getElementType()); }

  Value panelAt(Value panel) {
    return address(b, frame.buffer(shape.weightParameter), panel, layout.panelBytes());
  }

  Value loadWeights(Value panel, Value tap, int64_t i) {
    VectorType type = sumType();
    int64_t bytes = lanes * shape.tapDepth() * shape.format->bits / 8;
    Value at = address(b, panelAt(panel), tap, bytes, i * bytes);
    if (shape.isCodes()) // of a tap's quads the first holds its weight
      return load(b, type, at, PanelLayout::kAlignment);
    if (shape.format->id == FormatId::F32)
      return load(b, type, at, unsigned(bytes));
    return arith::ExtFOp::create(b, type,
                                 load(b, vectorOf(lanes, b.getF16Type()), at, unsigned(bytes)));
  }

  /// Channels of a pixel, of which fewer than a vector may be left; codes as quads of which only
  /// the first counts, as it is in the weights of a tap.
  Value loadChannels(Value at, Value column) {
    Type element = graph::ElementBuilder::codeType(shape.image.getElementType());
    Value channels = areVectorsWhole()
                         ? load(b, vectorOf(lanes, element), at, unsigned(shape.elementBytes()))
                         : shape.epilogue.loadWithin(frame, element, at, column);
    if (!shape.isCodes())
      return channels;
    return arith::ExtUIOp::create(b, sumType(), form.flip(b, channels));
  }

  Value multiply(Value channels, Value weights, Value sum) {
    if (shape.isCodes())
      return emitByteDot(b, *form.dot, sum, channels, weights);
    return math::FmaOp::create(b, channels, weights, sum);
  }

  /// What the sums of a line of the result begin with: the bias, and the taps outside of the image
  /// that all positions have.
  Value startSum(const ImageLines::Line &line, Value panel, Value column) {
    Value start = splatConstant(b, sumType(), 0);
    if (shape.bias)
      start = shape.epilogue.loadColumns(frame, shape.bias, {Value(), column});
    if (!shape.isCodes())
      return start;
    start = arith::AddIOp::create(b, start, form.startSums(b, panelAt(panel), layout.sumsOffset()));
    if (!form.outside)
      return start;
    return lines.forTapsOutside(line, start, [&](Value tap, Value taps, ValueRange carried) {
      return addOutside(panel, tap, taps, carried[0]);
    })[0];
  }

  /// Adds the products of `taps` taps (i64) from number `tap` on with what lies outside.
  SmallVector<Value> addOutside(Value panel, Value tap, Value taps, Value sum) {
    int64_t bytes = lanes * shape.tapDepth();
    return emitOutside(b, form, address(b, panelAt(panel), tap, bytes),
                       frame.mul(taps, i64(b, shape.tapDepth())), sum);
  }

  /// `isEdge`: a position that not all taps of the line lie inside for.
  void emitTile(const TileRun &run, const ImageLines::Line &line, Value position, Value row,
                Value panel, bool isEdge = false) {
    size_t last = shape.spatial() - 1;
    int64_t pixel = shape.pixelBytes();
    Value column = frame.mul(panel, i64(b, lanes));
    SmallVector<Value> sums = lines.forTaps(
        line, SmallVector<Value>(size_t(run.rows), startSum(line, panel, column)),
        [&](Value number, Value tap, ValueRange carried) {
          Value from = frame.sub(frame.mul(position, i64(b, shape.strides[last])),
                                 i64(b, shape.padsBegin[last]));
          Value first = frame.add(frame.mul(number, lines.imageExtent(last)), from);
          Value at = address(b, address(b, frame.buffer(shape.imageParameter), first, pixel), panel,
                             lanes * shape.elementBytes());
          SmallVector<Value> next(carried);
          if (isEdge) {
            auto [low, high] = lines.tapsAt(position);
            if (shape.isCodes() && form.outside)
              for (auto [first, end] : complement(frame, low, high, shape.kernel[last]))
                next = addOutside(panel, frame.add(tap, first), frame.sub(end, first), next[0]);
            return loop(b, low, high, 1, next, [&](Value i, ValueRange inner) {
              Value x = loadChannels(address(b, at, i, shape.dilations[last] * pixel), column);
              Value weights = loadWeights(panel, frame.add(tap, i), 0);
              return SmallVector<Value>{multiply(x, weights, inner[0])};
            });
          }
          for (int64_t i = 0; i < shape.kernel[last]; ++i) {
            auto [low, high] = run.inside[size_t(i)];
            bool countsOutside = shape.isCodes() && form.outside;
            if (low >= high && !countsOutside)
              continue;
            Value weights = loadWeights(panel, tap, i);
            for (int64_t r = 0; r < run.rows; ++r) {
              bool isInside = low <= r && r < high;
              if (!isInside && !countsOutside)
                continue;
              int64_t place = r * shape.strides[last] + i * shape.dilations[last];
              Value x = isInside ? loadChannels(address(b, at, place * pixel), column)
                                 : splatConstant(b, sumType(), form.outside);
              next[size_t(r)] = multiply(x, weights, next[size_t(r)]);
            }
          }
          return next;
        });
    for (int64_t r = 0; r < run.rows; ++r)
      shape.epilogue.emit(frame, sums[size_t(r)],
                          {frame.add(row, position), column, r,
                           shape.outputs % lanes == 0 || shape.epilogue.mayTouchWholeVectors()});
  }

  ConvolutionShape shape;
  KernelFrame frame;
  ImplicitLocOpBuilder &b;
  PanelLayout layout;
  ImageLines lines;
  CodeForm form;
  int64_t mostRows = 1;
  SmallVector<TileRun> runs;
  unsigned dims;
};

} // namespace

const KernelEmitter &kiln::depthwiseConvolutionEmitter() {
  static constexpr KernelEmitter emitter = {"convolution-depthwise", refuse,
                                            emitConvolution<DepthwiseConvolution>};
  return emitter;
}
