// Log-probabilities of tokens under the model's own distribution: the softmax of the logits as they
// came from the model, before bias, penalties and temperature.

#include "core/error.h"
#include "kiln/llm.h"
#include "llm/logits.h"

#include <math.h>

using namespace kiln;

/* The best so far, in order: few are wanted, and most logits are below the last of them. */
static size_t find_top(const float *logits, size_t vocab_size, kiln_token_logprob *top,
                       size_t capacity) {
  size_t count = 0;
  for (size_t i = 0; i < vocab_size && capacity; ++i) {
    if (!(logits[i] > (count < capacity ? -INFINITY : top[count - 1].logprob)))
      continue;
    size_t place = count < capacity ? count++ : count - 1;
    for (; place > 0 && logits[i] > top[place - 1].logprob; --place)
      top[place] = top[place - 1];
    top[place] = {(int32_t)i, logits[i]};
  }
  return count;
}

kiln_status_t kiln_token_logprobs(const float *logits, size_t vocab_size, int32_t id,
                                  kiln_logprobs *logprobs, kiln_error *error) {
  if (!logits || !logprobs || id < 0 || (size_t)id >= vocab_size ||
      (logprobs->top_capacity && !logprobs->top))
    return fail(error, KILN_INVALID_ARGUMENT, "expected logits, an id among them, and a place");
  int32_t best = largest_logit(logits, vocab_size);
  if (best < 0)
    return fail(error, KILN_INVALID_ARGUMENT, "none of the %zu logits is a number", vocab_size);
  double norm = (double)logits[best] +
                logarithm(sum_weights(logits, vocab_size, logits[best], 1.0f, nullptr));
  logprobs->chosen = (float)((double)logits[id] - norm);
  logprobs->top_count = find_top(logits, vocab_size, logprobs->top, logprobs->top_capacity);
  for (size_t i = 0; i < logprobs->top_count; ++i)
    logprobs->top[i].logprob = (float)((double)logprobs->top[i].logprob - norm);
  return KILN_OK;
}
