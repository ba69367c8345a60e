// Texts as a whole: appending text, and making a sequence hold a given text with as little work as
// possible. A chat renders its whole conversation for every turn; all of it but the end is in the
// cache already, and need not be evaluated.

#include "llm/llm.h"

#include "core/error.h"

namespace kiln {

kiln_status_t encode_prompt(kiln_llm_t *llm, uint32_t sequence, const char *text, size_t size_bytes,
                            uint32_t encode_flags, size_t *count, kiln_error *error) {
  if (!llm)
    return fail(error, KILN_INVALID_ARGUMENT, "expected a language model");
  if (!llm->tokenizer)
    return fail(error, KILN_NO_TOKENIZER, "the artifact has no tokenizer: give token ids");
  const sequence_t *state = sequence_find(llm, sequence, error);
  if (!state)
    return KILN_INVALID_ARGUMENT;
  kiln_status_t status =
      kiln_tokenizer_encode(llm->tokenizer, text, size_bytes, encode_flags | KILN_ENCODE_OPEN_END,
                            llm->prompt, (size_t)llm->info.context_length + 1, count, error);
  if (status == KILN_BUFFER_TOO_SMALL)
    return fail(error, KILN_CONTEXT_FULL,
                "the prompt has %zu tokens; the context holds %u, of which %u are in use", *count,
                llm->info.context_length, state->length);
  return status;
}

} // namespace kiln

using namespace kiln;

kiln_status_t kiln_sequence_append_text(kiln_llm_t *llm, uint32_t sequence, const char *text,
                                        size_t size_bytes, uint32_t encode_flags,
                                        kiln_error *error) {
  size_t count = 0;
  kiln_status_t status =
      encode_prompt(llm, sequence, text, size_bytes, encode_flags, &count, error);
  if (status)
    return status;
  return kiln_sequence_append(llm, sequence, llm->prompt, count, nullptr, nullptr, error);
}

/* How many of `count` tokens the text goes on with from `at`. */
static size_t common(const int32_t *text, uint32_t size, size_t at, const int32_t *tokens,
                     size_t count) {
  size_t same = 0;
  while (same < count && at + same < size && text[at + same] == tokens[same])
    ++same;
  return same;
}

kiln_status_t kiln_sequence_assign(kiln_llm_t *llm, uint32_t sequence, const int32_t *tokens,
                                   size_t count, size_t *reused, kiln_error *error) {
  if (!llm || (!tokens && count))
    return fail(error, KILN_INVALID_ARGUMENT, "expected a language model and tokens");
  sequence_t *state = sequence_find(llm, sequence, error);
  if (!state)
    return KILN_INVALID_ARGUMENT;
  uint32_t context = llm->info.context_length;
  size_t head = count, drop = 0; // tokens[0 .. head), then tokens[head + drop .. count)
  if (count > context) {
    if (!state->slide)
      return fail(error, KILN_CONTEXT_FULL, "the text has %zu tokens; the context holds %u", count,
                  context);
    head = state->keep;
    drop = slide_distance(context, state->keep, count);
    drop = drop < count - head ? drop : count - head;
  }
  const int32_t *tail = tokens + head + drop;
  size_t tail_count = count - head - drop;
  uint32_t size = 0;
  const int32_t *text = kiln_sequence_tokens(llm, sequence, &size);
  size_t same_head = common(text, size, 0, tokens, head), same_tail = 0;
  if (same_head == head)
    same_tail = common(text, size, head, tail, tail_count);
  size_t same = same_head + same_tail;
  kiln_status_t status = KILN_OK;
  if (same < size)
    status = kiln_sequence_truncate(llm, sequence, (uint32_t)same, error);
  size_t kept = state->length;
  if (!status && same_head < head)
    status = kiln_sequence_append(llm, sequence, tokens + same_head, head - same_head, nullptr,
                                  nullptr, error);
  if (!status && same_tail < tail_count)
    status = kiln_sequence_append(llm, sequence, tail + same_tail, tail_count - same_tail, nullptr,
                                  nullptr, error);
  if (reused)
    *reused = kept;
  return status;
}
