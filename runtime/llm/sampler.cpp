// Choosing the next token from logits: repetition penalty (Keskar et al., 2019), temperature,
// top-k, top-p (Holtzman et al., 2020), min-p (Nguyen et al., 2024), in this order, then a draw.
//
// The same choice on every machine: candidates are ordered by logit, ties by id; sums run in that
// order in double; exp is a fixed sequence of IEEE operations (this file is compiled without
// contraction to fused multiply-adds); random numbers are xoshiro256** (Blackman and Vigna, 2018),
// seeded through SplitMix64, of which the upper 53 bits make a number in [0, 1).

#include "core/error.h"
#include "kiln/llm.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

namespace kiln {
namespace {

struct candidate_t {
  float logit;
  int32_t id;
};

/* Whether a is chosen before b. */
bool before(const candidate_t &a, const candidate_t &b) {
  return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
}

/* A binary heap whose top is the best candidate left: most draws look at a few of many thousands.
 */
void sift_down(candidate_t *heap, size_t count, size_t hole) {
  if (hole >= count)
    return;
  candidate_t moved = heap[hole];
  while (true) {
    size_t child = 2 * hole + 1;
    if (child >= count)
      break;
    if (child + 1 < count && before(heap[child + 1], heap[child]))
      ++child;
    if (!before(heap[child], moved))
      break;
    heap[hole] = heap[child];
    hole = child;
  }
  heap[hole] = moved;
}

/* exp(x) for x <= 0, with a relative error below 1e-15: x = k ln 2 + r, |r| <= ln 2 / 2, and a
 * Taylor polynomial in r. */
double exp_negative(double x) {
  if (!(x > -700.0))
    return 0.0;
  static const double coefficients[] = {1.0 / 6227020800.0,
                                        1.0 / 479001600.0,
                                        1.0 / 39916800.0,
                                        1.0 / 3628800.0,
                                        1.0 / 362880.0,
                                        1.0 / 40320.0,
                                        1.0 / 5040.0,
                                        1.0 / 720.0,
                                        1.0 / 120.0,
                                        1.0 / 24.0,
                                        1.0 / 6.0,
                                        0.5,
                                        1.0,
                                        1.0};
  double k = floor(x * 1.4426950408889634 + 0.5);
  double r = (x - k * 0.693147180369123816490) - k * 1.90821492927058770002e-10;
  double sum = 0.0;
  for (double coefficient : coefficients)
    sum = sum * r + coefficient;
  uint64_t bits = (uint64_t)((int64_t)k + 1023) << 52;
  double power;
  memcpy(&power, &bits, sizeof(power));
  return sum * power;
}

uint64_t rotate_left(uint64_t x, int by) { return x << by | x >> (64 - by); }

} // namespace
} // namespace kiln

using namespace kiln;

struct kiln_sampler {
  kiln_sampler_options options;
  size_t vocab_size;
  uint64_t random[4];
  uint8_t *seen; /* [vocab_size] */

  // During a draw. The best candidates are taken from the heap one by one, as far as needed.
  candidate_t *heap; /* [vocab_size] */
  size_t heap_count;
  int32_t *ids;    /* [vocab_size]: those taken, best first */
  double *weights; /* [vocab_size]: exp((logit - largest) / temperature) of those taken */
  size_t taken;
  double largest;
};

static double random_unit(kiln_sampler *sampler) {
  uint64_t *s = sampler->random;
  uint64_t result = rotate_left(s[1] * 5, 7) * 9, t = s[1] << 17;
  s[2] ^= s[0];
  s[3] ^= s[1];
  s[1] ^= s[2];
  s[0] ^= s[3];
  s[2] ^= t;
  s[3] = rotate_left(s[3], 45);
  return (double)(result >> 11) * 0x1p-53;
}

kiln_sampler_options kiln_sampler_defaults(void) { return {1.0f, 0.0f, 0, 1.0f, 0.0f, 0}; }

kiln_status_t kiln_sampler_create(const kiln_sampler_options *options, size_t vocab_size,
                                  kiln_sampler_t **sampler, kiln_error *error) {
  if (!options || !sampler || vocab_size == 0 || vocab_size > INT32_MAX)
    return fail(error, KILN_INVALID_ARGUMENT, "expected options, a vocabulary and a place");
  if (!(options->repetition_penalty > 0) || !isfinite(options->repetition_penalty))
    return fail(error, KILN_INVALID_ARGUMENT, "repetition_penalty: expected > 0, found %g",
                (double)options->repetition_penalty);
  if (!(options->temperature >= 0) || !isfinite(options->temperature))
    return fail(error, KILN_INVALID_ARGUMENT, "temperature: expected >= 0, found %g",
                (double)options->temperature);
  if (!(options->top_p >= 0 && options->top_p <= 1))
    return fail(error, KILN_INVALID_ARGUMENT, "top_p: expected 0 to 1, found %g",
                (double)options->top_p);
  if (!(options->min_p >= 0 && options->min_p <= 1))
    return fail(error, KILN_INVALID_ARGUMENT, "min_p: expected 0 to 1, found %g",
                (double)options->min_p);
  kiln_sampler *result = static_cast<kiln_sampler *>(calloc(1, sizeof(kiln_sampler)));
  if (result) {
    result->heap = static_cast<candidate_t *>(calloc(vocab_size, sizeof(candidate_t)));
    result->weights = static_cast<double *>(calloc(vocab_size, sizeof(double)));
    result->ids = static_cast<int32_t *>(calloc(vocab_size, sizeof(int32_t)));
    result->seen = static_cast<uint8_t *>(calloc(vocab_size, 1));
  }
  if (!result || !result->heap || !result->weights || !result->ids || !result->seen) {
    kiln_sampler_destroy(result);
    return fail(error, KILN_OUT_OF_MEMORY, "a sampler for %zu tokens", vocab_size);
  }
  result->options = *options;
  result->vocab_size = vocab_size;
  kiln_sampler_reset(result);
  *sampler = result;
  return KILN_OK;
}

