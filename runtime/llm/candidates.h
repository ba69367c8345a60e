/* The tokens that a draw is among: collected from a row of logits, then cut down by top-k, top-p,
 * min-p and typical sampling. They stay in the order of their ids. */
#ifndef KILN_LLM_CANDIDATES_H
#define KILN_LLM_CANDIDATES_H

#include <stddef.h>
#include <stdint.h>

namespace kiln {

struct candidates_t {
  int32_t *ids;   /* ascending */
  uint32_t *keys; /* smaller is better; equal keys: the lower id is better */
  float *weights; /* room for a multiple of 16 */
  size_t count;
};

bool candidates_allocate(candidates_t *list, size_t capacity);
void candidates_release(candidates_t *list);

/* Larger logits have smaller keys. */
uint32_t logit_key(float logit);

/* All tokens whose logit is at least `least`, a finite number: ids and keys. `maxima` are the
 * row's block_maxima. */
void candidates_collect(candidates_t *list, const float *logits, size_t vocab_size,
                        const float *maxima, float least);

/* A number that at least `count` of the logits reach, and few more: the lowest finite number where
 * the maxima of blocks do not tell. Uses the list as scratch. */
float reached_by(candidates_t *list, const float *maxima, size_t blocks, size_t count);

/* Keeps the best `count`. */
void candidates_keep_count(candidates_t *list, size_t count);
/* Keeps the fewest of the best whose weights sum up to `mass`; all where all do not. */
void candidates_keep_mass(candidates_t *list, double mass);
/* Keeps those of at least this weight. */
void candidates_keep_weight(candidates_t *list, float least);

/* The sum of the weights, in the order of the list. */
double candidates_mass(const candidates_t &list);

} // namespace kiln

#endif /* KILN_LLM_CANDIDATES_H */
