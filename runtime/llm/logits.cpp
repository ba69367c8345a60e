// Passes over a row of logits, which has as many numbers as the vocabulary has tokens, for every
// token that is generated. Vectors of four floats, which every target has, in groups of sixteen
// lanes; a sum is sixteen sums in float over a run of 1,024 logits, added up in double. The
// compiler sees this file without contraction to fused multiply-adds, so each operation rounds as
// IEEE 754 says, on every machine.

#include "llm/logits.h"

#include <math.h>
#include <string.h>

namespace kiln {
namespace {

typedef float lanes_t __attribute__((vector_size(16)));
typedef uint32_t bits_t __attribute__((vector_size(16)));

constexpr size_t parts = 4, group = 16; // four vectors of four lanes

struct group_t {
  lanes_t part[parts];
};

inline group_t load(const float *logits) {
  group_t result;
  memcpy(&result, logits, sizeof(result));
  return result;
}

/* The last lanes of a row, filled up with minus infinity. */
inline group_t load_some(const float *logits, size_t count) {
  float filled[group];
  for (size_t i = 0; i < group; ++i)
    filled[i] = i < count ? logits[i] : -INFINITY;
  return load(filled);
}

inline lanes_t larger(lanes_t x, lanes_t than) { return x > than ? x : than; }

/* exp(x) for x <= 0: x = n ln 2 + r with |r| <= ln 2 / 2, a Taylor polynomial in r, and n added to
 * the exponent. NaN gives 0. Adding 1.5 * 2^23 leaves n in the low bits of a float. */
inline lanes_t exponential(lanes_t x) {
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

inline lanes_t weight(lanes_t logits, float largest, float scale) {
  return exponential((logits - largest) * scale);
}

float largest_of_block(const float *logits, size_t count) {
  group_t best;
  for (lanes_t &part : best.part)
    part = lanes_t{} - INFINITY;
  for (size_t i = 0; i < count; i += group) {
    group_t next = count - i < group ? load_some(logits + i, count - i) : load(logits + i);
    for (size_t p = 0; p < parts; ++p)
      best.part[p] = larger(next.part[p], best.part[p]);
  }
  lanes_t four = larger(larger(best.part[0], best.part[1]), larger(best.part[2], best.part[3]));
  float two = four[0] > four[1] ? four[0] : four[1], other = four[2] > four[3] ? four[2] : four[3];
  return two > other ? two : other;
}

inline size_t block_size_at(size_t begin, size_t count, size_t most) {
  return count - begin < most ? count - begin : most;
}

} // namespace

float block_maxima(const float *logits, size_t count, float *maxima) {
  float largest = -INFINITY;
  for (size_t begin = 0; begin < count; begin += logit_block) {
    float of_block = largest_of_block(logits + begin, block_size_at(begin, count, logit_block));
    maxima[begin / logit_block] = of_block;
    largest = of_block > largest ? of_block : largest;
  }
  return largest;
}

int32_t largest_logit(const float *logits, size_t count) {
  float largest = -INFINITY;
  size_t block = count;
  for (size_t begin = 0; begin < count; begin += logit_block) {
    float of_block = largest_of_block(logits + begin, block_size_at(begin, count, logit_block));
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
  double total = 0;
  for (size_t begin = 0; begin < count; begin += weight_run) {
    size_t size = block_size_at(begin, count, weight_run);
    group_t sums = {};
    for (size_t i = 0; i < size; i += group) {
      const float *from = logits + begin + i;
      group_t next = size - i < group ? load_some(from, size - i) : load(from);
      for (size_t p = 0; p < parts; ++p)
        sums.part[p] = sums.part[p] + weight(next.part[p], largest, scale);
    }
    double sum = 0;
    for (const lanes_t &part : sums.part)
      for (size_t lane = 0; lane < group / parts; ++lane)
        sum += (double)part[lane];
    if (run_sums)
      run_sums[begin / weight_run] = sum;
    total += sum;
  }
  return total;
}

void weigh(const float *logits, size_t count, float largest, float scale, float *weights) {
  for (size_t i = 0; i < count; i += group) {
    group_t next = count - i < group ? load_some(logits + i, count - i) : load(logits + i);
    for (lanes_t &part : next.part)
      part = weight(part, largest, scale);
    memcpy(weights + i, &next, sizeof(next));
  }
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
