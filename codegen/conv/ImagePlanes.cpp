// Pixels outside of the image are zeros, and so are channels past the last, up to a whole group.
#include "codegen/conv/ImagePlanes.h"
#include "codegen/EmitSupport.h"
#include "codegen/SplitFloat.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace kiln;
using namespace kiln::emit;

static constexpr int64_t lanes = 16;

std::optional<std::string> ImagePlanes::refuse(const ConvolutionShape &shape) {
  if (!shape.isStatic())
    return "the image's size is not known";
  if (shape.spatial() > 2)
    return "the image has more than two dims";
  // For each tap there is an offset, for each plane code of its own.
  constexpr int64_t mostTaps = 128, mostPlanes = 9;
  int64_t planes = 1;
  for (auto [taps, stride] : llvm::zip(shape.kernel, shape.strides))
    planes *= std::min(taps, stride);
  if (shape.taps() > mostTaps || planes > mostPlanes)
    return "its window or its strides are too large";
  return std::nullopt;
}

ImagePlanes::Axis ImagePlanes::describe(const ConvolutionShape &shape, size_t dim) {
  Axis axis;
  axis.extent = shape.imageExtent(dim);
  axis.positions = shape.resultExtent(dim);
  axis.stride = shape.strides[dim];
  int64_t most = 0;
  for (int64_t tap = 0; tap < shape.kernel[dim]; ++tap) {
    int64_t distance = tap * shape.dilations[dim] - shape.padsBegin[dim];
    int64_t whole = llvm::divideFloorSigned(distance, axis.stride);
    int64_t residue = distance - whole * axis.stride;
    int64_t *plane = llvm::find(axis.residues, residue);
    axis.ofTaps.push_back({plane - axis.residues.begin(), whole});
    if (plane == axis.residues.end())
      axis.residues.push_back(residue);
    axis.least = tap ? std::min(axis.least, whole) : whole;
    most = tap ? std::max(most, whole) : whole;
  }
  for (auto &[plane, distance] : axis.ofTaps)
    distance -= axis.least;
  axis.span = most - axis.least;
  return axis;
}

ImagePlanes::ImagePlanes(const ConvolutionShape &shape, int64_t lines)
    : shape(shape), columns(describe(shape, shape.spatial() - 1)), lines(lines) {
  if (shape.spatial() == 2)
    rows = describe(shape, 0);
  else
    rows.residues = {0}, rows.ofTaps = {{0, 0}};
}

int64_t ImagePlanes::groups() const { return llvm::divideCeil(shape.depth(), MatrixUnit::kDepth); }

/// Of a plane; the last tiles may reach past what is brought in.
int64_t ImagePlanes::pixels() const {
  int64_t positions = int64_t(llvm::alignTo(uint64_t(lines * width()), 2 * MatrixUnit::kRows));
  return positions + rows.span * width() + columns.span;
}

int64_t ImagePlanes::groupBytes() const { return kFloatParts * partBytes(); }
int64_t ImagePlanes::bytes() const { return planes() * groups() * groupBytes(); }

int64_t ImagePlanes::tapOffset(int64_t tap) const {
  auto [row, down] = rows.ofTaps[size_t(tap) / columns.ofTaps.size()];
  auto [column, right] = columns.ofTaps[size_t(tap) % columns.ofTaps.size()];
  int64_t plane = row * int64_t(columns.residues.size()) + column;
  return plane * groups() * groupBytes() + (down * width() + right) * kPixelBytes;
}

