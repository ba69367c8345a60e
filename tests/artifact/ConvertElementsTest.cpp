// Conversions of elements agree with LLVM's APFloat, bit for bit.
#include "compiler/artifact/ConvertElements.h"
#include "llvm/ADT/APFloat.h"
#include <cmath>
#include <gtest/gtest.h>
#include <random>
#include <vector>

using namespace kiln;

static float widened(const llvm::fltSemantics &semantics, uint16_t bits) {
  llvm::APFloat value(semantics, llvm::APInt(16, bits));
  bool lost;
  value.convert(llvm::APFloat::IEEEsingle(), llvm::APFloat::rmNearestTiesToEven, &lost);
  return value.convertToFloat();
}

static uint16_t narrowed(const llvm::fltSemantics &semantics, float number) {
  llvm::APFloat value(number);
  bool lost;
  value.convert(semantics, llvm::APFloat::rmNearestTiesToEven, &lost);
  return uint16_t(value.bitcastToAPInt().getZExtValue());
}

TEST(ConvertElements, WidensEveryHalfExactly) {
  std::vector<uint16_t> all(65536);
  for (uint32_t i = 0; i < 65536; ++i)
    all[i] = uint16_t(i);
  std::vector<float> f16(65536), bf16(65536);
  auto *bytes = reinterpret_cast<const uint8_t *>(all.data());
  convertToF32(SourceType::F16, bytes, 65536, f16.data());
  convertToF32(SourceType::BF16, bytes, 65536, bf16.data());
  for (uint32_t i = 0; i < 65536; ++i) {
    float expected = widened(llvm::APFloat::IEEEhalf(), uint16_t(i));
    ASSERT_TRUE(std::isnan(expected) ? std::isnan(f16[i])
                                     : bitsOfFloat(f16[i]) == bitsOfFloat(expected))
        << i;
    expected = widened(llvm::APFloat::BFloat(), uint16_t(i));
    ASSERT_TRUE(std::isnan(expected) ? std::isnan(bf16[i])
                                     : bitsOfFloat(bf16[i]) == bitsOfFloat(expected))
        << i;
  }
}

TEST(ConvertElements, NarrowsToNearestEven) {
  std::mt19937 random(1);
  for (int i = 0; i < 300000; ++i) {
    uint32_t bits = uint32_t(random());
    if (i % 3 == 0) // ties and their neighbours
      bits = (bits & 0xFFFFE000u) + 0x1000u + uint32_t(i % 9 / 3) - 1;
    float value = floatOfBits(bits);
    if (std::isnan(value)) {
      ASSERT_TRUE(std::isnan(f16ToF32(f32ToF16(value))));
      ASSERT_TRUE(std::isnan(bf16ToF32(f32ToBF16(value))));
      continue;
    }
    ASSERT_EQ(f32ToF16(value), narrowed(llvm::APFloat::IEEEhalf(), value)) << value;
    ASSERT_EQ(f32ToBF16(value), narrowed(llvm::APFloat::BFloat(), value)) << value;
  }
}

TEST(ConvertElements, KeepsHalvesThroughF32) {
  for (uint32_t i = 0; i < 65536; ++i)
    if (!std::isnan(f16ToF32(uint16_t(i)))) {
      ASSERT_EQ(f32ToF16(f16ToF32(uint16_t(i))), i);
    }
}

TEST(ConvertElements, ReadsUnalignedElements) {
  const uint8_t bytes[] = {0xFF, 0x00, 0x3C, 0x00, 0xC0}; // 1.0 and -2.0 behind one byte
  float values[2];
  convertToF32(SourceType::F16, bytes + 1, 2, values);
  EXPECT_EQ(values[0], 1.0f);
  EXPECT_EQ(values[1], -2.0f);
}