void kiln_sampler_destroy(kiln_sampler_t *sampler) {
  if (!sampler)
    return;
  free(sampler->heap);
  free(sampler->weights);
  free(sampler->ids);
  free(sampler->seen);
  free(sampler);
}

void kiln_sampler_reset(kiln_sampler_t *sampler) {
  memset(sampler->seen, 0, sampler->vocab_size);
  uint64_t state = sampler->options.seed;
  for (uint64_t &word : sampler->random) {
    state += 0x9E3779B97F4A7C15u;
    uint64_t z = state;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    word = z ^ z >> 31;
  }
}

void kiln_sampler_accept(kiln_sampler_t *sampler, int32_t id) {
  if (id >= 0 && (size_t)id < sampler->vocab_size)
    sampler->seen[id] = 1;
}

/* Copies the logits that can be chosen, penalized, in the order of ids; +infinity becomes the
 * largest number. */
static void collect(kiln_sampler *sampler, const float *logits) {
  size_t count = 0;
  float penalty = sampler->options.repetition_penalty;
  for (size_t id = 0; id < sampler->vocab_size; ++id) {
    float logit = logits[id];
    if (sampler->seen[id])
      logit = logit > 0 ? logit / penalty : logit * penalty;
    if (!(logit > -INFINITY))
      continue;
    if (logit == INFINITY)
      logit = 3.402823466e+38f;
    sampler->heap[count++] = {logit, (int32_t)id};
  }
  sampler->heap_count = count;
}

static double weight(const kiln_sampler *sampler, float logit) {
  return exp_negative(((double)logit - sampler->largest) / (double)sampler->options.temperature);
}

/* Makes sure that the best `count` candidates, of which there are as many, have been taken. */
static void take(kiln_sampler *sampler, size_t count) {
  candidate_t *heap = sampler->heap;
  for (; sampler->taken < count; ++sampler->taken) {
    sampler->ids[sampler->taken] = heap[0].id;
    sampler->weights[sampler->taken] = weight(sampler, heap[0].logit);
    heap[0] = heap[--sampler->heap_count];
    sift_down(heap, sampler->heap_count, 0);
  }
}

/* Draws from the candidates in the heap; there is at least one. */
static int32_t draw(kiln_sampler *sampler) {
  const kiln_sampler_options &options = sampler->options;
  candidate_t *heap = sampler->heap;
  size_t count = sampler->heap_count;
  sampler->taken = 0;
  sampler->largest = (double)heap[0].logit;
  for (size_t i = 1; i < count; ++i)
    if ((double)heap[i].logit > sampler->largest)
      sampler->largest = (double)heap[i].logit;

  // The weights of all that top-k leaves: in the order of ids where that is everything.
  size_t top_k = options.top_k > 0 && options.top_k < count ? options.top_k : count;
  bool limited = options.top_p < 1 || options.min_p > 0;
  double total = 0;
  if (top_k == count && (options.top_p < 1 || !limited))
    for (size_t i = 0; i < count; ++i)
      total += weight(sampler, heap[i].logit);
  for (size_t i = count / 2; i-- > 0;)
    sift_down(heap, count, i);
  if (top_k < count) {
    take(sampler, top_k);
    for (size_t i = 0; i < top_k; ++i)
      total += sampler->weights[i];
  }

  size_t kept = limited ? 0 : top_k;
  double mass = limited ? 0 : total;
  while (limited && kept < top_k) {
    take(sampler, kept + 1);
    if (kept > 0 && sampler->weights[kept] < (double)options.min_p)
      break; // the largest weighs 1
    mass += sampler->weights[kept++];
    if (options.top_p < 1 && mass >= (double)options.top_p * total)
      break;
  }

  double left = random_unit(sampler) * mass;
  for (size_t i = 0;; ++i) {
    take(sampler, i + 1);
    left -= sampler->weights[i];
    if (left < 0 || i + 1 == kept)
      return sampler->ids[i];
  }
}

kiln_status_t kiln_sampler_sample(kiln_sampler_t *sampler, const float *logits, int32_t *id,
                                  kiln_error *error) {
  if (!sampler || !logits || !id)
    return fail(error, KILN_INVALID_ARGUMENT, "expected a sampler, logits and a place for the id");
  collect(sampler, logits);
  if (sampler->heap_count == 0)
    return fail(error, KILN_INVALID_ARGUMENT, "none of the %zu logits is a number",
                sampler->vocab_size);
  if (sampler->options.temperature > 0) {
    *id = draw(sampler);
    return KILN_OK;
  }
  candidate_t best = sampler->heap[0];
  for (size_t i = 1; i < sampler->heap_count; ++i)
    if (before(sampler->heap[i], best))
      best = sampler->heap[i];
  *id = best.id;
  return KILN_OK;
}
