// Sequences over the pool of KV-cache pages: opening, rewinding, forking, and evaluating tokens. A
// batch is checked as a whole before anything changes; pages are taken when a sequence grows into
// them and go back when it shrinks, is closed, or a call fails.

#include "llm/llm.h"

#include "core/error.h"

#include <string.h>

namespace kiln {

sequence_t *sequence_find(const kiln_llm_t *llm, uint32_t sequence, kiln_error *error) {
  if (sequence < llm->info.max_sequences && llm->sequences[sequence].open)
    return &llm->sequences[sequence];
  fail(error, KILN_INVALID_ARGUMENT, "sequence %u is not open", sequence);
  return nullptr;
}

uint32_t sequence_room(const kiln_llm_t *llm, const sequence_t &sequence) {
  uint64_t free = llm->info.cache_pages_free;
  if (writes_shared_page(llm, (uint32_t)(&sequence - llm->sequences))) {
    if (free == 0)
      return 0;
    --free; // for the copy
  }
  uint64_t places = (sequence.pages + free) * llm->info.page_size;
  uint64_t most = places < llm->info.context_length ? places : llm->info.context_length;
  return (uint32_t)(most - sequence.length);
}

bool history_has_text(const kiln_llm_t *llm, const int32_t *tokens, uint32_t length) {
  for (uint32_t i = 0; i < length; ++i)
    if (!llm->tokenizer || !kiln_tokenizer_is_special(llm->tokenizer, tokens[i]))
      return true;
  return false;
}

/* Fills the function's inputs and llm->added; changes no sequence. */
static kiln_status_t prepare(kiln_llm_t *llm, const kiln_llm_batch &batch, kiln_error *error) {
  const kiln_llm_info &info = llm->info;
  memset(llm->added, 0, info.max_sequences * sizeof(uint32_t));
  for (size_t i = 0; i < batch.count; ++i) {
    uint32_t sequence = batch.sequences[i];
    const sequence_t *state = sequence_find(llm, sequence, error);
    if (!state)
      return KILN_INVALID_ARGUMENT;
    if (batch.tokens[i] < 0 || (uint32_t)batch.tokens[i] >= info.vocab_size)
      return fail(error, KILN_INDEX_OUT_OF_RANGE, "token %zu: expected an id below %u, found %d", i,
                  info.vocab_size, batch.tokens[i]);
    uint32_t position = state->length + llm->added[sequence]++;
    if (position >= info.context_length)
      return fail(error, KILN_CONTEXT_FULL,
                  "sequence %u has %u tokens, the batch adds more, the context holds %u", sequence,
                  state->length, info.context_length);
    llm->tokens[i] = batch.tokens[i];
    llm->positions[i] = (int32_t)position;
    llm->slots[i] = (int32_t)sequence;
  }
  for (size_t i = 0; i < batch.row_count; ++i) {
    if (batch.rows[i] >= batch.count)
      return fail(error, KILN_INVALID_ARGUMENT, "row %zu: expected a token below %zu, found %u", i,
                  batch.count, batch.rows[i]);
    llm->out_rows[i] = (int32_t)batch.rows[i];
  }
  for (size_t i = batch.row_count; i < llm->min_rows; ++i)
    llm->out_rows[i] = 0;
  uint64_t pages = 0;
  for (uint32_t i = 0; i < info.max_sequences; ++i)
    if (llm->added[i]) {
      pages += pages_needed(llm, i, llm->added[i]);
      if (!llm->cache_layers && writes_shared_page(llm, i))
        return fail(error, KILN_UNSUPPORTED_VERSION,
                    "sequence %u shares a page of the KV cache, and the artifact does not say how "
                    "to copy one: compile the model again",
                    i);
    }
  if (pages > info.cache_pages_free)
    return fail(error, KILN_CONTEXT_FULL,
                "the batch needs %llu pages of the KV cache, %u of %u are free",
                (unsigned long long)pages, info.cache_pages_free, info.cache_pages);
  return KILN_OK;
}

/* Between steps of the schedule. */
static int on_progress(void *user, uint32_t done, uint32_t total) {
  kiln_llm_t *llm = static_cast<kiln_llm_t *>(user);
  if (__atomic_load_n(&llm->cancelled, __ATOMIC_RELAXED))
    return 1;
  return llm->progress ? llm->progress(llm->progress_user, done, total) : 0;
}

static kiln_status_t call(kiln_llm_t *llm, uint32_t n, uint32_t m, kiln_error *error) {
  const decoder_t &decoder = llm->decoder;
  const kiln_llm_info &info = llm->info;
  int64_t dims[decoder_dims];
  dims[decoder.n] = n;
  dims[decoder.m] = m;
  dims[decoder.s] = info.max_sequences;
  dims[decoder.b] = llm->columns;
  dims[decoder.p] = info.cache_pages;
  kiln_buffer inputs[decoder_inputs];
  inputs[decoder.tokens] = {llm->tokens, n * sizeof(int32_t)};
  inputs[decoder.positions] = {llm->positions, n * sizeof(int32_t)};
  inputs[decoder.slots] = {llm->slots, n * sizeof(int32_t)};
  inputs[decoder.block_table] = {llm->block_table,
                                 (uint64_t)info.max_sequences * llm->columns * sizeof(int32_t)};
  inputs[decoder.out_rows] = {llm->out_rows, m * sizeof(int32_t)};
  kiln_buffer output = {llm->logits.data, (uint64_t)m * info.vocab_size * sizeof(float)};
  kiln_buffer state = {llm->cache.data, llm->cache.size};
  kiln_call_t arguments = {};
  arguments.dims = dims;
  arguments.inputs = inputs;
  arguments.outputs = &output;
  arguments.states = &state;
  arguments.workspace = {llm->workspace.data, llm->workspace.size};
  arguments.progress = on_progress;
  arguments.progress_user = llm;
  arguments.profile = llm->profile;
  return kiln_call(llm->pool, decoder.function, &arguments, error);
}

/* After a call: lengths grow, and the logits behind a sequence's last token are kept. */
static void commit(kiln_llm_t *llm, const kiln_llm_batch &batch) {
  const kiln_llm_info &info = llm->info;
  for (size_t i = 0; i < batch.count; ++i) {
    sequence_t &state = llm->sequences[batch.sequences[i]];
    int32_t *token = sequence_history(llm, batch.sequences[i]) + state.length++;
    *token = batch.tokens[i];
    state.has_logits = false;
    state.has_text = state.has_text || history_has_text(llm, token, 1);
  }
  for (size_t i = 0; i < batch.row_count; ++i) {
    uint32_t sequence = batch.sequences[batch.rows[i]];
    sequence_t &state = llm->sequences[sequence];
    if ((uint32_t)llm->positions[batch.rows[i]] + 1 != state.length)
      continue;
    memcpy(sequence_logits_row(llm, sequence),
           static_cast<const float *>(llm->logits.data) + i * info.vocab_size,
           info.vocab_size * sizeof(float));
    state.has_logits = true;
  }
}

} // namespace kiln

