// Partial selection: what top-k and top-p keep is found without sorting. A key is a float as an
// unsigned number of the opposite order; the key at the boundary is found digit by digit from the
// top, by sums of weights (or counts) per digit over those that share the digits found so far. A
// pass over the list for each of three digits, whatever the list looks like.

#include "llm/candidates.h"

#include "llm/logits.h"

#include <stdlib.h>
#include <string.h>

namespace kiln {
namespace {

constexpr float lowest = -3.402823466e+38f;

/* Where the best end: keys below `key`, and of those equal to it the first `ties` by id. */
struct boundary_t {
  bool all;
  uint32_t key;
  size_t ties;
};

double measure(const candidates_t &list, size_t index, bool by_count) {
  return by_count ? 1.0 : (double)list.weights[index];
}

boundary_t find_boundary(const candidates_t &list, double target, bool by_count) {
  constexpr uint32_t digits[][2] = {{21, 11}, {10, 11}, {0, 10}}; // shift, bits
  double reached = 0;                                             // by keys below `prefix`
  uint32_t prefix = 0, known = 0;                                 // known: mask of digits found
  for (const uint32_t (&digit)[2] : digits) {
    double sums[1u << 11];
    uint32_t shift = digit[0], last = (1u << digit[1]) - 1, used = 0;
    memset(sums, 0, ((size_t)last + 1) * sizeof(double));
    for (size_t i = 0; i < list.count; ++i)
      if ((list.keys[i] & known) == prefix) {
        uint32_t value = list.keys[i] >> shift & last;
        sums[value] += measure(list, i, by_count);
        used = value > used ? value : used;
      }
    uint32_t value = 0;
    while (value < used && reached + sums[value] < target)
      reached += sums[value++];
    // In the first digit nothing is known to reach the target; later only rounding can miss it.
    if (known == 0 && value == used && reached + sums[value] < target)
      return {true, 0, 0};
    prefix |= value << shift;
    known |= last << shift;
  }
  size_t ties = 0;
  for (size_t i = 0; i < list.count && reached < target; ++i)
    if (list.keys[i] == prefix) {
      reached += measure(list, i, by_count);
      ++ties;
    }
  return {false, prefix, ties};
}

void keep_best(candidates_t *list, double target, bool by_count) {
  boundary_t boundary = find_boundary(*list, target, by_count);
  if (boundary.all)
    return;
  size_t kept = 0;
  for (size_t i = 0; i < list->count; ++i) { // without a branch: no telling which are kept
    uint32_t key = list->keys[i];
    bool tie = (key == boundary.key) & (boundary.ties != 0);
    list->ids[kept] = list->ids[i];
    list->keys[kept] = key;
    list->weights[kept] = list->weights[i];
    boundary.ties -= tie;
    kept += (key < boundary.key) | tie;
  }
  list->count = kept;
}

} // namespace

bool candidates_allocate(candidates_t *list, size_t capacity) {
  size_t room = (capacity + 15) / 16 * 16;
  list->ids = static_cast<int32_t *>(calloc(room, sizeof(int32_t)));
  list->keys = static_cast<uint32_t *>(calloc(room, sizeof(uint32_t)));
  list->weights = static_cast<float *>(calloc(room, sizeof(float)));
  list->count = 0;
  return list->ids && list->keys && list->weights;
}

void candidates_release(candidates_t *list) {
  free(list->ids);
  free(list->keys);
  free(list->weights);
}

uint32_t logit_key(float logit) {
  logit += 0.0f; // -0 is 0
  uint32_t bits;
  memcpy(&bits, &logit, sizeof(bits));
  return bits >> 31 ? bits : ~bits & 0x7FFFFFFFu;
}

void candidates_collect(candidates_t *list, const float *logits, size_t vocab_size,
                        const float *maxima, float least) {
  size_t count = 0;
  for (size_t begin = 0; begin < vocab_size; begin += logit_block) {
    if (!(maxima[begin / logit_block] >= least))
      continue;
    size_t end = vocab_size - begin < logit_block ? vocab_size : begin + logit_block;
    for (size_t i = begin; i < end; ++i) { // without a branch: most blocks have a few
      list->ids[count] = (int32_t)i;
      count += logits[i] >= least;
    }
  }
  for (size_t i = 0; i < count; ++i)
    list->keys[i] = logit_key(logits[list->ids[i]]);
  list->count = count;
}

float reached_by(candidates_t *list, const float *maxima, size_t blocks, size_t count) {
  if (count > blocks)
    return lowest;
  for (size_t i = 0; i < blocks; ++i)
    list->keys[i] = logit_key(maxima[i]);
  list->count = blocks;
  uint32_t key = find_boundary(*list, (double)count, true).key;
  for (size_t i = 0; i < blocks; ++i)
    if (list->keys[i] == key)
      return maxima[i] > lowest ? maxima[i] : lowest;
  return lowest;
}

void candidates_keep_count(candidates_t *list, size_t count) {
  keep_best(list, (double)count, true);
}

void candidates_keep_mass(candidates_t *list, double mass) { keep_best(list, mass, false); }

void candidates_keep_weight(candidates_t *list, float least) {
  size_t kept = 0;
  for (size_t i = 0; i < list->count; ++i) {
    list->ids[kept] = list->ids[i];
    list->keys[kept] = list->keys[i];
    list->weights[kept] = list->weights[i];
    kept += list->weights[i] >= least;
  }
  list->count = kept;
}

double candidates_mass(const candidates_t &list) {
  double mass = 0;
  for (size_t i = 0; i < list.count; ++i)
    mass += (double)list.weights[i];
  return mass;
}

} // namespace kiln
