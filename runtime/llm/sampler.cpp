// Choosing the next token from logits: logit bias; repetition penalty (Keskar et al., 2019),
// frequency and presence penalty (as OpenAI's API defines them); temperature; top-k; top-p
// (Holtzman et al., 2020); min-p (Nguyen et al., 2024); locally typical sampling (Meister et al.,
// 2023); in this order, then a draw.
//
// The same choice on every machine: weights are computed lane by lane in a fixed order (logits.h),
// what is kept is found by sums in a fixed order (candidates.h), and the draw walks over what is
// kept in the order of ids. The random number of a draw is that of SplitMix64 (Steele, Lea and
// Flood, 2014) at an index: it depends on the seed, on how many tokens were accepted, and on how
// many draws were made since the last of them; not on how the sampler came there. So a sampler is
// told the tokens of a sequence, and is in the state of any other that was told the same.

#include "core/error.h"
#include "kiln/llm.h"
#include "llm/candidates.h"
#include "llm/logits.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

using namespace kiln;

namespace {

constexpr float largest_float = 3.402823466e+38f;
constexpr uint32_t max_window = 1u << 24;
constexpr uint32_t listed = 1u << 31; // of a count: the id is in `seen`

} // namespace

struct kiln_sampler {
  kiln_sampler_options options; /* logit_bias points to an own copy */
  size_t vocab_size;
  uint64_t accepted, draws; /* draws since the last accepted token */

  uint32_t *counts; /* [vocab_size]: how often a token is in the window, and `listed` */
  int32_t *seen;    /* ids with a count, or that had one */
  size_t seen_count;
  int32_t *window; /* [penalty_window]: the last tokens, a ring */

  float *logits;        /* [vocab_size]: changed by bias and penalties */
  float *maxima;        /* of blocks of logits */
  double *run_sums;     /* of runs of weights */
  candidates_t list;    /* of a draw */
  float largest, scale; /* of a draw: weights are exp((logit - largest) * scale) */
};

kiln_sampler_options kiln_sampler_defaults(void) {
  kiln_sampler_options options = {};
  options.repetition_penalty = options.top_p = options.typical_p = 1;
  return options;
}

static kiln_status_t check_options(const kiln_sampler_options &options, size_t vocab_size,
                                   kiln_error *error) {
  auto refuse = [&](const char *name, const char *expected, double found) {
    return fail(error, KILN_INVALID_ARGUMENT, "%s: expected %s, found %g", name, expected, found);
  };
  if (!(options.repetition_penalty > 0) || !isfinite(options.repetition_penalty))
    return refuse("repetition_penalty", "> 0", (double)options.repetition_penalty);
  if (!isfinite(options.presence_penalty))
    return refuse("presence_penalty", "a number", (double)options.presence_penalty);
  if (!isfinite(options.frequency_penalty))
    return refuse("frequency_penalty", "a number", (double)options.frequency_penalty);
  if (options.penalty_window > max_window)
    return refuse("penalty_window", "at most 2^24", options.penalty_window);
  if (!(options.temperature >= 0) || !isfinite(options.temperature))
    return refuse("temperature", ">= 0", (double)options.temperature);
  if (!(options.top_p >= 0 && options.top_p <= 1))
    return refuse("top_p", "0 to 1", (double)options.top_p);
  if (!(options.min_p >= 0 && options.min_p <= 1))
    return refuse("min_p", "0 to 1", (double)options.min_p);
  if (!(options.typical_p >= 0 && options.typical_p <= 1))
    return refuse("typical_p", "0 to 1", (double)options.typical_p);
  if (options.logit_bias_count && !options.logit_bias)
    return fail(error, KILN_INVALID_ARGUMENT, "logit_bias: expected %zu entries, found NULL",
                options.logit_bias_count);
  for (size_t i = 0; i < options.logit_bias_count; ++i) {
    kiln_logit_bias entry = options.logit_bias[i];
    if (entry.id < 0 || (size_t)entry.id >= vocab_size)
      return fail(error, KILN_INDEX_OUT_OF_RANGE,
                  "logit_bias %zu: expected an id below %zu, found %d", i, vocab_size, entry.id);
    if (isnan(entry.bias))
      return fail(error, KILN_INVALID_ARGUMENT, "logit_bias %zu: not a number", i);
  }
  return KILN_OK;
}

template <typename T> static bool allocate(size_t count, T **result) {
  *result = static_cast<T *>(calloc(count ? count : 1, sizeof(T)));
  return *result != nullptr;
}

