// Plain float elements of weight sources and their conversion to and from f32.
#ifndef KILN_COMPILER_ARTIFACT_CONVERTELEMENTS_H
#define KILN_COMPILER_ARTIFACT_CONVERTELEMENTS_H

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace kiln {

enum class SourceType { F32, F16, BF16 };

/// Converts `count` little-endian elements at `source` (any alignment). Exact for every value;
/// NaNs stay NaNs.
void convertToF32(SourceType type, const uint8_t *source, int64_t count, float *result);

inline __attribute__((always_inline)) float floatOfBits(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

inline __attribute__((always_inline)) uint32_t bitsOfFloat(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

/// binary16 to binary32, branch-free (the method of the FP16 library): exact.
inline __attribute__((always_inline)) float f16ToF32(uint16_t half) {
  uint32_t word = uint32_t(half) << 16, sign = word & 0x80000000u, twice = word + word;
  uint32_t normal = bitsOfFloat(floatOfBits((twice >> 4) + (0xE0u << 23)) * 0x1.0p-112f);
  uint32_t denormal = bitsOfFloat(floatOfBits((twice >> 17) | (126u << 23)) - 0.5f);
  return floatOfBits(sign | (twice < (1u << 27) ? denormal : normal));
}

inline __attribute__((always_inline)) float bf16ToF32(uint16_t value) {
  return floatOfBits(uint32_t(value) << 16);
}

/// binary32 to binary16, to nearest, ties to even; what is too large becomes infinity.
inline uint16_t f32ToF16(float value) {
  uint32_t word = bitsOfFloat(value), twice = word + word, sign = word & 0x80000000u;
  float base = (floatOfBits(word & 0x7FFFFFFFu) * 0x1.0p+112f) * 0x1.0p-110f;
  uint32_t bias = twice & 0xFF000000u;
  bias = bias < 0x71000000u ? 0x71000000u : bias;
  uint32_t bits = bitsOfFloat(floatOfBits((bias >> 1) + 0x07800000u) + base);
  uint32_t rounded = ((bits >> 13) & 0x7C00u) + (bits & 0x0FFFu);
  return uint16_t((sign >> 16) | (twice > 0xFF000000u ? 0x7E00u : rounded));
}

/// binary32 to bfloat16, to nearest, ties to even.
inline uint16_t f32ToBF16(float value) {
  uint32_t bits = bitsOfFloat(value);
  uint32_t rounded = (bits + 0x7FFFu + ((bits >> 16) & 1)) >> 16;
  return uint16_t((bits & 0x7FFFFFFFu) > 0x7F800000u ? (bits >> 16) | 0x40u : rounded);
}

} // namespace kiln

#endif
