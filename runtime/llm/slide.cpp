// What happens where the context ends. Keys in the cache are rotated by their positions, so tokens
// that move to other positions are evaluated again: the result is that of a fresh sequence with the
// same text, not an approximation, and it comes once per half of a context. How far it slides
// depends on the number of tokens alone: assigning a long text drops the same tokens as having slid
// while it was generated.

#include "llm/llm.h"

#include "core/error.h"

namespace kiln {

size_t slide_distance(uint32_t context_length, uint32_t keep, size_t count) {
  size_t unit = (context_length - keep) / 2;
  unit = unit ? unit : 1;
  size_t excess = count - context_length;
  return (excess + unit - 1) / unit * unit;
}

static kiln_status_t refuse(kiln_llm_t *llm, uint32_t sequence, size_t count, kiln_error *error) {
  const sequence_t &state = llm->sequences[sequence];
  uint32_t pending = state.pending != no_token;
  bool few_pages = sequence_room(llm, state) < llm->info.context_length - state.length;
  return fail(error, KILN_CONTEXT_FULL,
              "the prompt has %zu tokens; the context holds %u, of which %u are in use%s",
              count - pending, llm->info.context_length, state.length + pending,
              few_pages ? " and the KV cache has few pages left" : "");
}

kiln_status_t sequence_slide(kiln_llm_t *llm, uint32_t sequence, size_t count, kiln_error *error) {
  sequence_t &state = llm->sequences[sequence];
  uint32_t keep = state.keep < state.length ? state.keep : state.length;
  // Pages may be scarcer than places.
  size_t places = (size_t)state.length + sequence_room(llm, state);
  if (!state.slide || count > places - keep)
    return refuse(llm, sequence, count, error);
  size_t drop = slide_distance((uint32_t)places, keep, state.length + count);
  size_t rest = state.length - keep;
  drop = drop < rest ? drop : rest;
  int32_t pending = state.pending;
  int32_t *tokens = sequence_history(llm, sequence) + keep;
  kiln_status_t status = kiln_sequence_truncate(llm, sequence, keep, error);
  // The tokens move down as they are appended: each is read before its place is written.
  if (!status && drop < rest)
    status =
        kiln_sequence_append(llm, sequence, tokens + drop, rest - drop, nullptr, nullptr, error);
  if (!status)
    state.pending = pending;
  ++state.slides;
  return status;
}

} // namespace kiln

using namespace kiln;

kiln_status_t kiln_sequence_set_overflow(kiln_llm_t *llm, uint32_t sequence,
                                         kiln_overflow_t overflow, uint32_t keep,
                                         kiln_error *error) {
  if (!llm)
    return fail(error, KILN_INVALID_ARGUMENT, "expected a language model");
  sequence_t *state = sequence_find(llm, sequence, error);
  if (!state)
    return KILN_INVALID_ARGUMENT;
  if (overflow != KILN_OVERFLOW_STOP && overflow != KILN_OVERFLOW_SLIDE)
    return fail(error, KILN_INVALID_ARGUMENT, "overflow: expected stop (0) or slide (1), found %d",
                (int)overflow);
  if (keep >= llm->info.context_length)
    return fail(error, KILN_INVALID_ARGUMENT, "keep: expected less than the context's %u, found %u",
                llm->info.context_length, keep);
  state->slide = overflow == KILN_OVERFLOW_SLIDE;
  state->keep = keep;
  return KILN_OK;
}
