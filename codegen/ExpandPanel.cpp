// A code of n bits is put into the highest mantissa bits of 1.0f, which gives 1 + code / 2^n
// without a conversion; one multiply-add turns that into scale * (code - zero) + min. Its constants
// are 2^n * scale and min - (2^n + zero) * scale. Without a min both are exact in f32 (an f16 scale
// has 11 bits, one of two levels at most 18), so the weight is exact before it is rounded to bf16;
// with one the second is rounded, by at most 2^-24 of its size.
#include "codegen/ExpandPanel.h"
#include "codegen/EmitSupport.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include <tuple>

using namespace mlir;
using namespace kiln;
using namespace kiln::emit;

static constexpr int64_t lanes = PanelLayout::kPanelRows;
static constexpr int64_t mantissaBits = 23;

std::optional<std::string> ExpandPanel::refuse(const Format &format) {
  if (format.id == FormatId::BF16 || format.id == FormatId::F32)
    return std::nullopt;
  if (format.kind == FormatKind::Integer)
    return std::nullopt;
  return ("weights are " + format.name + ", which bf16 tiles cannot hold").str();
}

/// The weights whose codes begin at bit `from` of each i32.
Value ExpandPanel::decode(Value codes, int64_t from, Value factor, Value offset) {
  auto type = cast<VectorType>(codes.getType());
  int64_t bits = layout.getFormat().codeBits(), to = mantissaBits - bits;
  Value moved = codes;
  if (from > to)
    moved = arith::ShRUIOp::create(b, codes, splatConstant(b, type, double(from - to)));
  else if (from < to)
    moved = arith::ShLIOp::create(b, codes, splatConstant(b, type, double(to - from)));
  Value mask = splatConstant(b, type, double(((int64_t(1) << bits) - 1) << to));
  Value one = splatConstant(b, type, double(0x3f800000));
  Value pattern = arith::OrIOp::create(b, arith::AndIOp::create(b, moved, mask), one);
  Value number = arith::BitcastOp::create(b, vectorOf(lanes, b.getF32Type()), pattern);
  return math::FmaOp::create(b, number, factor, offset);
}

/// vector<16xi32> with the upper halves of `even` (low) and `odd` (high), rounded.
Value ExpandPanel::packPairs(Value even, Value odd) {
  VectorType type = vectorOf(lanes, b.getI32Type());
  auto rounded = [&](Value x) -> Value {
    return arith::AddIOp::create(b, arith::BitcastOp::create(b, type, x),
                                 splatConstant(b, type, 0x8000));
  };
  Value low = arith::ShRUIOp::create(b, rounded(even), splatConstant(b, type, 16));
  Value high = arith::AndIOp::create(b, rounded(odd), splatConstant(b, type, double(0xffff0000u)));
  return arith::OrIOp::create(b, high, low);
}

/// Four lines of each part: depths 8 index .. 8 index + 7 of the group, in pairs.
void ExpandPanel::splitUnit(Value panel, Value group, Value index, Value tile) {
  VectorType f32Type = vectorOf(lanes, b.getF32Type()), intType = vectorOf(lanes, b.getI32Type());
  Value weights = address(b, codesOf(panel, group), index, pieceBytes());
  Value lines = address(b, tile, index, 4 * 64);
  for (int64_t pair = 0; pair < 4; ++pair) {
    SmallVector<Value> halves[2];
    for (int64_t half = 0; half < 2; ++half)
      halves[half] = emitSplitFloat(
          b, load(b, f32Type, address(b, weights, (2 * pair + half) * lanes * 4), 64));
    for (int64_t part = 0; part < kFloatParts; ++part) {
      Value even = arith::BitcastOp::create(b, intType, halves[0][size_t(part)]);
      Value odd = arith::BitcastOp::create(b, intType, halves[1][size_t(part)]);
      Value low = arith::ShRUIOp::create(b, even, splatConstant(b, intType, 16));
      store(b, arith::OrIOp::create(b, odd, low),
            address(b, lines, part * MatrixUnit::kTileBytes + pair * 64), 64);
    }
  }
}

void ExpandPanel::emitUnit(Value panel, Value group, Value index, Value tile) {
  const Format &format = layout.getFormat();
  if (format.id == FormatId::F32)
    return splitUnit(panel, group, index, tile);
  VectorType intType = vectorOf(lanes, b.getI32Type()), f32Type = vectorOf(lanes, b.getF32Type());
  double steps = double(int64_t(1) << format.codeBits());
  struct {
    Value factor, offset;
  } halves[2]; // of the group's first and last 16 depths
  for (int64_t i = 0; i < vectors.scalesPerGroup(); ++i) {
    PanelVectors::Scales scales = vectors.scales(panel, group, i, {});
    halves[i].factor = arith::MulFOp::create(b, scales.scale, splatConstant(b, f32Type, steps));
    Value one = splatConstant(b, f32Type, -(steps + double(format.zero)));
    halves[i].offset = scales.min
                           ? math::FmaOp::create(b, scales.scale, one, scales.min).getResult()
                           : arith::MulFOp::create(b, scales.scale, one).getResult();
  }
  if (vectors.scalesPerGroup() == 1)
    halves[1] = halves[0];
  // Quads of depths `index` and `index + 4` of the group's eight: of 4-bit formats the two nibbles,
  // which need no unpacking.
  Value codes[2];
  bool nibbles = format.codeBits() == 4;
  if (nibbles)
    codes[0] = codes[1] = load(b, intType, address(b, codesOf(panel, group), index, 64), 64);
  else
    std::tie(codes[0], codes[1]) = vectors.quadPair(panel, group, index);
  Value lines = address(b, tile, index, 2 * 64);
  for (int64_t half = 0; half < 2; ++half)
    for (int64_t pair = 0; pair < 2; ++pair) {
      int64_t first = 16 * pair + (nibbles && half ? 4 : 0);
      Value even = decode(codes[half], first, halves[half].factor, halves[half].offset);
      Value odd = decode(codes[half], first + 8, halves[half].factor, halves[half].offset);
      store(b, packPairs(even, odd), address(b, lines, (half * 2 * kUnits + pair) * 64), 64);
    }
}
