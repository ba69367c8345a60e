// What symmetric quantization promises: codes are the nearest under the stored scale, the search
// beats plain absmax, and what a format cannot express is refused.
#include "compiler/artifact/QuantizeSymmetric.h"
#include "compiler/artifact/ConvertElements.h"
#include <cmath>
#include <gtest/gtest.h>
#include <limits>
#include <random>
#include <vector>

using namespace kiln;

namespace {

constexpr int64_t kGroups = 64, kLanes = 16, kValues = kGroups * 32 * kLanes;

struct Quantized {
  bool fits;
  std::vector<uint8_t> codes = std::vector<uint8_t>(kValues);
  std::vector<uint16_t> scales = std::vector<uint16_t>(kGroups * kLanes);
  ErrorSums sums;
};

using Quantizer = bool (*)(const float *, int64_t, uint8_t *, uint16_t *, ErrorSums *);

Quantized quantize(Quantizer quantizer, const std::vector<float> &values) {
  Quantized result;
  result.fits =
      quantizer(values.data(), kGroups, result.codes.data(), result.scales.data(), &result.sums);
  return result;
}

double relativeError(const ErrorSums &sums) {
  return std::sqrt(sums.squaredError / sums.squaredValues);
}

std::vector<float> gaussian(float deviation, unsigned seed = 7) {
  std::mt19937 random(seed);
  std::normal_distribution<float> distribution(0, deviation);
  std::vector<float> values(kValues);
  for (float &value : values)
    value = distribution(random);
  return values;
}

std::vector<float> laplace(float scale) {
  std::mt19937 random(8);
  std::exponential_distribution<float> distribution(1 / scale);
  std::vector<float> values(kValues);
  for (float &value : values)
    value = random() % 2 ? distribution(random) : -distribution(random);
  return values;
}

} // namespace

TEST(QuantizeSymmetric, SearchBeatsAbsMax) {
  for (const std::vector<float> &values : {gaussian(0.02f), laplace(0.02f), gaussian(3.0f)}) {
    Quantized search = quantize(quantizePanelQ4Search, values);
    Quantized plain = quantize(quantizePanelQ4AbsMax, values);
    RecordProperty("search", std::to_string(relativeError(search.sums)));
    RecordProperty("absmax", std::to_string(relativeError(plain.sums)));
    EXPECT_LT(relativeError(search.sums), 0.90 * relativeError(plain.sums));
  }
}

TEST(QuantizeSymmetric, SearchLosesInNoGroup) {
  std::vector<float> values = laplace(0.02f);
  for (int64_t group = 0; group < kGroups; ++group) {
    uint8_t codes[32 * kLanes / 2];
    uint16_t scales[kLanes];
    ErrorSums search, plain;
    // One lane at a time: the other lanes are zero.
    std::vector<float> block(32 * kLanes, 0.0f);
    for (int64_t k = 0; k < 32; ++k)
      block[k * kLanes + group % kLanes] = values[(group * 32 + k) * kLanes + group % kLanes];
    ASSERT_TRUE(quantizePanelQ4Search(block.data(), 1, codes, scales, &search));
    ASSERT_TRUE(quantizePanelQ4AbsMax(block.data(), 1, codes, scales, &plain));
    EXPECT_LE(search.squaredError, plain.squaredError * (1 + 1e-5));
  }
}

TEST(QuantizeSymmetric, ErrorsStayInBounds) {
  // Half a step is 1/254 of the largest value with 8 bits; a gaussian group of 32 peaks near 2.1
  // sigma.
  Quantized q8 = quantize(quantizePanelQ8, gaussian(0.02f));
  EXPECT_LT(relativeError(q8.sums), 0.006);
  Quantized q4 = quantize(quantizePanelQ4Search, gaussian(0.02f));
  EXPECT_LT(relativeError(q4.sums), 0.085);
  EXPECT_GT(relativeError(q4.sums), 0.03);
}

TEST(QuantizeSymmetric, ZeroGroupsHaveScaleZero) {
  for (Quantizer quantizer : {quantizePanelQ8, quantizePanelQ4Search, quantizePanelQ4AbsMax}) {
    Quantized result = quantize(quantizer, std::vector<float>(kValues, 0.0f));
    ASSERT_TRUE(result.fits);
    for (uint16_t scale : result.scales)
      ASSERT_EQ(scale, 0);
    EXPECT_EQ(result.codes[0], quantizer == quantizePanelQ8 ? 128 : 0x88);
    EXPECT_EQ(result.sums.squaredError, 0);
  }
}

TEST(QuantizeSymmetric, KeepsTinyValues) {
  // absmax / 127 is far below the smallest f16; the smallest scale still expresses most of it.
  Quantized result = quantize(quantizePanelQ8, gaussian(1e-6f));
  ASSERT_TRUE(result.fits);
  EXPECT_LT(relativeError(result.sums), 0.05);
}

TEST(QuantizeSymmetric, RefusesWhatScalesCannotExpress) {
  for (float bad : {std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity(),
                    std::numeric_limits<float>::quiet_NaN(), 1e30f}) {
    std::vector<float> values = gaussian(0.02f);
    values[777] = bad;
    EXPECT_FALSE(quantize(quantizePanelQ8, values).fits);
    EXPECT_FALSE(quantize(quantizePanelQ4Search, values).fits);
    EXPECT_FALSE(quantize(quantizePanelQ4AbsMax, values).fits);
  }
}

TEST(QuantizeSymmetric, TakesTheLargestValuesItClaims) {
  std::vector<float> values(kValues, 1.0f);
  values[5] = -kLargestQ4;
  Quantized q4 = quantize(quantizePanelQ4Search, values);
  ASSERT_TRUE(q4.fits);
  for (uint16_t scale : q4.scales)
    EXPECT_TRUE(std::isfinite(f16ToF32(scale)));
  values[5] = kLargestQ8;
  Quantized q8 = quantize(quantizePanelQ8, values);
  ASSERT_TRUE(q8.fits);
  for (uint16_t scale : q8.scales)
    EXPECT_TRUE(std::isfinite(f16ToF32(scale)));
}
