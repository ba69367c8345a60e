// Symmetric quantization: value = scale * (code - zero), one f16 scale for 32 weights of a row.
//
// 8 bits: scale = absmax / 127, rounded to f16 before codes are chosen.
//
// 4 bits: absmax / 7 uses 15 of 16 codes and lets one outlier set the step for 31 others. Instead a
// handful of scales m / d is tried, m the value of largest magnitude with its sign (so that with
// d < 0 it falls on the code -8 that has no positive partner; llama.cpp's make_qx_quants does the
// same). For each, codes q are chosen with the f16-rounded scale, then the scale is refitted in
// closed form, sum(x q) / sum(q q), rounded to f16 again, and the better of the two is a candidate.
// The scale with the least squared error wins. Plain absmax is among the candidates, so the search
// never loses to it.
//
// 16 groups (the lanes of a panel) are done at once, one vector lane each, so that no sum crosses
// lanes, and codes come out as the 32-bit words of the packed layout.
#include "compiler/artifact/QuantizeSymmetric.h"
#include "compiler/artifact/ConvertElements.h"
#include "compiler/artifact/VectorVariants.h"

using namespace kiln;

namespace {

constexpr int64_t kGroup = 32, kLanes = 16;

/// Divisors of the value of largest magnitude that are tried as scales; 7 is plain absmax.
constexpr float kDivisors[] = {7.0f,  -7.0f, -7.2f, -7.4f, -7.6f, -7.8f, -8.0f, -8.2f,
                               -8.4f, -8.6f, -8.8f, -9.2f, -9.6f, 7.4f,  8.0f,  6.6f};

KILN_INLINE F32x16 load(const float *values) {
  F32x16 vector;
  std::memcpy(&vector, values, sizeof vector);
  return vector;
}

KILN_INLINE I32x16 bitsOf(F32x16 value) {
  I32x16 bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

KILN_INLINE F32x16 ofBits(I32x16 bits) {
  F32x16 value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

/// To the nearest integer, ties to even, for |value| < 2^22.
KILN_INLINE F32x16 roundToInteger(F32x16 value) { return (value + 0x1.8p23f) - 0x1.8p23f; }

KILN_INLINE F32x16 clamp(F32x16 value, float low, float high) {
  F32x16 lows = low - F32x16{}, highs = high - F32x16{};
  value = value < lows ? lows : value;
  return value > highs ? highs : value;
}

/// The nearest f16 value; what would become 0 becomes the smallest one, so that a group of tiny
/// values keeps what it can.
KILN_INLINE F32x16 roundScale(F32x16 scale) {
  I32x16 bits = bitsOf(scale), magnitude = bits & 0x7FFFFFFF, sign = bits ^ magnitude;
  I32x16 normal = (magnitude + 0xFFF + ((magnitude >> 13) & 1)) & ~0x1FFF;
  // Adding 0.5 leaves a last bit of 2^-24, that of an f16 denormal.
  I32x16 denormal = bitsOf((ofBits(magnitude) + 0.5f) - 0.5f);
  denormal = ((denormal == 0) & (magnitude != 0)) ? bitsOf(0x1p-24f - F32x16{}) : denormal;
  return ofBits(sign | (magnitude < 0x38800000 /* 2^-14 */ ? denormal : normal));
}

KILN_INLINE F32x16 inverse(F32x16 scale) {
  F32x16 zero = {};
  return scale == zero ? zero : 1.0f / scale;
}

KILN_INLINE bool anyAbove(I32x16 bits, float limit) {
  int32_t limitBits = int32_t(bitsOfFloat(limit)), above = 0;
  for (int64_t lane = 0; lane < kLanes; ++lane)
    above |= bits[lane] > limitBits;
  return above;
}

/// The values of largest magnitude, with their signs. Magnitudes compare as integers, NaN above
/// all.
KILN_INLINE F32x16 largest(const float *values, I32x16 *magnitude) {
  I32x16 best = {}, bestBits = {};
  for (int64_t k = 0; k < kGroup; ++k) {
    I32x16 bits = bitsOf(load(values + k * kLanes)), absolute = bits & 0x7FFFFFFF;
    I32x16 larger = absolute > best;
    best = larger ? absolute : best;
    bestBits = larger ? bits : bestBits;
  }
  *magnitude = best;
  return ofBits(bestBits);
}

/// sum(x q) and sum(q q) for the codes nearest to x * inv.
KILN_INLINE void correlate(const float *values, F32x16 inv, float low, float high, F32x16 *xq,
                           F32x16 *qq) {
  F32x16 sumXQ = {}, sumQQ = {};
  for (int64_t k = 0; k < kGroup; ++k) {
    F32x16 x = load(values + k * kLanes), q = clamp(roundToInteger(x * inv), low, high);
    sumXQ += x * q;
    sumQQ += q * q;
  }
  *xq = sumXQ;
  *qq = sumQQ;
}

KILN_INLINE F32x16 searchScale(const float *values, F32x16 peak) {
  // The squared error of scale s is sum(x x) - 2 s sum(x q) + s s sum(q q); the first term is
  // common.
  F32x16 bestScale = {}, bestLoss = 3.0e38f - F32x16{};
  for (float divisor : kDivisors) {
    F32x16 scale = roundScale(peak / divisor), xq, qq;
    correlate(values, inverse(scale), -8, 7, &xq, &qq);
    F32x16 refit = qq > 0.0f ? roundScale(xq / qq) : scale;
    F32x16 loss = scale * (scale * qq - 2.0f * xq), refitLoss = refit * (refit * qq - 2.0f * xq);
    F32x16 candidate = refitLoss < loss ? refit : scale;
    loss = refitLoss < loss ? refitLoss : loss;
    I32x16 better = loss < bestLoss;
    bestScale = better ? candidate : bestScale;
    bestLoss = better ? loss : bestLoss;
  }
  return bestScale;
}

/// Sums over many groups in double, lane by lane.
struct LaneSums {
  double squaredError[kLanes] = {}, squaredValues[kLanes] = {};

  KILN_INLINE void add(F32x16 error, F32x16 values) {
    for (int64_t lane = 0; lane < kLanes; ++lane) {
      squaredError[lane] += double(error[lane]);
      squaredValues[lane] += double(values[lane]);
    }
  }
  KILN_INLINE void total(ErrorSums *sums) const {
    for (int64_t lane = 0; lane < kLanes; ++lane)
      sums->add({squaredError[lane], squaredValues[lane]});
  }
};

/// Chooses the codes of four neighbouring depths: the word of a lane holds them from the low byte
/// up.
KILN_INLINE I32x16 encodeQuad(const float *values, F32x16 scale, F32x16 inv, float low, float high,
                              int32_t zero, F32x16 *error, F32x16 *squares) {
  I32x16 word = {};
  for (int i = 0; i < 4; ++i) {
    F32x16 x = load(values + i * kLanes), q = clamp(roundToInteger(x * inv), low, high);
    F32x16 difference = x - q * scale;
    *error += difference * difference;
    *squares += x * x;
    word |= (__builtin_convertvector(q, I32x16) + zero) << (8 * i);
  }
  return word;
}

KILN_INLINE void storeScales(F32x16 scale, uint16_t *scales) {
  for (int64_t lane = 0; lane < kLanes; ++lane)
    scales[lane] = f32ToF16(scale[lane]);
}

KILN_INLINE void encodeQ8(const float *values, F32x16 scale, uint8_t *codes, LaneSums *sums) {
  F32x16 inv = inverse(scale), error = {}, squares = {};
  for (int64_t quad = 0; quad < kGroup / 4; ++quad) {
    I32x16 word =
        encodeQuad(values + quad * 4 * kLanes, scale, inv, -127, 127, 128, &error, &squares);
    std::memcpy(codes + quad * sizeof word, &word, sizeof word);
  }
  sums->add(error, squares);
}

KILN_INLINE void encodeQ4(const float *values, F32x16 scale, float low, uint8_t *codes,
                          LaneSums *sums) {
  F32x16 inv = inverse(scale), error = {}, squares = {};
  for (int64_t quad = 0; quad < kGroup / 8; ++quad) {
    const float *first = values + quad * 4 * kLanes, *second = first + kGroup / 2 * kLanes;
    I32x16 word = encodeQuad(first, scale, inv, low, 7, 8, &error, &squares) |
                  encodeQuad(second, scale, inv, low, 7, 8, &error, &squares) << 4;
    std::memcpy(codes + quad * sizeof word, &word, sizeof word);
  }
  sums->add(error, squares);
}

template <typename Encode>
KILN_INLINE bool quantizeGroups(const float *values, int64_t groups, float limit, ErrorSums *sums,
                                Encode encode) {
  LaneSums laneSums;
  for (int64_t group = 0; group < groups; ++group) {
    const float *block = values + group * kGroup * kLanes;
    I32x16 magnitude;
    F32x16 peak = largest(block, &magnitude);
    if (anyAbove(magnitude, limit))
      return false;
    encode(block, group, peak, ofBits(magnitude), &laneSums);
  }
  laneSums.total(sums);
  return true;
}

KILN_INLINE bool quantizePanelQ8Body(const float *values, int64_t groups, uint8_t *codes,
                                     uint16_t *scales, ErrorSums *sums) {
  return quantizeGroups(values, groups, kLargestQ8, sums,
                        [=](const float *block, int64_t group, F32x16, F32x16 magnitude,
                            LaneSums *laneSums) KILN_LAMBDA {
                          F32x16 scale = roundScale(magnitude / 127.0f);
                          storeScales(scale, scales + group * kLanes);
                          encodeQ8(block, scale, codes + group * kGroup * kLanes, laneSums);
                        });
}

KILN_INLINE bool quantizePanelQ4SearchBody(const float *values, int64_t groups, uint8_t *codes,
                                           uint16_t *scales, ErrorSums *sums) {
  return quantizeGroups(
      values, groups, kLargestQ4, sums,
      [=](const float *block, int64_t group, F32x16 peak, F32x16, LaneSums *laneSums) KILN_LAMBDA {
        F32x16 scale = searchScale(block, peak);
        storeScales(scale, scales + group * kLanes);
        encodeQ4(block, scale, -8, codes + group * kGroup / 2 * kLanes, laneSums);
      });
}

KILN_INLINE bool quantizePanelQ4AbsMaxBody(const float *values, int64_t groups, uint8_t *codes,
                                           uint16_t *scales, ErrorSums *sums) {
  return quantizeGroups(values, groups, kLargestQ4, sums,
                        [=](const float *block, int64_t group, F32x16, F32x16 magnitude,
                            LaneSums *laneSums) KILN_LAMBDA {
                          F32x16 scale = roundScale(magnitude / 7.0f);
                          storeScales(scale, scales + group * kLanes);
                          encodeQ4(block, scale, -7, codes + group * kGroup / 2 * kLanes, laneSums);
                        });
}

} // namespace

#define KILN_QUANTIZER(name)                                                                       \
  KILN_VECTOR_VARIANTS(                                                                            \
      bool, name,                                                                                  \
      (const float *values, int64_t groups, uint8_t *codes, uint16_t *scales, ErrorSums *sums),    \
      (values, groups, codes, scales, sums))
KILN_QUANTIZER(quantizePanelQ8)
KILN_QUANTIZER(quantizePanelQ4Search)
KILN_QUANTIZER(quantizePanelQ4AbsMax)
