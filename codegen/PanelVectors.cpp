// Unpacks the lines of ir/PanelLayout.h. Codes of 3, 5 and 6 bits are put together from two planes:
// a shift and one operation of three inputs (`vpternlog`) for each quad of the upper one.
#include "codegen/PanelVectors.h"
#include "codegen/EmitSupport.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace kiln;
using namespace kiln::emit;

static constexpr int64_t lanes = PanelLayout::kPanelRows;
static constexpr int64_t lineBytes = 64;
static constexpr int64_t prefetchBytes = 2048;

Value kiln::loadWeights(ImplicitLocOpBuilder &b, Type type, Value address, unsigned alignment) {
  LLVM::Prefetch::create(b, emit::address(b, address, prefetchBytes), /*rw=*/0, /*hint=*/3,
                         /*cache=*/1);
  return load(b, type, address, alignment);
}

static Value constantLike(ImplicitLocOpBuilder &b, Type type, int64_t value) {
  if (auto vector = dyn_cast<VectorType>(type))
    return splatConstant(b, vector, double(value));
  return arith::ConstantOp::create(b, b.getIntegerAttr(type, value));
}

Value kiln::emitSelectEntry(ImplicitLocOpBuilder &b, Value index, ArrayRef<uint8_t> table) {
  Type type = index.getType();
  SmallVector<Value> entries;
  for (uint8_t entry : table)
    entries.push_back(constantLike(b, type, entry));
  Value zero = constantLike(b, type, 0);
  for (int64_t bit = 1; entries.size() > 1; bit *= 2) {
    Value isSet =
        arith::CmpIOp::create(b, arith::CmpIPredicate::ne,
                              arith::AndIOp::create(b, index, constantLike(b, type, bit)), zero);
    SmallVector<Value> half;
    for (size_t i = 0; i < entries.size(); i += 2)
      half.push_back(arith::SelectOp::create(b, isSet, entries[i + 1], entries[i]));
    entries = half;
  }
  return entries.front();
}

Value kiln::inPieces(ImplicitLocOpBuilder &b, Value vector, int64_t width,
                     llvm::function_ref<Value(Value piece)> body) {
  auto type = cast<VectorType>(vector.getType());
  int64_t count = type.getNumElements();
  if (count <= width)
    return body(vector);
  Value joined = splatConstant(b, type, 0);
  for (int64_t at = 0; at < count; at += width) {
    Value piece = vector::ExtractStridedSliceOp::create(
        b, vector, ArrayRef<int64_t>{at}, ArrayRef<int64_t>{width}, ArrayRef<int64_t>{1});
    joined = vector::InsertStridedSliceOp::create(b, body(piece), joined, ArrayRef<int64_t>{at},
                                                  ArrayRef<int64_t>{1});
  }
  return joined;
}

// ---- Codes ----------------------------------------------------------------------------------

VectorType PanelVectors::intType() { return vectorOf(width, b.getI32Type()); }

Value PanelVectors::codesOf(Value codes, Value group) {
  return address(b, codes, group, format.bits * lineBytes);
}

Value PanelVectors::loadLine(Value panel, Value group, int64_t line, Part part) {
  Value first = address(b, panel, group, format.bits * lineBytes, line * lineBytes);
  unsigned bytes = unsigned(width * 4);
  if (part.index == 0 && part.fetchesAhead)
    return loadWeights(b, intType(), first, bytes);
  return load(b, intType(), address(b, first, part.index * bytes), bytes);
}

/// Keeps the bits `byte` of every byte.
Value PanelVectors::mask(Value vector, int64_t byte) {
  auto type = cast<VectorType>(vector.getType());
  return arith::AndIOp::create(b, vector, splatConstant(b, type, double(byte * 0x01010101)));
}

