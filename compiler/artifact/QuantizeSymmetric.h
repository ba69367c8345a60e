// Symmetric integer quantization (q8_sym_g32, q4_sym_g32) of one panel, straight into "panel16".
#ifndef KILN_COMPILER_ARTIFACT_QUANTIZESYMMETRIC_H
#define KILN_COMPILER_ARTIFACT_QUANTIZESYMMETRIC_H

#include <cstdint>

namespace kiln {

/// How the scale of a 4-bit group is chosen.
enum class ScaleChoice {
  Search, // least squared error over a set of candidates, refitted
  AbsMax, // largest absolute value / 7: for comparison
};

/// What quantization of some values lost.
struct ErrorSums {
  double squaredError = 0;
  double squaredValues = 0;

  void add(const ErrorSums &other) {
    squaredError += other.squaredError;
    squaredValues += other.squaredValues;
  }
};

/// The largest absolute values whose scales are finite in f16.
inline constexpr float kLargestQ8 = 65504.0f * 127.0f;
inline constexpr float kLargestQ4 = 65504.0f * 4.0f;

/// Quantizes `groups` groups of 32 x 16 values, `values` [groups * 32][16] f32, and writes codes
/// and scales as "panel16" has them: `codes` and `scales` point at a panel's codes and scales.
/// False where a value is not finite or larger than the format's scales can express.
bool quantizePanelQ8(const float *values, int64_t groups, uint8_t *codes, uint16_t *scales,
                     ErrorSums *sums);
bool quantizePanelQ4Search(const float *values, int64_t groups, uint8_t *codes, uint16_t *scales,
                           ErrorSums *sums);
bool quantizePanelQ4AbsMax(const float *values, int64_t groups, uint8_t *codes, uint16_t *scales,
                           ErrorSums *sums);

} // namespace kiln

#endif
