// Convolutions that keep channels apart: vectors of 16 channels of neighbouring positions times the
// weights of a tap, which a panel holds for 16 outputs side by side. Memory is the limit, so for
// each tile of positions all channels follow each other as they lie.
#include "codegen/FloatTile.h"
#include "codegen/Target.h"
#include "codegen/conv/Convolution.h"
#include "codegen/conv/ImageLines.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
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
  if (std::optional<std::string> why = refuseFloatTile(*shape->format))
    return why;
  if (shape->groups != shape->channels || shape->groups != shape->outputs)
    return "an output has more or less than a channel of its own";
  if (shape->kernel.back() > 32)
    return "its window is too wide to be unrolled";
  return std::nullopt;
}

namespace {

class DepthwiseConvolution {
public:
  DepthwiseConvolution(exec::KernelOp kernel, const Target &target, OpBuilder &builder,
                       ConvolutionShape matched)
      : shape(std::move(matched)), frame(kernel, builder), b(frame.builder()),
        layout(shape.layout()), lines(frame, shape), dims(kernel.getDims().size()) {
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

  Value loadWeights(Value panel, Value tap, int64_t i) {
    VectorType type = vectorOf(lanes, b.getF32Type());
    int64_t bytes = lanes * shape.format->bits / 8;
    Value base = address(b, frame.buffer(shape.weightParameter), panel, layout.panelBytes());
    Value at = address(b, base, tap, bytes, i * bytes);
    if (shape.format->id == FormatId::F32)
      return load(b, type, at, unsigned(bytes));
    return arith::ExtFOp::create(b, type,
                                 load(b, vectorOf(lanes, b.getF16Type()), at, unsigned(bytes)));
  }

  Value loadChannels(Value at, Value mask) {
    VectorType type = vectorOf(lanes, b.getF32Type());
    if (!mask)
      return load(b, type, at, 4);
    return LLVM::MaskedLoadOp::create(b, type, at, mask, splatConstant(b, type, 0), 4);
  }

  /// `isEdge`: a position that not all taps of the line lie inside for.
  void emitTile(const TileRun &run, const ImageLines::Line &line, Value position, Value row,
                Value panel, bool isEdge = false) {
    size_t last = shape.spatial() - 1;
    int64_t pixel = shape.imageStride * 4;
    VectorType type = vectorOf(lanes, b.getF32Type());
    Value column = frame.mul(panel, i64(b, lanes)), mask;
    Value start = shape.bias ? shape.epilogue.loadColumns(frame, shape.bias, {Value(), column})
                             : splatConstant(b, type, 0);
    if (!areVectorsWhole()) {
      SmallVector<int64_t> iota = llvm::to_vector(llvm::seq<int64_t>(0, lanes));
      Value lane = arith::ConstantOp::create(
          b, DenseElementsAttr::get(vectorOf(lanes, b.getI64Type()), ArrayRef<int64_t>(iota)));
      Value left = broadcast(b, frame.sub(i64(b, shape.channels), column), lanes);
      mask = arith::CmpIOp::create(b, arith::CmpIPredicate::slt, lane, left);
    }
    SmallVector<Value> sums = lines.forTaps(
        line, SmallVector<Value>(size_t(run.rows), start),
        [&](Value number, Value tap, ValueRange carried) {
          Value from = frame.sub(frame.mul(position, i64(b, shape.strides[last])),
                                 i64(b, shape.padsBegin[last]));
          Value first = frame.add(frame.mul(number, lines.imageExtent(last)), from);
          Value at = address(b, address(b, frame.buffer(shape.imageParameter), first, pixel), panel,
                             lanes * 4);
          SmallVector<Value> next(carried);
          if (isEdge) {
            auto [low, high] = lines.tapsAt(position);
            return loop(b, low, high, 1, carried, [&](Value i, ValueRange inner) {
              Value x = loadChannels(address(b, at, i, shape.dilations[last] * pixel), mask);
              Value weights = loadWeights(panel, frame.add(tap, i), 0);
              return SmallVector<Value>{math::FmaOp::create(b, x, weights, inner[0])};
            });
          }
          for (int64_t i = 0; i < shape.kernel[last]; ++i) {
            auto [low, high] = run.inside[size_t(i)];
            if (low >= high)
              continue;
            Value weights = loadWeights(panel, tap, i);
            for (int64_t r = low; r < high; ++r) {
              int64_t place = r * shape.strides[last] + i * shape.dilations[last];
              Value x = loadChannels(address(b, at, place * pixel), mask);
              next[size_t(r)] = math::FmaOp::create(b, x, weights, next[size_t(r)]);
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
  int64_t mostRows = 1;
  SmallVector<TileRun> runs;
  unsigned dims;
};

} // namespace

const KernelEmitter &kiln::depthwiseConvolutionEmitter() {
  static constexpr KernelEmitter emitter = {
      "convolution-depthwise", refuse,
      [](exec::KernelOp kernel, const Target &target, OpBuilder &builder) -> FailureOr<KernelCode> {
        std::string reason;
        std::optional<ConvolutionShape> shape = ConvolutionShape::match(kernel, reason);
        if (!shape)
          return kernel.emitOpError() << "has no convolution: " << reason;
        return DepthwiseConvolution(kernel, target, builder, std::move(*shape)).emit();
      }};
  return emitter;
}
