/* The passes that compute weights, for vectors of KILN_LANE_BYTES: included once per width, by a
 * file that is compiled for it. Sixteen lanes in a group whatever the width, so that every width
 * computes the same numbers in the same order. */
#include "llm/logits.h"

#include <math.h>
#include <string.h>

namespace kiln {
namespace {

typedef float lanes_t __attribute__((vector_size(KILN_LANE_BYTES)));
typedef uint32_t bits_t __attribute__((vector_size(KILN_LANE_BYTES)));

constexpr size_t group = 16, parts = group * sizeof(float) / KILN_LANE_BYTES;

inline lanes_t load(const float *from) {
  lanes_t lanes;
  memcpy(&lanes, from, sizeof(lanes));
  return lanes;
}

/* The last logits of a row, filled up with minus infinity. */
struct filled_t {
  float logits[group];
  filled_t(const float *from, size_t count) {
    for (size_t i = 0; i < group; ++i)
      logits[i] = i < count ? from[i] : -INFINITY;
  }
};

/* The weights of logits. exp(x) for x <= 0: x = n ln 2 + r with |r| <= ln 2 / 2, a Taylor
 * polynomial in r, and n added to the exponent. NaN gives 0. Adding 1.5 * 2^23 leaves n in the low
 * bits of a float. */
inline lanes_t weights_of(lanes_t logits, float largest, float scale) {
  lanes_t x = (logits - largest) * scale;
  lanes_t shifted = x * 1.44269504f + 12582912.0f;
  lanes_t n = shifted - 12582912.0f;
  lanes_t r = x - n * 0.693359375f; // exact: few bits
  r = r + n * 2.12194440e-4f;
  lanes_t sum = r * (1.0f / 720.0f) + 1.0f / 120.0f;
  sum = sum * r + 1.0f / 24.0f;
  sum = sum * r + 1.0f / 6.0f;
  sum = sum * r + 0.5f;
  sum = sum * r + 1.0f;
  sum = sum * r + 1.0f;
  bits_t scaled = (bits_t)sum + ((bits_t)shifted << 23);
  return (lanes_t)(scaled & (bits_t)(x > -80.0f));
}

/* Adds the weights of whole groups to the sums of lanes. */
inline void add_groups(const float *logits, size_t groups, float largest, float scale,
                       lanes_t *sums) {
  lanes_t own[parts];
  memcpy(own, sums, sizeof(own));
  for (size_t i = 0; i < groups; ++i)
#pragma GCC unroll 4
    for (size_t p = 0; p < parts; ++p)
      own[p] = own[p] + weights_of(load(logits + i * group + p * (group / parts)), largest, scale);
  memcpy(sums, own, sizeof(own));
}

inline double sum_lanes(const float *logits, size_t count, float largest, float scale,
                        double *run_sums) {
  double total = 0;
  for (size_t begin = 0; begin < count; begin += weight_run) {
    size_t size = count - begin < weight_run ? count - begin : weight_run, rest = size % group;
    lanes_t sums[parts] = {};
    add_groups(logits + begin, size / group, largest, scale, sums);
    if (rest)
      add_groups(filled_t(logits + begin + size - rest, rest).logits, 1, largest, scale, sums);
    float lanes[group];
    memcpy(lanes, sums, sizeof(lanes));
    double sum = 0;
    for (float lane : lanes)
      sum += (double)lane;
    if (run_sums)
      run_sums[begin / weight_run] = sum;
    total += sum;
  }
  return total;
}

inline void weigh_lanes(const float *logits, size_t count, float largest, float scale,
                        float *weights) {
  for (size_t i = 0; i < count; i += group) {
    filled_t filled(logits + i, count - i < group ? count - i : group);
    for (size_t p = 0; p < parts; ++p) {
      size_t lane = p * (group / parts);
      lanes_t part = weights_of(load(filled.logits + lane), largest, scale);
      memcpy(weights + i + lane, &part, sizeof(part));
    }
  }
}

} // namespace
} // namespace kiln
