// A tile of rows times a few panels: for each element of depth a panel's 16 weights are loaded once
// and multiplied with the rows' elements, repeated in all lanes. With a dozen rows and two panels
// the units for multiplication never wait: neither for loads, of which two a cycle are possible,
// nor for sums, whose chains are as many as there are rows times panels.
#include "codegen/FloatTile.h"
#include "codegen/EmitSupport.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace kiln;
using namespace kiln::emit;

static constexpr int64_t lanes = PanelLayout::kPanelRows;

static int64_t registersOfPanel(const Target &target) {
  return std::max<int64_t>(1, lanes * 32 / target.vectorBits);
}

int64_t kiln::registersOf(TileSize tile, const Target &target) {
  int64_t weights = tile.panels * registersOfPanel(target);
  return tile.rows * weights + weights + (weights > 1 ? 1 : 0);
}

TileSize kiln::chooseTile(int64_t rows, int64_t panels, const Target &target) {
  constexpr int64_t mostRows = 14, mostPanels = 6;
  TileSize best;
  double least = 0;
  int64_t parts = registersOfPanel(target);
  for (int64_t p = 1; p <= std::min(panels, mostPanels); ++p)
    for (int64_t r = 1; r <= std::min(rows, mostRows); ++r) {
      if (registersOf({r, p}, target) > target.vectorRegisters && (r > 1 || p > 1))
        continue;
      // Cycles for one element of depth: products and loads go two at a time, and a sum waits four
      // cycles for the one before it. A little for the loop.
      double products = double(r * p * parts) / 2, loads = double(r + p * parts) / 2;
      double cycles = std::max({products, loads, 4.0}) + 0.25;
      double tiles = double(llvm::divideCeil(rows, r)) * double(llvm::divideCeil(panels, p));
      // Tiles are as even as can be, so that a part of one costs that part.
      double even = double(rows * panels) / double(r * p);
      double cost = cycles * (0.7 * even + 0.3 * tiles);
      if (!best.rows || cost < least) {
        best = {r, p};
        least = cost;
      }
    }
  return best;
}

SmallVector<int64_t> kiln::tileHeights(int64_t rows) {
  SmallVector<int64_t> heights{rows};
  for (auto height = int64_t(llvm::bit_floor(uint64_t(rows - 1))); height; height /= 2)
    heights.push_back(height);
  return heights;
}

void kiln::forHeights(ImplicitLocOpBuilder &b, ArrayRef<int64_t> heights, Value from, Value to,
                      llvm::function_ref<void(Value row, int64_t height)> body) {
  for (int64_t height : heights) {
    Value size = i64(b, height), left = arith::SubIOp::create(b, to, from);
    Value part = arith::MulIOp::create(b, arith::DivUIOp::create(b, left, size), size);
    Value end = arith::AddIOp::create(b, from, part);
    loop(b, from, end, height, [&](Value row) { body(row, height); });
    from = end;
  }
}

void kiln::setTileTuning(func::FuncOp function, const Target &target) {
  if (target.tuneFor.empty())
    return;
  OpBuilder b(function.getContext());
  function->setAttr("passthrough", b.getArrayAttr(b.getStrArrayAttr({"tune-cpu", target.tuneFor})));
}

std::optional<std::string> kiln::refuseFloatTile(const Format &format) {
  if (format.id == FormatId::F32 || format.id == FormatId::F16)
    return std::nullopt;
  return ("weights are " + format.name + ", not f32 or f16").str();
}

static Value loadPanel(ImplicitLocOpBuilder &b, const FloatProducts &products, Value panel, Value k,
                       int64_t i) {
  VectorType f32Type = vectorOf(lanes, b.getF32Type());
  bool isF32 = products.format->id == FormatId::F32;
  int64_t bytes = lanes * (isF32 ? 4 : 2);
  int64_t line = products.lineBytes ? products.lineBytes : bytes;
  Value at = address(b, panel, k, line, i * line);
  unsigned alignment = unsigned(std::min(line & -line, bytes));
  if (isF32)
    return load(b, f32Type, at, alignment);
  return arith::ExtFOp::create(b, f32Type, load(b, vectorOf(lanes, b.getF16Type()), at, alignment));
}

SmallVector<Value> kiln::emitFloatProducts(ImplicitLocOpBuilder &b, const FloatProducts &products,
                                           ValueRange sums) {
  bool apart = !products.addresses.empty();
  size_t rows = apart ? products.addresses.size() : products.places.size();
  auto step = [&](Value k, int64_t i, MutableArrayRef<Value> next) {
    SmallVector<Value> weights;
    for (Value panel : products.panels)
      weights.push_back(loadPanel(b, products, panel, k, i));
    for (size_t r = 0; r < rows; ++r) {
      if (!apart && !products.places[r])
        continue;
      Value base = apart ? products.addresses[r] : products.rows;
      int64_t offset = (apart ? 0 : *products.places[r]) + i * products.step;
      Value x = loadSplat(b, b.getF32Type(), address(b, base, k, products.step, offset), lanes);
      for (size_t p = 0; p < weights.size(); ++p)
        next[p * rows + r] = math::FmaOp::create(b, x, weights[p], next[p * rows + r]);
    }
  };
  constexpr int64_t unroll = 2, straight = 8;
  SmallVector<Value> current(sums);
  auto steps = [&](Value from, Value to, int64_t count) {
    current = loop(b, from, to, count, current, [&](Value k, ValueRange carried) {
      SmallVector<Value> next(carried);
      for (int64_t i = 0; i < count; ++i)
        step(k, i, next);
      return next;
    });
  };
  if (ShapedType::isDynamic(products.depth)) {
    Value rest = arith::AndIOp::create(b, products.depthValue, i64(b, -unroll));
    steps(i64(b, 0), rest, unroll);
    steps(rest, products.depthValue, 1);
    return current;
  }
  int64_t whole = products.depth > straight ? products.depth / unroll * unroll : 0;
  if (whole)
    steps(i64(b, 0), i64(b, whole), unroll);
  for (int64_t k = whole; k < products.depth; ++k)
    step(i64(b, k), 0, current);
  return current;
}