using namespace kiln;

kiln_status_t kiln_sequence_open(kiln_llm_t *llm, uint32_t *sequence, kiln_error *error) {
  if (!llm || !sequence)
    return fail(error, KILN_INVALID_ARGUMENT, "expected a language model and a place");
  for (uint32_t i = 0; i < llm->info.max_sequences; ++i)
    if (!llm->sequences[i].open) {
      llm->sequences[i] = {};
      llm->sequences[i].pending = no_token;
      llm->sequences[i].open = true;
      *sequence = i;
      return KILN_OK;
    }
  return fail(error, KILN_CONTEXT_FULL, "all %u sequences are open", llm->info.max_sequences);
}

kiln_status_t kiln_sequence_truncate(kiln_llm_t *llm, uint32_t sequence, uint32_t length,
                                     kiln_error *error) {
  if (!llm)
    return fail(error, KILN_INVALID_ARGUMENT, "expected a language model");
  sequence_t *state = sequence_find(llm, sequence, error);
  if (!state)
    return KILN_INVALID_ARGUMENT;
  uint32_t pending = state->pending != no_token;
  if (length > state->length + pending)
    return fail(error, KILN_INVALID_ARGUMENT, "sequence %u has %u tokens, not %u", sequence,
                state->length + pending, length);
  if (length > state->length)
    return KILN_OK; // the last one waits, and is kept
  state->has_logits &= length == state->length;
  state->length = length;
  state->pending = no_token;
  state->has_text =
      state->has_text && history_has_text(llm, sequence_history(llm, sequence), length);
  release_pages(llm, sequence);
  return KILN_OK;
}

kiln_status_t kiln_sequence_fork(kiln_llm_t *llm, uint32_t sequence, uint32_t *fork,
                                 kiln_error *error) {
  if (!llm || !fork)
    return fail(error, KILN_INVALID_ARGUMENT, "expected a language model and a place");
  const sequence_t *state = sequence_find(llm, sequence, error);
  uint32_t copy = 0;
  if (!state)
    return KILN_INVALID_ARGUMENT;
  if (kiln_status_t status = kiln_sequence_open(llm, &copy, error))
    return status;
  llm->sequences[copy] = *state;
  llm->sequences[copy].pages = 0;
  share_pages(llm, sequence, copy);
  memcpy(sequence_history(llm, copy), sequence_history(llm, sequence),
         state->length * sizeof(int32_t));
  if (state->has_logits)
    memcpy(sequence_logits_row(llm, copy), sequence_logits_row(llm, sequence),
           llm->info.vocab_size * sizeof(float));
  *fork = copy;
  return KILN_OK;
}

kiln_status_t kiln_sequence_close(kiln_llm_t *llm, uint32_t sequence, kiln_error *error) {
  kiln_status_t status = kiln_sequence_truncate(llm, sequence, 0, error);
  if (!status)
    llm->sequences[sequence].open = false;
  return status;
}