static bool take_memory(kiln_sampler *sampler, const kiln_sampler_options &options) {
  size_t vocab_size = sampler->vocab_size;
  kiln_logit_bias *bias = nullptr;
  if (!allocate(options.logit_bias_count, &bias))
    return false;
  if (options.logit_bias_count)
    memcpy(bias, options.logit_bias, options.logit_bias_count * sizeof(*bias));
  sampler->options = options;
  sampler->options.logit_bias = bias;
  return allocate(vocab_size, &sampler->counts) && allocate(vocab_size, &sampler->seen) &&
         allocate(options.penalty_window, &sampler->window) &&
         allocate(vocab_size, &sampler->logits) &&
         allocate(logit_blocks(vocab_size), &sampler->maxima) &&
         allocate(weight_runs(vocab_size), &sampler->run_sums) &&
         candidates_allocate(&sampler->list, vocab_size);
}

kiln_status_t kiln_sampler_create(const kiln_sampler_options *options, size_t vocab_size,
                                  kiln_sampler_t **sampler, kiln_error *error) {
  if (!options || !sampler || vocab_size == 0 || vocab_size > INT32_MAX / 2)
    return fail(error, KILN_INVALID_ARGUMENT, "expected options, a vocabulary and a place");
  kiln_status_t status = check_options(*options, vocab_size, error);
  if (status)
    return status;
  kiln_sampler *result = nullptr;
  if (allocate(1, &result))
    result->vocab_size = vocab_size;
  if (!result || !take_memory(result, *options)) {
    kiln_sampler_destroy(result);
    return fail(error, KILN_OUT_OF_MEMORY, "a sampler for %zu tokens", vocab_size);
  }
  *sampler = result;
  return KILN_OK;
}

void kiln_sampler_destroy(kiln_sampler_t *sampler) {
  if (!sampler)
    return;
  free(const_cast<kiln_logit_bias *>(sampler->options.logit_bias));
  free(sampler->counts);
  free(sampler->seen);
  free(sampler->window);
  free(sampler->logits);
  free(sampler->maxima);
  free(sampler->run_sums);
  candidates_release(&sampler->list);
  free(sampler);
}

void kiln_sampler_reset(kiln_sampler_t *sampler) {
  for (size_t i = 0; i < sampler->seen_count; ++i)
    sampler->counts[sampler->seen[i]] = 0;
  sampler->seen_count = 0;
  sampler->accepted = sampler->draws = 0;
}

void kiln_sampler_accept(kiln_sampler_t *sampler, int32_t id) {
  uint32_t window = sampler->options.penalty_window;
  bool known = id >= 0 && (size_t)id < sampler->vocab_size;
  if (window) {
    int32_t &place = sampler->window[sampler->accepted % window];
    if (sampler->accepted >= window && place >= 0)
      --sampler->counts[place];
    place = known ? id : -1;
  }
  ++sampler->accepted;
  sampler->draws = 0;
  if (!known)
    return;
  if (!(sampler->counts[id] & listed)) {
    sampler->counts[id] |= listed;
    sampler->seen[sampler->seen_count++] = id;
  }
  if (sampler->counts[id] != UINT32_MAX)
    ++sampler->counts[id];
}

void kiln_sampler_assign(kiln_sampler_t *sampler, const int32_t *tokens, size_t count) {
  kiln_sampler_reset(sampler);
  for (size_t i = 0; i < count; ++i)
    kiln_sampler_accept(sampler, tokens[i]);
}

static bool has_penalties(const kiln_sampler_options &options) {
  return options.repetition_penalty != 1 || options.presence_penalty != 0 ||
         options.frequency_penalty != 0;
}

/* The logits with bias and penalties. */
static const float *penalize(kiln_sampler *sampler, const float *logits) {
  const kiln_sampler_options &options = sampler->options;
  bool penalties = has_penalties(options) && sampler->seen_count;
  if (!options.logit_bias_count && !penalties)
    return logits;
  memcpy(sampler->logits, logits, sampler->vocab_size * sizeof(float));
  for (size_t i = 0; i < options.logit_bias_count; ++i)
    sampler->logits[options.logit_bias[i].id] += options.logit_bias[i].bias;
  for (size_t i = 0; penalties && i < sampler->seen_count; ++i) {
    uint32_t count = sampler->counts[sampler->seen[i]] & ~listed;
    if (count == 0)
      continue; // it has left the window
    float &logit = sampler->logits[sampler->seen[i]];
    logit = logit > 0 ? logit / options.repetition_penalty : logit * options.repetition_penalty;
    logit -= (float)count * options.frequency_penalty;
    logit -= options.presence_penalty;
  }
  return sampler->logits;
}

