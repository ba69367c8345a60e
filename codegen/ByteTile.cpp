// A tile of rows times a few panels of codes: for each quad of depth a panel's line of 64 bytes, 16
// outputs times four codes, is loaded once and multiplied with the rows' quads, repeated in all
// lanes. The registers are those of FloatTile, each product is four times as many.
#include "codegen/ByteTile.h"
#include "codegen/EmitSupport.h"
#include "codegen/PanelVectors.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/TypeUtilities.h"

using namespace mlir;
using namespace kiln;
using namespace kiln::emit;

static constexpr int64_t lanes = PanelLayout::kPanelRows, quadBytes = lanes * 4;

// ---- Dot products -------------------------------------------------------------------------------

/// Byte after byte, widened in place.
static Value emitPlainDot(ImplicitLocOpBuilder &b, Value sum, Value x, Value w) {
  auto type = cast<VectorType>(sum.getType());
  auto byteOf = [&](Value vector, int64_t i) -> Value {
    Value up = splatConstant(b, type, double(24 - 8 * i)), down = splatConstant(b, type, 24);
    return arith::ShRSIOp::create(b, arith::ShLIOp::create(b, vector, up), down);
  };
  for (int64_t i = 0; i < 4; ++i)
    sum = arith::AddIOp::create(b, sum, arith::MulIOp::create(b, byteOf(x, i), byteOf(w, i)));
  return sum;
}

const ByteDot kiln::plainByteDot = {"plain", /*isUnsigned=*/false, lanes, emitPlainDot};

Value kiln::emitByteDot(ImplicitLocOpBuilder &b, const ByteDot &dot, Value sum, Value x, Value w) {
  if (dot.width == lanes)
    return dot.emit(b, sum, x, w);
  Value result = sum;
  for (int64_t from = 0; from < lanes; from += dot.width) {
    auto part = [&](Value vector) -> Value {
      return vector::ExtractStridedSliceOp::create(
          b, vector, ArrayRef<int64_t>{from}, ArrayRef<int64_t>{dot.width}, ArrayRef<int64_t>{1});
    };
    result =
        vector::InsertStridedSliceOp::create(b, dot.emit(b, part(sum), part(x), part(w)), result,
                                             ArrayRef<int64_t>{from}, ArrayRef<int64_t>{1});
  }
  return result;
}

// ---- Form ---------------------------------------------------------------------------------------

CodeForm::CodeForm(const ByteDot &dot, Type element, int64_t outside)
    : dot(&dot), isFlipped(dot.isUnsigned != element.isUnsignedInteger()),
      outside(uint8_t(outside) ^ (isFlipped ? 0x80 : 0)) {}

Value CodeForm::flip(ImplicitLocOpBuilder &b, Value codes) const {
  if (!isFlipped)
    return codes;
  Type type = codes.getType(), element = getElementTypeOrSelf(type);
  APInt bits = APInt::getSplat(element.getIntOrFloatBitWidth(), APInt(8, 0x80));
  TypedAttr scalar = b.getIntegerAttr(element, bits);
  if (auto vector = dyn_cast<VectorType>(type))
    scalar = DenseElementsAttr::get(vector, Attribute(scalar));
  return arith::XOrIOp::create(b, codes, arith::ConstantOp::create(b, scalar));
}

Value CodeForm::startSums(ImplicitLocOpBuilder &b, Value panel, int64_t sumsOffset) const {
  VectorType type = vectorOf(lanes, b.getI32Type());
  if (!isFlipped)
    return splatConstant(b, type, 0);
  Value sums = load(b, type, address(b, panel, sumsOffset), quadBytes);
  return arith::MulIOp::create(b, sums, splatConstant(b, type, dot->isUnsigned ? -128 : 128));
}

// ---- Tiles --------------------------------------------------------------------------------------

static VectorType lineType(ImplicitLocOpBuilder &b) { return vectorOf(lanes, b.getI32Type()); }

static Value outsideQuads(ImplicitLocOpBuilder &b, const CodeForm &form) {
  return splatConstant(b, lineType(b), double(int32_t(uint32_t(form.outside) * 0x01010101u)));
}

/// The four codes at an address in every lane; of fewer, `count`, the rest are zeros.
static Value loadQuad(ImplicitLocOpBuilder &b, const CodeForm &form, Value at, int64_t count) {
  Value quad;
  auto add = [&](int64_t offset, int64_t bytes) {
    Value piece = load(b, b.getIntegerType(unsigned(bytes * 8)), address(b, at, offset), 1);
    if (bytes < 4)
      piece = arith::ExtUIOp::create(b, b.getI32Type(), piece);
    if (offset)
      piece = arith::ShLIOp::create(
          b, piece, arith::ConstantOp::create(b, b.getI32IntegerAttr(int32_t(offset * 8))));
    quad = quad ? arith::OrIOp::create(b, quad, piece).getResult() : piece;
  };
  if (count == 4)
    add(0, 4);
  if (count == 2 || count == 3)
    add(0, 2);
  if (count == 1 || count == 3)
    add(count - 1, 1);
  return form.flip(b, broadcast(b, quad, lanes));
}

SmallVector<Value> kiln::emitByteProducts(ImplicitLocOpBuilder &b, const ByteProducts &products,
                                          ValueRange sums) {
  const CodeForm &form = products.form;
  size_t rows = products.places.size();
  // `quad` (i64) is the first of those at hand, `i` the one meant.
  auto step = [&](Value quad, int64_t i, int64_t count, MutableArrayRef<Value> next) {
    SmallVector<Value> weights;
    for (Value panel : products.panels)
      weights.push_back(
          load(b, lineType(b), address(b, panel, quad, quadBytes, i * quadBytes), quadBytes));
    for (size_t r = 0; r < rows; ++r) {
      if (!products.places[r] && !form.outside)
        continue;
      Value x = outsideQuads(b, form);
      if (products.places[r]) {
        bool readsPast = products.mayReadPast && products.mayReadPast(r);
        x = loadQuad(b, form, address(b, products.rows, quad, 4, *products.places[r] + i * 4),
                     readsPast ? 4 : count);
      }
      for (size_t p = 0; p < weights.size(); ++p)
        next[p * rows + r] = emitByteDot(b, *form.dot, next[p * rows + r], x, weights[p]);
    }
  };
  constexpr int64_t unroll = 2, straight = 4;
  int64_t quads = products.depth / 4, whole = quads > straight ? quads / unroll * unroll : 0;
  SmallVector<Value> current(sums);
  if (whole)
    current = loop(b, i64(b, 0), i64(b, whole), unroll, current, [&](Value q, ValueRange carried) {
      SmallVector<Value> next(carried);
      for (int64_t i = 0; i < unroll; ++i)
        step(q, i, 4, next);
      return next;
    });
  for (int64_t q = whole; q < quads; ++q)
    step(i64(b, q), 0, 4, current);
  if (products.depth % 4)
    step(i64(b, quads), 0, products.depth % 4, current);
  return current;
}

SmallVector<Value> kiln::emitOutside(ImplicitLocOpBuilder &b, const CodeForm &form,
                                     ArrayRef<Value> panels, Value depth, ValueRange sums) {
  Value codes = outsideQuads(b, form);
  return loop(b, i64(b, 0), depth, 4, sums, [&](Value k, ValueRange carried) {
    SmallVector<Value> next;
    for (auto [panel, sum] : llvm::zip_equal(panels, carried))
      next.push_back(emitByteDot(b, *form.dot, sum, codes,
                                 load(b, lineType(b), address(b, panel, k, lanes), quadBytes)));
    return next;
  });
}