const int32_t *kiln_sequence_tokens(const kiln_llm_t *llm, uint32_t sequence, uint32_t *count) {
  const sequence_t *state = llm ? sequence_find(llm, sequence, nullptr) : nullptr;
  *count = 0;
  if (!state)
    return nullptr;
  int32_t *history = sequence_history(llm, sequence);
  *count = state->length;
  if (state->pending != no_token)
    history[(*count)++] = state->pending;
  return history;
}

uint32_t kiln_sequence_length(const kiln_llm_t *llm, uint32_t sequence) {
  const sequence_t *state = llm ? sequence_find(llm, sequence, nullptr) : nullptr;
  return state ? state->length : 0;
}

const float *kiln_sequence_logits(const kiln_llm_t *llm, uint32_t sequence) {
  const sequence_t *state = llm ? sequence_find(llm, sequence, nullptr) : nullptr;
  return state && state->has_logits ? sequence_logits_row(llm, sequence) : nullptr;
}

kiln_status_t kiln_llm_step(kiln_llm_t *llm, const kiln_llm_batch *batch, const float **logits,
                            kiln_error *error) {
  if (!llm || !batch || !batch->tokens || !batch->sequences || (batch->row_count && !batch->rows))
    return fail(error, KILN_INVALID_ARGUMENT, "expected a language model and a batch");
  if (batch->count < 1 || batch->count > llm->info.chunk)
    return fail(error, KILN_DIM_OUT_OF_BOUNDS, "tokens of a batch: expected 1 to %u, found %zu",
                llm->info.chunk, batch->count);
  if (batch->row_count > llm->max_rows)
    return fail(error, KILN_DIM_OUT_OF_BOUNDS, "rows of a batch: expected 0 to %u, found %zu",
                llm->max_rows, batch->row_count);
  kiln_status_t status = prepare(llm, *batch, error);
  if (status)
    return status;
  uint32_t sequences = llm->info.max_sequences;
  for (uint32_t i = 0; i < sequences; ++i)
    if (llm->added[i])
      take_pages(llm, i, llm->added[i]);
  uint32_t rows = (uint32_t)batch->row_count;
  status = call(llm, (uint32_t)batch->count, rows < llm->min_rows ? llm->min_rows : rows, error);
  if (status) {
    for (uint32_t i = 0; i < sequences; ++i)
      if (llm->added[i])
        release_pages(llm, i);
    if (status == KILN_CANCELLED)
      take_cancel(llm);
    return status;
  }
  commit(llm, *batch);
  if (logits)
    *logits = static_cast<const float *>(llm->logits.data);
  return KILN_OK;
}

kiln_status_t kiln_sequence_append(kiln_llm_t *llm, uint32_t sequence, const int32_t *tokens,
                                   size_t count, kiln_logits_fn on_logits, void *user,
                                   kiln_error *error) {
  if (!llm || (!tokens && count))
    return fail(error, KILN_INVALID_ARGUMENT, "expected a language model and tokens");
  sequence_t *state = sequence_find(llm, sequence, error);
  if (!state)
    return KILN_INVALID_ARGUMENT;
  for (size_t i = 0; i < count; ++i) // before any of them is appended
    if (tokens[i] < 0 || (uint32_t)tokens[i] >= llm->info.vocab_size)
      return fail(error, KILN_INDEX_OUT_OF_RANGE, "token %zu: expected an id below %u, found %d", i,
                  llm->info.vocab_size, tokens[i]);
  size_t pending = state->pending != no_token;
  if (count > SIZE_MAX - pending)
    return fail(error, KILN_INVALID_ARGUMENT, "%zu tokens are too many", count);
  if (count + pending > sequence_room(llm, *state))
    if (kiln_status_t status = sequence_slide(llm, sequence, count + pending, error))
      return status;
  if (pending) {
    uint32_t row = 0;
    kiln_llm_batch batch = {&state->pending, &sequence, 1, &row, count == 0};
    kiln_status_t status = kiln_llm_step(llm, &batch, nullptr, error);
    if (status)
      return status;
    state->pending = no_token;
  }
  uint32_t most = llm->info.chunk;
  if (on_logits && llm->max_rows < most)
    most = llm->max_rows;
  for (size_t done = 0; done < count;) {
    uint32_t chunk = count - done < most ? (uint32_t)(count - done) : most;
    bool last = done + chunk == count;
    uint32_t rows = on_logits ? chunk : last ? 1 : 0;
    for (uint32_t i = 0; i < chunk; ++i)
      llm->batch_sequences[i] = sequence;
    for (uint32_t i = 0; i < rows; ++i)
      llm->batch_rows[i] = chunk - rows + i;
    kiln_llm_batch batch = {tokens + done, llm->batch_sequences, chunk, llm->batch_rows, rows};
    const float *logits = nullptr;
    kiln_status_t status = kiln_llm_step(llm, &batch, &logits, error);
    if (status)
      return status;
    if (on_logits && on_logits(user, done, chunk, logits) != 0)
      return fail(error, KILN_CANCELLED, "cancelled after %zu of %zu tokens", done + chunk, count);
    done += chunk;
  }
  return KILN_OK;
}