/* Infinity becomes the largest number, so that differences are numbers. */
static const float *limit(kiln_sampler *sampler, const float *logits) {
  for (size_t i = 0; i < sampler->vocab_size; ++i)
    sampler->logits[i] = logits[i] == INFINITY ? largest_float : logits[i];
  return sampler->logits;
}

static uint64_t mix(uint64_t z) {
  z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
  z = (z ^ z >> 27) * 0x94D049BB133111EBu;
  return z ^ z >> 31;
}

/* In [0, 1): the upper 53 bits. */
static double random_unit(const kiln_sampler *sampler) {
  constexpr uint64_t step = 0x9E3779B97F4A7C15u;
  uint64_t z = mix(sampler->options.seed + step);
  z = mix(z + (sampler->accepted + 1) * step);
  if (sampler->draws)
    z = mix(z + sampler->draws * step);
  return (double)(z >> 11) * 0x1p-53;
}

/* Among all tokens: the run is found by the sums of weights, then the token in it. */
static int32_t draw_from_all(kiln_sampler *sampler, const float *logits, double unit) {
  size_t count = sampler->vocab_size;
  double left =
      unit * sum_weights(logits, count, sampler->largest, sampler->scale, sampler->run_sums);
  size_t run = 0, runs = weight_runs(count), last = 0;
  for (size_t i = 0; i < runs; ++i)
    last = sampler->run_sums[i] > 0 ? i : last;
  while (run < last && left >= sampler->run_sums[run])
    left -= sampler->run_sums[run++];
  size_t begin = run * weight_run, size = count - begin < weight_run ? count - begin : weight_run;
  float weights[weight_run];
  weigh(logits + begin, size, sampler->largest, sampler->scale, weights);
  int32_t id = -1;
  for (size_t i = 0; i < size && (id < 0 || left >= 0); ++i)
    if (weights[i] > 0) {
      left -= (double)weights[i];
      id = (int32_t)(begin + i);
    }
  return id;
}

static void weigh_list(kiln_sampler *sampler, const float *logits) {
  candidates_t &list = sampler->list;
  for (size_t i = 0; i < list.count; ++i)
    list.weights[i] = logits[list.ids[i]];
  weigh(list.weights, list.count, sampler->largest, sampler->scale, list.weights);
}

/* A finite logit that lies below every weight of at least 2^-halvings. */
static float logit_below(const kiln_sampler *sampler, int halvings) {
  double least = (double)sampler->largest - (halvings + 1) * 0.7 / (double)sampler->scale;
  return least > -(double)largest_float ? (float)least : -largest_float;
}

/* How many halvings of the largest weight leave out about as much as top-p may: by the weights of
 * one block in sixteen. A guess: few candidates are few to choose among, and too few are noticed.
 */
static int guess_halvings(const kiln_sampler *sampler, const float *logits, double left_out) {
  constexpr size_t every = 16;
  double sums[128] = {}; // by exponent
  for (size_t begin = 0; begin + logit_block <= sampler->vocab_size; begin += every * logit_block) {
    float weights[logit_block];
    weigh(logits + begin, logit_block, sampler->largest, sampler->scale, weights);
    for (float weight : weights) {
      uint32_t bits;
      memcpy(&bits, &weight, sizeof(bits));
      sums[127 - (bits >> 23)] += (double)weight; // at most 1
    }
  }
  int halvings = 127;
  for (double sum = 0; halvings > 5; --halvings) {
    sum += sums[halvings];
    if (sum * every > left_out)
      break;
  }
  return halvings;
}

/* The candidates that top-p and min-p need: the likeliest, with a weight of 2^-halvings or more,
 * where `halvings` grows until those weigh enough. */
static void collect_heavy(kiln_sampler *sampler, const float *logits, double total) {
  const kiln_sampler_options &options = sampler->options;
  int most = 1 << 20; // halvings that leave out nothing that min-p keeps
  if (options.min_p > 0) {
    uint32_t bits;
    memcpy(&bits, &options.min_p, sizeof(bits));
    most = 127 - (int)(bits >> 23); // the exponent; weights below 2^-115 are 0
  }
  double top_p = (double)options.top_p;
  int halvings = top_p < 1 ? guess_halvings(sampler, logits, (1 - top_p) * total) : most;
  for (;; halvings += 3) {
    bool whole = halvings >= most || halvings > 120;
    float least = !whole              ? logit_below(sampler, halvings)
                  : options.min_p > 0 ? logit_below(sampler, most)
                                      : -largest_float;
    candidates_collect(&sampler->list, logits, sampler->vocab_size, sampler->maxima, least);
    weigh_list(sampler, logits);
    if (whole || candidates_mass(sampler->list) >= top_p * total)
      return;
  }
}