/// Bits of neighbouring bytes come in, where `mask` must take them out again.
Value PanelVectors::shift(Value vector, int64_t right) {
  auto type = cast<VectorType>(vector.getType());
  if (right > 0)
    return arith::ShRUIOp::create(b, vector, splatConstant(b, type, double(right)));
  return right
             ? arith::ShLIOp::create(b, vector, splatConstant(b, type, double(-right))).getResult()
             : vector;
}

/// Stored codes to those that are multiplied.
Value PanelVectors::finishCodes(Value codes) {
  if (!format.table) {
    if (!signedCodes || !format.zero)
      return codes;
    // Four signed bytes at once: exact because each result is one.
    VectorType bytes = vectorOf(width * 4, b.getI8Type());
    Value zero = splatConstant(b, bytes, double(int8_t(format.zero)));
    Value split = vector::BitCastOp::create(b, bytes, codes);
    return vector::BitCastOp::create(b, intType(), arith::SubIOp::create(b, split, zero));
  }
  SmallVector<uint8_t> table(format.table, format.table + 16);
  if (signedCodes)
    for (uint8_t &entry : table)
      entry = uint8_t(entry - format.zero);
  if (lookUp)
    return lookUp(b, codes, table);
  VectorType bytes = vectorOf(width * 4, b.getI8Type());
  Value found = emitSelectEntry(b, vector::BitCastOp::create(b, bytes, codes), table);
  return vector::BitCastOp::create(b, intType(), found);
}

/// Quad `index + 4 half` from its line of nibbles, or from those of `lower`; `upper` are the lines
/// of the upper bits.
Value PanelVectors::quadOf(Value nibbles, ArrayRef<Value> lower, ArrayRef<Value> upper, Value index,
                           int64_t half) {
  auto shiftedBy = [&](Value line, int64_t bitsOfQuad) -> Value {
    Value narrow = arith::TruncIOp::create(b, b.getI32Type(), index);
    Value by = broadcast(b, narrow, width);
    if (bitsOfQuad > 1)
      by = arith::MulIOp::create(b, by, splatConstant(b, intType(), double(bitsOfQuad)));
    return arith::ShRUIOp::create(b, line, by);
  };
  Value codes = nibbles ? mask(shift(nibbles, 4 * half), 0x0f) : mask(shiftedBy(lower[half], 2), 3);
  auto with = [&](Value line, int64_t right, int64_t byte) -> Value {
    return finishCodes(arith::OrIOp::create(b, codes, mask(shift(line, right), byte)));
  };
  if (upper.size() == 2) // two bits on top of four
    return with(shiftedBy(upper[half], 2), -4, 0x30);
  if (upper.size() == 1) { // one bit: of a group's quad q in bit q
    int64_t to = layout.lowerBits();
    return with(shiftedBy(upper[0], 1), 4 * half - to, int64_t(1) << to);
  }
  return finishCodes(codes);
}

void PanelVectors::forQuads(Value panel, Value group, Part part,
                            llvm::function_ref<void(int64_t quad, Value codes)> body) {
  int64_t lowerBits = layout.lowerBits();
  if (lowerBits == 8) {
    for (int64_t quad = 0; quad < 8; ++quad)
      body(quad, finishCodes(loadLine(panel, group, quad, part)));
    return;
  }
  SmallVector<Value> lower, upper;
  if (lowerBits == 2)
    lower = {loadLine(panel, group, 0, part), loadLine(panel, group, 1, part)};
  for (int64_t line = lowerBits; line < int64_t(format.bits); ++line)
    upper.push_back(loadLine(panel, group, line, part));
  for (int64_t quad = 0; quad < 4; ++quad) {
    Value nibbles = lowerBits == 4 ? loadLine(panel, group, quad, part) : Value();
    for (int64_t half = 0; half < 2; ++half)
      body(quad + 4 * half, quadOf(nibbles, lower, upper, i64(b, quad), half));
  }
}

