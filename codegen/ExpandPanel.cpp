// A code of n bits is put into the highest mantissa bits of 1.0f, which gives 1 + code / 2^n
// without a conversion; one multiply-add turns that into scale * (code - zero). Both its constants,
// 2^n * scale and -(2^n + zero) * scale, are exact in f32 because scales have the 11 bits of f16,
// so the weight is exact in f32 before it is rounded to bf16.
#include "codegen/ExpandPanel.h"
#include "codegen/EmitSupport.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;
using namespace kiln;
using namespace kiln::emit;

static constexpr int64_t lanes = PanelLayout::kPanelRows;
static constexpr int64_t mantissaBits = 23;

std::optional<std::string> ExpandPanel::refuse(const Format &format) {
  if (format.id == FormatId::BF16)
    return std::nullopt;
  if (format.kind == FormatKind::SymmetricInt && format.group == MatrixUnit::kDepth &&
      (format.bits == 4 || format.bits == 8))
    return std::nullopt;
  return ("weights are " + format.name + ", which bf16 tiles cannot hold").str();
}

Value ExpandPanel::decode(Value codes, int64_t byte, bool highNibble, Value factor, Value offset) {
  auto type = cast<VectorType>(codes.getType());
  int64_t bits = layout.getFormat().bits;
  int64_t from = 8 * byte + (highNibble ? 4 : 0), to = mantissaBits - bits;
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

Value ExpandPanel::codesOf(Value codes, Value group) {
  return address(b, codes, group, lanes * MatrixUnit::kDepth * layout.getFormat().bits / 8);
}

void ExpandPanel::emitUnit(Value panel, Value group, Value index, Value tile) {
  const Format &format = layout.getFormat();
  VectorType intType = vectorOf(lanes, b.getI32Type()), f32Type = vectorOf(lanes, b.getF32Type());
  Value halves = load(b, vectorOf(lanes, b.getF16Type()),
                      address(b, panel, group, 32, layout.scalesOffset()), 32);
  Value scales = arith::ExtFOp::create(b, f32Type, halves);
  double steps = double(int64_t(1) << format.bits);
  Value factor = arith::MulFOp::create(b, scales, splatConstant(b, f32Type, steps));
  Value offset =
      arith::MulFOp::create(b, scales, splatConstant(b, f32Type, -(steps + double(format.zero))));
  // Quads of depths `index` and `index + 4` of the group's eight: of 4-bit formats the two nibbles.
  bool nibbles = format.bits == 4;
  Value source = address(b, codesOf(panel, group), index, 64);
  Value lines = address(b, tile, index, 2 * 64), codes;
  for (int64_t half = 0; half < 2; ++half) {
    if (!nibbles || half == 0)
      codes = load(b, intType, address(b, source, half * kUnits * 64), 64);
    for (int64_t pair = 0; pair < 2; ++pair) {
      Value even = decode(codes, 2 * pair, nibbles && half, factor, offset);
      Value odd = decode(codes, 2 * pair + 1, nibbles && half, factor, offset);
      store(b, packPairs(even, odd), address(b, lines, (half * 2 * kUnits + pair) * 64), 64);
    }
  }
}