/* Keeps the tokens whose information is nearest to the distribution's entropy. */
static void keep_typical(kiln_sampler *sampler, const float *logits) {
  candidates_t &list = sampler->list;
  double mass = candidates_mass(list), moment = 0;
  auto exponent = [&](size_t i) {
    return (double)((logits[list.ids[i]] - sampler->largest) * sampler->scale);
  };
  for (size_t i = 0; i < list.count; ++i)
    if (list.weights[i] > 0)
      moment += (double)list.weights[i] * exponent(i);
  // ln p = exponent - ln(mass); entropy = ln(mass) - moment / mass
  for (size_t i = 0; i < list.count; ++i) {
    float distance = (float)fabs(exponent(i) - moment / mass);
    memcpy(&list.keys[i], &distance, sizeof(distance)); // not negative: bits in the same order
  }
  double wanted = (double)sampler->options.typical_p * mass;
  candidates_keep_mass(&list, wanted > 0 ? wanted : 1e-300);
}

static int32_t draw_from_list(const candidates_t &list, double unit) {
  double left = unit * candidates_mass(list);
  int32_t id = -1;
  for (size_t i = 0; i < list.count && (id < 0 || left >= 0); ++i)
    if (list.weights[i] > 0) {
      left -= (double)list.weights[i];
      id = list.ids[i];
    }
  return id >= 0 ? id : list.ids[0];
}

static int32_t draw(kiln_sampler *sampler, const float *logits) {
  const kiln_sampler_options &options = sampler->options;
  candidates_t &list = sampler->list;
  double scale = 1.0 / (double)options.temperature;
  sampler->scale = scale < 1e38 ? (float)scale : 1e38f;
  double unit = random_unit(sampler), mass = 0;
  bool some = options.top_k > 0 && options.top_k < sampler->vocab_size;
  if (!some && options.top_p >= 1 && options.min_p <= 0 && options.typical_p >= 1)
    return draw_from_all(sampler, logits, unit);
  if (some) {
    float least =
        reached_by(&list, sampler->maxima, logit_blocks(sampler->vocab_size), options.top_k);
    candidates_collect(&list, logits, sampler->vocab_size, sampler->maxima, least);
    if (options.top_k < list.count)
      candidates_keep_count(&list, options.top_k);
    weigh_list(sampler, logits);
    mass = candidates_mass(list) * (double)options.top_p;
  } else {
    double total = 0;
    if (options.top_p < 1)
      total = sum_weights(logits, sampler->vocab_size, sampler->largest, sampler->scale, nullptr);
    mass = total * (double)options.top_p;
    collect_heavy(sampler, logits, total);
  }
  if (options.top_p < 1)
    candidates_keep_mass(&list, mass > 0 ? mass : 1e-300);
  if (options.min_p > 0)
    candidates_keep_weight(&list, options.min_p);
  if (options.typical_p < 1)
    keep_typical(sampler, logits);
  return draw_from_list(list, unit);
}

kiln_status_t kiln_sampler_sample(kiln_sampler_t *sampler, const float *logits, int32_t *id,
                                  kiln_error *error) {
  if (!sampler || !logits || !id)
    return fail(error, KILN_INVALID_ARGUMENT, "expected a sampler, logits and a place for the id");
  const float *row = penalize(sampler, logits);
  if (sampler->options.temperature > 0) {
    sampler->largest = block_maxima(row, sampler->vocab_size, sampler->maxima);
    if (sampler->largest == INFINITY) {
      row = limit(sampler, row);
      sampler->largest = block_maxima(row, sampler->vocab_size, sampler->maxima);
    }
    *id = sampler->largest > -INFINITY ? draw(sampler, row) : -1;
    ++sampler->draws;
  } else {
    *id = largest_logit(row, sampler->vocab_size);
  }
  return *id >= 0 ? KILN_OK
                  : fail(error, KILN_INVALID_ARGUMENT, "none of the %zu logits is a number",
                         sampler->vocab_size);
}
