// Blocks of 32 elements and plain floats to f32. Layouts are those of ggml (ggml-common.h): a scale
// in front, then codes of 4 bits two to a byte, the low nibbles being the block's first half. Each
// value is computed in the order of ggml's reference (product, then sum), so that it is equal to
// the last bit; this file is compiled without contraction.
#include "compiler/artifact/DecodeBlocks.h"
#include "compiler/artifact/ConvertElements.h"

using namespace kiln;

static constexpr int64_t kHalf = 16, kBlock = 2 * kHalf;

static float readScale(const uint8_t *bytes) {
  uint16_t half;
  std::memcpy(&half, bytes, 2);
  return f16ToF32(half);
}

static uint32_t readWord(const uint8_t *bytes) {
  uint32_t word;
  std::memcpy(&word, bytes, 4);
  return word;
}

/// The 4-bit codes of a block through `value(code, element)`.
template <typename Value>
static void decodeNibbles(const uint8_t *codes, float *values, Value value) {
  for (int64_t i = 0; i < kHalf; ++i) {
    values[i] = value(codes[i] & 15, i);
    values[i + kHalf] = value(codes[i] >> 4, i + kHalf);
  }
}

void kiln::decodeF32(const uint8_t *blocks, int64_t count, float *values) {
  convertToF32(SourceType::F32, blocks, count, values);
}

void kiln::decodeF16(const uint8_t *blocks, int64_t count, float *values) {
  convertToF32(SourceType::F16, blocks, count, values);
}

void kiln::decodeBF16(const uint8_t *blocks, int64_t count, float *values) {
  convertToF32(SourceType::BF16, blocks, count, values);
}

/// [scale][codes]
void kiln::decodeQ4_0(const uint8_t *block, int64_t count, float *values) {
  for (; count; --count, block += 18, values += kBlock) {
    float scale = readScale(block);
    decodeNibbles(block + 2, values, [=](int code, int64_t) { return scale * float(code - 8); });
  }
}

/// [scale][minimum][codes]
void kiln::decodeQ4_1(const uint8_t *block, int64_t count, float *values) {
  for (; count; --count, block += 20, values += kBlock) {
    float scale = readScale(block), minimum = readScale(block + 2);
    decodeNibbles(block + 4, values,
                  [=](int code, int64_t) { return scale * float(code) + minimum; });
  }
}

/// [scale][fifth bits, one a bit][codes]
void kiln::decodeQ5_0(const uint8_t *block, int64_t count, float *values) {
  for (; count; --count, block += 22, values += kBlock) {
    float scale = readScale(block);
    uint32_t fifth = readWord(block + 2);
    decodeNibbles(block + 6, values, [=](int code, int64_t i) {
      return scale * float(int(code | ((fifth >> i & 1) << 4)) - 16);
    });
  }
}

/// [scale][minimum][fifth bits][codes]
void kiln::decodeQ5_1(const uint8_t *block, int64_t count, float *values) {
  for (; count; --count, block += 24, values += kBlock) {
    float scale = readScale(block), minimum = readScale(block + 2);
    uint32_t fifth = readWord(block + 4);
    decodeNibbles(block + 8, values, [=](int code, int64_t i) {
      return scale * float(code | ((fifth >> i & 1) << 4)) + minimum;
    });
  }
}

/// [scale][codes, i8]
void kiln::decodeQ8_0(const uint8_t *block, int64_t count, float *values) {
  for (; count; --count, block += 34, values += kBlock) {
    float scale = readScale(block);
    for (int64_t i = 0; i < kBlock; ++i)
      values[i] = float(int8_t(block[2 + i])) * scale;
  }
}

/// [scale][codes into a table of values denser near 0]
void kiln::decodeIQ4_NL(const uint8_t *block, int64_t count, float *values) {
  for (; count; --count, block += 18, values += kBlock) {
    float scale = readScale(block);
    decodeNibbles(block + 2, values,
                  [=](int code, int64_t) { return scale * float(kIQ4Values[code]); });
  }
}

/// 2^(exponent - 128): half of what the OCP microscaling formats' E8M0 says, since the table of
/// values is doubled. Exponents 0 and 1 give subnormals.
static float readHalvedE8M0(uint8_t exponent) {
  return floatOfBits(exponent < 2 ? 0x00200000u << exponent : uint32_t(exponent - 1) << 23);
}

/// [exponent][codes, sign and e2m1]
void kiln::decodeMXFP4(const uint8_t *block, int64_t count, float *values) {
  static constexpr int8_t doubled[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};
  for (; count; --count, block += 17, values += kBlock) {
    float scale = readHalvedE8M0(block[0]);
    decodeNibbles(block + 1, values,
                  [=](int code, int64_t) { return scale * float(doubled[code]); });
  }
}
