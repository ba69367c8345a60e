// Passes over a row of logits, which has as many numbers as the vocabulary has tokens, for every
// token that is generated. Vectors of four floats, which every target has, or of eight where the
// CPU has them, in groups of sixteen lanes; a sum is sixteen sums in float over a run of 1,024
// logits, added up in double. The compiler sees these files without contraction to fused
// multiply-adds, so each operation rounds as IEEE 754 says, on every machine.

#define KILN_LANE_BYTES 16
#include "llm/weight_lanes.h"

#include "loader/features.h"

namespace kiln {
namespace {

inline lanes_t larger(lanes_t x, lanes_t than) { return x > than ? x : than; }

/* NaN is never larger. */
float largest_of_block(const float *logits, size_t count) {
  lanes_t best[parts];
  for (lanes_t &part : best)
    part = lanes_t{} - INFINITY;
  size_t i = 0;
  for (; i + group <= count; i += group)
#pragma GCC unroll 4
    for (size_t p = 0; p < parts; ++p)
      best[p] = larger(load(logits + i + p * (group / parts)), best[p]);
  if (i < count) {
    filled_t filled(logits + i, count - i);
    for (size_t p = 0; p < parts; ++p)
      best[p] = larger(load(filled.logits + p * (group / parts)), best[p]);
  }
  lanes_t four = larger(larger(best[0], best[1]), larger(best[2], best[3]));
  float two = four[0] > four[1] ? four[0] : four[1], other = four[2] > four[3] ? four[2] : four[3];
  return two > other ? two : other;
}

inline float largest_from(const float *logits, size_t begin, size_t count) {
  return largest_of_block(logits + begin,
                          count - begin < logit_block ? count - begin : logit_block);
}

#ifdef __x86_64__
/* Asked once: CPUID is slow in virtual machines. */
bool has_avx2() {
  static int known = 0; // 1: no, 2: yes
  int answer = __atomic_load_n(&known, __ATOMIC_RELAXED);
  if (answer == 0) {
    answer = feature_set_has(host_features(), "avx2") ? 2 : 1;
    __atomic_store_n(&known, answer, __ATOMIC_RELAXED);
  }
  return answer == 2;
}
#endif

} // namespace

#ifdef __x86_64__
double sum_weights_avx2(const float *logits, size_t count, float largest, float scale,
                        double *run_sums);
void weigh_avx2(const float *logits, size_t count, float largest, float scale, float *weights);
#endif

float block_maxima(const float *logits, size_t count, float *maxima) {
  float largest = -INFINITY;
  for (size_t begin = 0; begin < count; begin += logit_block) {
    float of_block = largest_from(logits, begin, count);
    maxima[begin / logit_block] = of_block;
    largest = of_block > largest ? of_block : largest;
  }
  return largest;
}

int32_t largest_logit(const float *logits, size_t count) {
  float largest = -INFINITY;
  size_t block = count;
  for (size_t begin = 0; begin < count; begin += logit_block) {
    float of_block = largest_from(logits, begin, count);
    if (of_block > largest) {
      largest = of_block;
      block = begin;
    }
  }
  for (size_t i = block; i < count; ++i)
    if (logits[i] == largest)
      return (int32_t)i;
  return -1;
}

double sum_weights(const float *logits, size_t count, float largest, float scale,
                   double *run_sums) {
#ifdef __x86_64__
  if (has_avx2())
    return sum_weights_avx2(logits, count, largest, scale, run_sums);
#endif
  return sum_lanes(logits, count, largest, scale, run_sums);
}

void weigh(const float *logits, size_t count, float largest, float scale, float *weights) {
#ifdef __x86_64__
  if (has_avx2())
    return weigh_avx2(logits, count, largest, scale, weights);
#endif
  weigh_lanes(logits, count, largest, scale, weights);
}

double logarithm(double x) {
  uint64_t bits;
  memcpy(&bits, &x, sizeof(bits));
  int exponent = (int)(bits >> 52 & 0x7FF) - 1023;
  bits = (bits & 0x000FFFFFFFFFFFFFu) | 0x3FF0000000000000u;
  double mantissa; // [1, 2)
  memcpy(&mantissa, &bits, sizeof(mantissa));
  if (mantissa > 1.4142135623730951) {
    mantissa *= 0.5;
    ++exponent;
  }
  // ln m = 2 artanh(s), s = (m - 1) / (m + 1), |s| < 0.172
  double s = (mantissa - 1.0) / (mantissa + 1.0), square = s * s, sum = 0;
  for (int odd = 21; odd > 0; odd -= 2)
    sum = sum * square + 1.0 / odd;
  return (double)exponent * 0.6931471805599453 + 2.0 * s * sum;
}

} // namespace kiln
