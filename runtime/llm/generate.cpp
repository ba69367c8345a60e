// Generation: append the prompt, then sample, pass on the text, append, until something says stop.
// A sampled token waits as `pending` until it is needed in the cache, so that the last one costs no
// call.

#include "llm/llm.h"

#include "core/error.h"

#include <math.h>
#include <time.h>

namespace kiln {
namespace {

uint64_t now_ns() {
  timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

bool contains(const int32_t *tokens, size_t count, int32_t id) {
  for (size_t i = 0; i < count; ++i)
    if (tokens[i] == id)
      return true;
  return false;
}

struct generation_t {
  kiln_llm_t *llm;
  uint32_t sequence;
  const kiln_generate_options &options;
  kiln_llm_stats &stats;
  kiln_error *error;
  kiln_text_stream stream;

  kiln_status_t sample(int32_t *id);
  bool ends(int32_t id) const;
  kiln_status_t pass_on(int32_t id, bool *stop);
  kiln_status_t finish_text();
  kiln_status_t prompt(const int32_t *tokens, size_t count);
  kiln_status_t run();
};

kiln_status_t generation_t::sample(int32_t *id) {
  const float *logits = sequence_logits_row(llm, sequence);
  if (options.sampler)
    return kiln_sampler_sample(options.sampler, logits, id, error);
  *id = no_token; // the largest; ties to the lower id, as the sampler does
  for (uint32_t i = 0; i < llm->info.vocab_size; ++i)
    if (logits[i] > (*id == no_token ? -INFINITY : logits[*id]))
      *id = (int32_t)i;
  return *id == no_token ? fail(error, KILN_INVALID_ARGUMENT, "none of the %u logits is a number",
                                llm->info.vocab_size)
                         : KILN_OK;
}

bool generation_t::ends(int32_t id) const {
  return (!options.ignore_end_tokens &&
          contains(llm->info.eos_tokens, llm->info.eos_token_count, id)) ||
         contains(options.stop_tokens, options.stop_token_count, id);
}

kiln_status_t generation_t::pass_on(int32_t id, bool *stop) {
  size_t size = 0;
  if (llm->tokenizer) {
    kiln_status_t status =
        kiln_text_stream_push(&stream, id, llm->piece, llm->piece_capacity, &size, error);
    if (status)
      return status;
  }
  llm->piece[size] = 0;
  *stop = options.on_token && options.on_token(options.user, id, llm->piece, size) != 0;
  return KILN_OK;
}

kiln_status_t generation_t::finish_text() {
  if (!llm->tokenizer)
    return KILN_OK;
  size_t size = 0;
  kiln_status_t status =
      kiln_text_stream_end(&stream, llm->piece, llm->piece_capacity, &size, error);
  if (status || size == 0)
    return status;
  llm->piece[size] = 0;
  if (options.on_token)
    options.on_token(options.user, no_token, llm->piece, size);
  return KILN_OK;
}

kiln_status_t generation_t::prompt(const int32_t *tokens, size_t count) {
  sequence_t &state = llm->sequences[sequence];
  if (count == 0 && state.pending == no_token && !state.has_logits)
    return fail(error, KILN_INVALID_ARGUMENT,
                state.length == 0
                    ? "the prompt and the sequence are empty"
                    : "the prompt is empty and the sequence's last token has no logits");
  uint32_t before = state.length;
  uint64_t start = now_ns();
  kiln_status_t status =
      kiln_sequence_append(llm, sequence, tokens, count, nullptr, nullptr, error);
  stats.prompt_tokens = state.length - before;
  stats.prompt_ns = now_ns() - start;
  for (size_t i = 0; i < count && options.sampler && !status; ++i)
    kiln_sampler_accept(options.sampler, tokens[i]);
  return status;
}

kiln_status_t generation_t::run() {
  sequence_t &state = llm->sequences[sequence];
  if (llm->tokenizer)
    kiln_text_stream_begin(&stream, llm->tokenizer,
                           KILN_DECODE_SKIP_SPECIAL |
                               (state.has_text ? (uint32_t)KILN_DECODE_CONTINUE : 0u));
  stats.stop = KILN_STOP_MAX_TOKENS;
  while (true) {
    int32_t id;
    kiln_status_t status = sample(&id);
    if (status)
      return status;
    if (ends(id)) {
      stats.stop = KILN_STOP_END_TOKEN;
      break;
    }
    state.pending = id;
    ++stats.generated_tokens;
    if (options.sampler)
      kiln_sampler_accept(options.sampler, id);
    bool stop = false;
    status = pass_on(id, &stop);
    if (status)
      return status;
    if (stop) {
      stats.stop = KILN_STOP_CALLBACK;
      break;
    }
    if (stats.generated_tokens == options.max_tokens)
      break;
    if (sequence_room(llm, state) == 0) {
      stats.stop = KILN_STOP_CONTEXT_FULL;
      break;
    }
    status = kiln_sequence_append(llm, sequence, nullptr, 0, nullptr, nullptr, error);
    if (status)
      return status;
  }
  return finish_text();
}

} // namespace
} // namespace kiln

using namespace kiln;

kiln_status_t kiln_sequence_generate(kiln_llm_t *llm, uint32_t sequence, const int32_t *prompt,
                                     size_t prompt_count, const kiln_generate_options *options,
                                     kiln_llm_stats *stats, kiln_error *error) {
  kiln_llm_stats own = {};
  kiln_llm_stats &result = stats ? *stats : own;
  result = {};
  if (!llm || (!prompt && prompt_count) || !options)
    return fail(error, KILN_INVALID_ARGUMENT, "expected a language model, a prompt and options");
  if (!sequence_find(llm, sequence, error))
    return KILN_INVALID_ARGUMENT;
  generation_t generation = {llm, sequence, *options, result, error, {}};
  kiln_status_t status = generation.prompt(prompt, prompt_count);
  if (status)
    return status;
  uint64_t start = now_ns();
  status = generation.run();
  result.generated_ns = now_ns() - start;
  return status;
}

kiln_status_t kiln_sequence_generate_text(kiln_llm_t *llm, uint32_t sequence, const char *prompt,
                                          size_t size_bytes, uint32_t encode_flags,
                                          const kiln_generate_options *options,
                                          kiln_llm_stats *stats, kiln_error *error) {
  if (stats)
    *stats = {};
  if (!llm)
    return fail(error, KILN_INVALID_ARGUMENT, "expected a language model");
  if (!llm->tokenizer)
    return fail(error, KILN_NO_TOKENIZER, "the artifact has no tokenizer: give token ids");
  sequence_t *state = sequence_find(llm, sequence, error);
  if (!state)
    return KILN_INVALID_ARGUMENT;
  size_t count = 0;
  kiln_status_t status =
      kiln_tokenizer_encode(llm->tokenizer, prompt, size_bytes, encode_flags | KILN_ENCODE_OPEN_END,
                            llm->prompt, (size_t)llm->info.context_length + 1, &count, error);
  if (status == KILN_BUFFER_TOO_SMALL)
    return fail(error, KILN_CONTEXT_FULL,
                "the prompt has %zu tokens; the context holds %u, of which %u are in use", count,
                llm->info.context_length, state->length);
  if (status)
    return status;
  if (count == 0 && state->length == 0 && llm->info.bos_token != no_token)
    llm->prompt[count++] = llm->info.bos_token;
  return kiln_sequence_generate(llm, sequence, llm->prompt, count, options, stats, error);
}
