// Generation: append the prompt, then sample, pass on the text, append, until something says stop.
// A sampled token waits as `pending` until it is needed in the cache, so that the last one costs no
// call.

#include "llm/llm.h"

#include "core/error.h"
#include "llm/logits.h"
#include "llm/stop_text.h"

#include <time.h>

namespace kiln {
namespace {

uint64_t now_ns() {
  timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

/* The index of `id`, or `count`. */
size_t find(const int32_t *tokens, size_t count, int32_t id) {
  size_t i = 0;
  while (i < count && tokens[i] != id)
    ++i;
  return i;
}

struct generation_t {
  kiln_llm_t *llm;
  uint32_t sequence;
  const kiln_generate_options &options;
  kiln_llm_stats &stats;
  kiln_error *error;
  kiln_text_stream stream;
  stop_text_t stop_text;

  kiln_status_t sample(int32_t *id);
  bool ends(int32_t id);
  bool give(int32_t id, char *text, size_t size);
  kiln_status_t pass_on(int32_t id, bool *stop);
  kiln_status_t finish_text();
  kiln_status_t prompt(const int32_t *tokens, size_t count);
  kiln_status_t append_pending();
  void inform_sampler();
  kiln_status_t loop();
  kiln_status_t run();
};

/* The sampler's state follows from the text, so any sequence with this text goes on alike. */
void generation_t::inform_sampler() {
  if (!options.sampler)
    return;
  uint32_t count = 0;
  const int32_t *tokens = kiln_sequence_tokens(llm, sequence, &count);
  kiln_sampler_assign(options.sampler, tokens, count);
}

kiln_status_t generation_t::sample(int32_t *id) {
  const float *logits = sequence_logits_row(llm, sequence);
  kiln_status_t status = KILN_OK;
  if (options.sampler) {
    status = kiln_sampler_sample(options.sampler, logits, id, error);
  } else {
    *id = largest_logit(logits, llm->info.vocab_size);
    if (*id == no_token)
      status = fail(error, KILN_INVALID_ARGUMENT, "none of the %u logits is a number",
                    llm->info.vocab_size);
  }
  if (!status && options.logprobs)
    status = kiln_token_logprobs(logits, llm->info.vocab_size, *id, options.logprobs, error);
  return status;
}

bool generation_t::ends(int32_t id) {
  stats.stop_index = find(options.stop_tokens, options.stop_token_count, id);
  return stats.stop_index < options.stop_token_count ||
         (!options.ignore_end_tokens &&
          find(llm->info.eos_tokens, llm->info.eos_token_count, id) < llm->info.eos_token_count);
}

/* Gives text[0 .. size) to the caller, zero-terminated; there is room for the zero. */
bool generation_t::give(int32_t id, char *text, size_t size) {
  if (!options.on_token)
    return false;
  char after = text[size];
  text[size] = 0;
  bool stop = options.on_token(options.user, id, text, size) != 0;
  text[size] = after;
  return stop;
}

kiln_status_t generation_t::pass_on(int32_t id, bool *stop) {
  size_t size = 0;
  if (llm->tokenizer) {
    kiln_status_t status =
        kiln_text_stream_push(&stream, id, llm->piece, llm->piece_capacity, &size, error);
    if (status)
      return status;
  }
  ptrdiff_t found = -1;
  char *text = llm->piece;
  if (stop_text.text) {
    found = stop_text_push(&stop_text, text, size);
    text = stop_text.text;
    size = stop_text.released;
  }
  *stop = give(id, text, size);
  if (*stop)
    stats.stop = KILN_STOP_CALLBACK;
  if (found >= 0) {
    *stop = true;
    stats.stop = KILN_STOP_STRING;
    stats.stop_index = (size_t)found;
  }
  return KILN_OK;
}

/* Passes on what was held back. */
kiln_status_t generation_t::finish_text() {
  if (!llm->tokenizer || stats.stop == KILN_STOP_STRING)
    return KILN_OK;
  size_t size = 0;
  kiln_status_t status =
      kiln_text_stream_end(&stream, llm->piece, llm->piece_capacity, &size, error);
  if (status)
    return status;
  if (!stop_text.text) {
    if (size)
      give(no_token, llm->piece, size);
    return KILN_OK;
  }
  // A string that two stop strings overlap in may have been held back for the longer one.
  ptrdiff_t found = stop_text_push(&stop_text, llm->piece, size);
  size_t released = stop_text.released;
  if (released)
    give(no_token, stop_text.text, released);
  if (found < 0) {
    found = stop_text_flush(&stop_text);
    if (stop_text.released)
      give(no_token, stop_text.text, stop_text.released);
  }
  if (found >= 0) {
    stats.stop = KILN_STOP_STRING;
    stats.stop_index = (size_t)found;
  }
  return KILN_OK;
}

kiln_status_t generation_t::prompt(const int32_t *tokens, size_t count) {
  sequence_t &state = llm->sequences[sequence];
  bool ready = state.pending != no_token || state.has_logits;
  if (count == 0 && !ready && state.length == 0)
    return fail(error, KILN_INVALID_ARGUMENT, "the prompt and the sequence are empty");
  if (count == 0 && !ready) // rewound: the last token is evaluated once more, for its logits
    state.pending = sequence_history(llm, sequence)[--state.length];
  uint32_t before = state.length;
  uint64_t start = now_ns();
  kiln_status_t status =
      kiln_sequence_append(llm, sequence, tokens, count, nullptr, nullptr, error);
  stats.prompt_tokens = state.length > before ? state.length - before : count;
  stats.prompt_ns = now_ns() - start;
  return status;
}

kiln_status_t generation_t::append_pending() {
  uint32_t slides = llm->sequences[sequence].slides;
  kiln_status_t status = kiln_sequence_append(llm, sequence, nullptr, 0, nullptr, nullptr, error);
  if (llm->sequences[sequence].slides != slides)
    inform_sampler();
  return status;
}

kiln_status_t generation_t::loop() {
  sequence_t &state = llm->sequences[sequence];
  while (true) {
    int32_t id;
    kiln_status_t status = take_cancel(llm) ? fail(error, KILN_CANCELLED, "after %llu tokens",
                                                   (unsigned long long)stats.generated_tokens)
                                            : sample(&id);
    if (status)
      return status;
    if (ends(id)) {
      stats.stop = KILN_STOP_END_TOKEN;
      return KILN_OK;
    }
    state.pending = id;
    ++stats.generated_tokens;
    if (options.sampler)
      kiln_sampler_accept(options.sampler, id);
    bool stop = false;
    status = pass_on(id, &stop);
    if (status || stop)
      return status;
    if (stats.generated_tokens == options.max_tokens)
      return KILN_OK;
    if (sequence_room(llm, state) == 0 && !state.slide) {
      stats.stop = KILN_STOP_CONTEXT_FULL;
      return KILN_OK;
    }
    status = append_pending();
    if (status)
      return status;
  }
}

kiln_status_t generation_t::run() {
  if (llm->tokenizer) {
    bool goes_on = llm->sequences[sequence].has_text;
    kiln_text_stream_begin(&stream, llm->tokenizer,
                           KILN_DECODE_SKIP_SPECIAL |
                               (goes_on ? (uint32_t)KILN_DECODE_CONTINUE : 0u));
  }
  if (options.stop_string_count) {
    kiln_status_t status =
        llm->tokenizer
            ? stop_text_begin(&stop_text, options.stop_strings, options.stop_string_count,
                              llm->piece_capacity, error)
            : fail(error, KILN_NO_TOKENIZER, "stop_strings: the artifact has no tokenizer");
    if (status)
      return status;
  }
  inform_sampler();
  stats.stop = KILN_STOP_MAX_TOKENS;
  kiln_status_t status = loop();
  if (status == KILN_CANCELLED)
    stats.stop = KILN_STOP_CANCELLED;
  if (!status || status == KILN_CANCELLED) {
    kiln_status_t finished = finish_text();
    status = status ? status : finished;
  }
  stop_text_end(&stop_text);
  return status;
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
  generation_t generation = {llm, sequence, *options, result, error, {}, {}};
  kiln_status_t status = generation.prompt(prompt, prompt_count);
  if (status) {
    if (status == KILN_CANCELLED)
      result.stop = KILN_STOP_CANCELLED;
    return status;
  }
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
  size_t count = 0;
  kiln_status_t status =
      encode_prompt(llm, sequence, prompt, size_bytes, encode_flags, &count, error);
  if (status)
    return status;
  uint32_t length = 0;
  kiln_sequence_tokens(llm, sequence, &length);
  if (count == 0 && length == 0 && llm->info.bos_token != no_token)
    llm->prompt[count++] = llm->info.bos_token;
  return kiln_sequence_generate(llm, sequence, llm->prompt, count, options, stats, error);
}