void ImagePlanes::prepare(KernelFrame &frame, const MatrixUnit &unit, Value image, Value first,
                          Value count, Value destination) const {
  ImplicitLocOpBuilder &b = frame.builder();
  Value base = frame.buffer(shape.imageParameter);
  for (auto [i, row] : llvm::enumerate(rows.residues))
    for (auto [j, column] : llvm::enumerate(columns.residues)) {
      int64_t plane = int64_t(i * columns.residues.size() + j);
      Value to = address(b, destination, plane * groups() * groupBytes());
      Value end = frame.add(count, i64(b, rows.span));
      loop(b, i64(b, 0), end, 1, [&](Value line) {
        Value number = frame.add(frame.add(first, line), i64(b, rows.least));
        Value pixelLine = frame.add(frame.mul(number, i64(b, rows.stride)), i64(b, row));
        Value at = address(b, to, line, width() * kPixelBytes);
        Value inside = arith::AndIOp::create(
            b, arith::CmpIOp::create(b, arith::CmpIPredicate::sge, pixelLine, i64(b, 0)),
            arith::CmpIOp::create(b, arith::CmpIPredicate::slt, pixelLine, i64(b, rows.extent)));
        auto copy = [&] {
          Value source = frame.add(frame.mul(image, i64(b, rows.extent)), pixelLine);
          prepareLine(frame, unit, address(b, base, source, columns.extent * shape.pixelBytes()),
                      column, at);
        };
        branch(b, inside, copy, [&] { clear(frame, 0, width(), at); });
      });
    }
}

/// Zeros for the pixels [from, to) of a line.
void ImagePlanes::clear(KernelFrame &frame, int64_t from, int64_t to, Value destination) const {
  if (from >= to)
    return;
  ImplicitLocOpBuilder &b = frame.builder();
  Value zero = splatConstant(b, vectorOf(MatrixUnit::kDepth, b.getBF16Type()), 0);
  loop(b, i64(b, 0), i64(b, groups() * kFloatParts), 1, [&](Value part) {
    Value at = address(b, destination, part, partBytes());
    loop(b, i64(b, from), i64(b, to), 1,
         [&](Value pixel) { store(b, zero, address(b, at, pixel, kPixelBytes), 64); });
  });
}

/// One line of the image, of which a plane takes the pixels of one residue.
void ImagePlanes::prepareLine(KernelFrame &frame, const MatrixUnit &unit, Value source,
                              int64_t residue, Value destination) const {
  ImplicitLocOpBuilder &b = frame.builder();
  auto pixelAt = [&](int64_t i) { return columns.stride * (i + columns.least) + residue; };
  int64_t from = 0, to = width();
  while (from < to && pixelAt(from) < 0)
    ++from;
  while (to > from && pixelAt(to - 1) >= columns.extent)
    --to;
  clear(frame, 0, from, destination);
  clear(frame, to, width(), destination);
  VectorType vector = vectorOf(lanes, b.getF32Type());
  auto loadChannels = [&](Value at, int64_t count) -> Value {
    if (count >= lanes)
      return load(b, vector, at, 4);
    Value zeros = splatConstant(b, vector, 0);
    if (count <= 0)
      return zeros;
    SmallVector<bool> keep(lanes, false);
    std::fill_n(keep.begin(), count, true);
    Value mask = arith::ConstantOp::create(
        b, DenseElementsAttr::get(vectorOf(lanes, b.getI1Type()), ArrayRef<bool>(keep)));
    return LLVM::MaskedLoadOp::create(b, vector, at, mask, zeros, 4);
  };
  auto emitGroup = [&](Value group, int64_t channels) {
    Value read = address(b, source, group, MatrixUnit::kDepth * 4);
    Value written = address(b, destination, group, groupBytes());
    loop(b, i64(b, from), i64(b, to), 1, [&](Value pixel) {
      Value at = address(b, read, pixel, columns.stride * shape.pixelBytes(),
                         pixelAt(0) * shape.pixelBytes());
      SmallVector<Value> low = emitSplitFloat(b, loadChannels(at, channels));
      SmallVector<Value> high =
          emitSplitFloat(b, loadChannels(address(b, at, lanes * 4), channels - lanes));
      for (int64_t part = 0; part < kFloatParts; ++part)
        store(b, unit.packRow(b, low[size_t(part)], high[size_t(part)]),
              address(b, written, pixel, kPixelBytes, part * partBytes()), 64);
    });
  };
  int64_t whole = shape.depth() / MatrixUnit::kDepth;
  loop(b, i64(b, 0), i64(b, whole), 1, [&](Value group) { emitGroup(group, MatrixUnit::kDepth); });
  if (int64_t rest = shape.depth() % MatrixUnit::kDepth)
    emitGroup(i64(b, whole), rest);
}