std::pair<Value, Value> PanelVectors::quadPair(Value panel, Value group, Value index) {
  int64_t lowerBits = layout.lowerBits();
  Value line = address(b, panel, index, lineBytes);
  Part whole;
  if (lowerBits == 8)
    return {finishCodes(loadLine(line, group, 0, whole)),
            finishCodes(loadLine(line, group, 4, whole))};
  SmallVector<Value> lower, upper;
  Value nibbles;
  if (lowerBits == 4)
    nibbles = loadLine(line, group, 0, whole);
  else
    lower = {loadLine(panel, group, 0, whole), loadLine(panel, group, 1, whole)};
  for (int64_t extra = lowerBits; extra < int64_t(format.bits); ++extra)
    upper.push_back(loadLine(panel, group, extra, whole));
  Value first = quadOf(nibbles, lower, upper, index, 0);
  return {first, quadOf(nibbles, lower, upper, index, 1)};
}

// ---- Scales ---------------------------------------------------------------------------------

Value PanelVectors::loadPart(Type element, Value first, Part part) {
  VectorType type = vectorOf(width, element);
  unsigned bytes = unsigned(width * element.getIntOrFloatBitWidth() / 8);
  if (part.index == 0 && part.fetchesAhead)
    return loadWeights(b, type, first, bytes);
  return load(b, type, address(b, first, part.index * bytes), bytes);
}

/// f16 or the bits of bf16 to f32.
Value PanelVectors::widenScale(Value stored) {
  VectorType f32Type = vectorOf(width, b.getF32Type());
  if (format.scales != ScaleKind::Brain)
    return arith::ExtFOp::create(b, f32Type, stored);
  Value wide = arith::ExtUIOp::create(b, intType(), stored);
  Value moved = arith::ShLIOp::create(b, wide, splatConstant(b, intType(), 16));
  return arith::BitcastOp::create(b, f32Type, moved);
}

PanelVectors::Scales PanelVectors::scales(Value panel, Value group, int64_t i, Part part) {
  constexpr int64_t halfBytes = lanes * 2;
  int64_t record = layout.scaleRecordBytes(), numbers = format.hasMin ? 2 : 1;
  Scales result;
  if (format.scales != ScaleKind::Super) {
    Type element = format.scales == ScaleKind::Brain ? Type(b.getI16Type()) : b.getF16Type();
    Value first = address(b, panel, group, record, layout.scalesOffset());
    result.scale = widenScale(loadPart(element, first, part));
    part.fetchesAhead = false; // the mins lie in the same line
    if (format.hasMin)
      result.min = widenScale(loadPart(element, address(b, first, halfBytes), part));
    return result;
  }
  // The record of 256 depths, and in it the groups of these 32.
  constexpr int64_t groupsOf32 = Format::kSuperGroup / 32;
  Value index = arith::ShRUIOp::create(b, group, i64(b, llvm::Log2_64(groupsOf32)));
  Value within = arith::AndIOp::create(b, group, i64(b, groupsOf32 - 1));
  Value super = address(b, panel, index, record, layout.scalesOffset());
  Value first = address(b, super, within, scalesPerGroup() * numbers * lanes,
                        numbers * halfBytes + i * numbers * lanes);
  if (part.index == 0 && part.fetchesAhead &&
      i == 0) // as many bytes for each group as a record has
    LLVM::Prefetch::create(
        b, address(b, panel, group, record / groupsOf32, layout.scalesOffset() + prefetchBytes),
        /*rw=*/0, /*hint=*/3, /*cache=*/1);
  part.fetchesAhead = false;
  auto number = [&](int64_t which) -> Value {
    Value steps = loadPart(b.getI8Type(), address(b, first, which * lanes), part);
    Value unit = loadPart(b.getF16Type(), address(b, super, which * halfBytes), part);
    VectorType f32Type = vectorOf(width, b.getF32Type());
    Value whole = arith::SIToFPOp::create(b, f32Type, arith::ExtSIOp::create(b, intType(), steps));
    return arith::MulFOp::create(b, whole, widenScale(unit));
  };
  result.scale = number(0);
  if (format.hasMin)
    result.min = arith::NegFOp::create(b, number(1));
  return result;
}
