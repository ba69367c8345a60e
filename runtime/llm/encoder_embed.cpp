// Texts to embeddings. Texts are put one behind the other into a batch until the next one does not
// fit; the batch is one call, after which the hidden states of each text are pooled. Pages of keys
// and values are dealt out anew for each batch.

#include "llm/encoder.h"

#include "core/error.h"

#include <string.h>

namespace kiln {
namespace {

uint32_t pages_of(const kiln_encoder *encoder, uint32_t tokens) {
  return (tokens + encoder->page_size - 1) / encoder->page_size;
}

/* Whether a text of so many tokens finds room in the batch. */
bool batch_has_room(const kiln_encoder *encoder, size_t count) {
  return encoder->batch_texts < encoder->most_texts &&
         count <= encoder->info.max_tokens - encoder->batch_tokens;
}

kiln_status_t batch_add(kiln_encoder *encoder, const int32_t *tokens, const int32_t *token_types,
                        size_t count, kiln_error *error) {
  const kiln_encoder_info &info = encoder->info;
  if (count < 1 || count > info.context_length)
    return fail(error, KILN_INVALID_ARGUMENT, "tokens of a text: expected 1 to %u, found %zu",
                info.context_length, count);
  if (!tokens)
    return fail(error, KILN_INVALID_ARGUMENT, "expected tokens");
  uint32_t first = encoder->batch_tokens, slot = encoder->batch_texts;
  for (uint32_t i = 0; i < count; ++i) {
    if (tokens[i] < 0 || (uint32_t)tokens[i] >= info.vocab_size)
      return fail(error, KILN_INDEX_OUT_OF_RANGE, "token %u: expected an id below %u, found %d", i,
                  info.vocab_size, tokens[i]);
    encoder->tokens[first + i] = tokens[i];
    encoder->positions[first + i] = (int32_t)i;
    encoder->slots[first + i] = (int32_t)slot;
    encoder->token_types[first + i] = token_types ? token_types[i] : 0;
  }
  encoder->lengths[slot] = (int32_t)count;
  encoder->batch_tokens += (uint32_t)count;
  encoder->batch_texts += 1;
  return KILN_OK;
}

/* Writes the batch's block table and returns its columns. */
uint32_t deal_pages(kiln_encoder *encoder) {
  uint32_t columns = 1, page = 0;
  for (uint32_t i = 0; i < encoder->batch_texts; ++i) {
    uint32_t pages = pages_of(encoder, (uint32_t)encoder->lengths[i]);
    columns = pages > columns ? pages : columns;
  }
  for (uint32_t i = 0; i < encoder->batch_texts; ++i) {
    uint32_t pages = pages_of(encoder, (uint32_t)encoder->lengths[i]);
    for (uint32_t column = 0; column < columns; ++column)
      encoder->block_table[(size_t)i * columns + column] = column < pages ? (int32_t)page++ : 0;
  }
  return columns;
}

int is_cancelled(void *user, uint32_t, uint32_t) {
  return __atomic_load_n(&static_cast<kiln_encoder *>(user)->cancelled, __ATOMIC_ACQUIRE);
}

/* Computes the batch's hidden states and empties it. */
kiln_status_t batch_run(kiln_encoder *encoder, kiln_error *error) {
  const encoder_function_t &function = encoder->function;
  uint64_t n = encoder->batch_tokens, s = encoder->batch_texts, columns = deal_pages(encoder);
  encoder->batch_tokens = encoder->batch_texts = 0;
  int64_t dims[encoder_dims];
  dims[function.n] = (int64_t)n;
  dims[function.s] = (int64_t)s;
  dims[function.b] = (int64_t)columns;
  dims[function.p] = encoder->pages;
  kiln_memory_needs needs;
  kiln_status_t status = kiln_function_memory(function.function, dims,
                                              kiln_pool_workers(encoder->pool), &needs, error);
  /* Sizes need not grow with each dim: some call may want more than the largest one. */
  if (!status && needs.workspace_bytes > encoder->workspace.size) {
    release_memory(&encoder->workspace);
    status = reserve_memory(needs.workspace_bytes, "workspace", &encoder->workspace, error);
  }
  if (status)
    return status;
  kiln_buffer inputs[encoder_most_inputs];
  inputs[function.tokens] = {encoder->tokens, n * sizeof(int32_t)};
  inputs[function.positions] = {encoder->positions, n * sizeof(int32_t)};
  inputs[function.slots] = {encoder->slots, n * sizeof(int32_t)};
  inputs[function.block_table] = {encoder->block_table, s * columns * sizeof(int32_t)};
  inputs[function.lengths] = {encoder->lengths, s * sizeof(int32_t)};
  if (function.token_types != no_input)
    inputs[function.token_types] = {encoder->token_types, n * sizeof(int32_t)};
  kiln_buffer output = {encoder->hidden_states.data, n * encoder->info.dimensions * sizeof(float)};
  kiln_buffer state = {encoder->keys_and_values.data, encoder->keys_and_values.size};
  kiln_call_t call = {};
  call.dims = dims;
  call.inputs = inputs;
  call.outputs = &output;
  call.states = &state;
  call.workspace = {encoder->workspace.data, encoder->workspace.size};
  call.progress = is_cancelled;
  call.progress_user = encoder;
  call.profile = encoder->profile;
  status = kiln_call(encoder->pool, function.function, &call, error);
  if (status == KILN_CANCELLED)
    __atomic_store_n(&encoder->cancelled, 0, __ATOMIC_RELEASE);
  return status;
}

/* Pools `count` rows of hidden states to one embedding. */
void pool_states(const kiln_encoder_info &info, const float *states, uint32_t count,
                 float *embedding) {
  uint32_t dimensions = info.dimensions;
  memcpy(embedding, states, sizeof(float) * dimensions);
  for (uint32_t token = 1; token < count && info.pooling != KILN_POOLING_CLS; ++token) {
    const float *row = states + (size_t)token * dimensions;
    if (info.pooling == KILN_POOLING_MEAN)
      for (uint32_t i = 0; i < dimensions; ++i)
        embedding[i] += row[i];
    else
      for (uint32_t i = 0; i < dimensions; ++i)
        embedding[i] = row[i] > embedding[i] ? row[i] : embedding[i];
  }
  float factor = info.pooling == KILN_POOLING_MEAN ? 1 / (float)count : 1;
  if (info.normalized) {
    double square = 0;
    for (uint32_t i = 0; i < dimensions; ++i)
      square += (double)embedding[i] * embedding[i];
    float length = factor * (float)__builtin_sqrt(square);
    factor /= length > 1e-12f ? length : 1e-12f; /* as torch.nn.functional.normalize */
  }
  for (uint32_t i = 0; i < dimensions; ++i)
    embedding[i] *= factor;
}

/* Runs the batch and writes its texts' embeddings; returns what follows them. */
kiln_status_t batch_finish(kiln_encoder *encoder, float **embeddings, kiln_error *error) {
  uint32_t texts = encoder->batch_texts;
  if (texts == 0)
    return KILN_OK;
  kiln_status_t status = batch_run(encoder, error);
  if (status)
    return status;
  const float *states = static_cast<const float *>(encoder->hidden_states.data);
  for (uint32_t i = 0; i < texts; ++i) {
    uint32_t count = (uint32_t)encoder->lengths[i];
    pool_states(encoder->info, states, count, *embeddings);
    states += (size_t)count * encoder->info.dimensions;
    *embeddings += encoder->info.dimensions;
  }
  return KILN_OK;
}

/* Adds text `number` to the batch, which is run before where it is full. */
kiln_status_t embed_next(kiln_encoder *encoder, size_t number, const int32_t *tokens,
                         const int32_t *token_types, size_t count, float **embeddings,
                         kiln_error *error) {
  if (!batch_has_room(encoder, count))
    if (kiln_status_t status = batch_finish(encoder, embeddings, error))
      return status;
  kiln_status_t status = batch_add(encoder, tokens, token_types, count, error);
  return status ? fail_within(error, status, "text %zu", number) : KILN_OK;
}

/* Encodes a text into encoder->text, cut to what the model takes. */
kiln_status_t encode_text(kiln_encoder *encoder, const kiln_text &text, size_t *count, bool *cut,
                          kiln_error *error) {
  uint32_t room = encoder->info.context_length - encoder->suffix_count;
  size_t found = 0;
  kiln_status_t status = kiln_tokenizer_encode(encoder->tokenizer, text.data, text.size_bytes,
                                               KILN_ENCODE_TEMPLATE | KILN_ENCODE_OPEN_END,
                                               encoder->text, room, &found, error);
  *cut = status == KILN_BUFFER_TOO_SMALL;
  if (status && !*cut)
    return status;
  *count = *cut ? room : found;
  for (uint32_t i = 0; i < encoder->suffix_count; ++i)
    encoder->text[(*count)++] = encoder->suffix[i];
  return KILN_OK;
}

} // namespace
} // namespace kiln

using namespace kiln;

kiln_status_t kiln_encoder_embed(kiln_encoder_t *encoder, const kiln_text *texts, size_t count,
                                 float *embeddings, size_t *truncated, kiln_error *error) {
  if (!encoder || (count && (!texts || !embeddings)))
    return fail(error, KILN_INVALID_ARGUMENT,
                "expected an encoder, texts and a place for embeddings");
  if (!encoder->tokenizer)
    return fail(error, KILN_NO_TOKENIZER, "texts need one; tokens do not");
  encoder->batch_tokens = encoder->batch_texts = 0;
  size_t cuts = 0;
  for (size_t i = 0; i < count; ++i) {
    size_t tokens = 0;
    bool cut = false;
    if (kiln_status_t status = encode_text(encoder, texts[i], &tokens, &cut, error))
      return fail_within(error, status, "text %zu", i);
    kiln_status_t status =
        embed_next(encoder, i, encoder->text, nullptr, tokens, &embeddings, error);
    if (status)
      return status;
    cuts += cut;
  }
  if (truncated)
    *truncated = cuts;
  return batch_finish(encoder, &embeddings, error);
}

kiln_status_t kiln_encoder_embed_tokens(kiln_encoder_t *encoder, const int32_t *tokens,
                                        const int32_t *token_types, const size_t *lengths,
                                        size_t count, float *embeddings, kiln_error *error) {
  if (!encoder || (count && (!lengths || !embeddings)))
    return fail(error, KILN_INVALID_ARGUMENT,
                "expected an encoder, tokens and a place for embeddings");
  encoder->batch_tokens = encoder->batch_texts = 0;
  for (size_t i = 0; i < count; ++i) {
    kiln_status_t status =
        embed_next(encoder, i, tokens, token_types, lengths[i], &embeddings, error);
    if (status)
      return status;
    tokens += lengths[i];
    token_types = token_types ? token_types + lengths[i] : nullptr;
  }
  return batch_finish(encoder, &embeddings, error);
}

kiln_status_t kiln_encoder_hidden_states(kiln_encoder_t *encoder, const int32_t *tokens,
                                         const int32_t *token_types, size_t count,
                                         float *hidden_states, kiln_error *error) {
  if (!encoder || !tokens || !hidden_states)
    return fail(error, KILN_INVALID_ARGUMENT,
                "expected an encoder, tokens and a place for hidden states");
  encoder->batch_tokens = encoder->batch_texts = 0;
  kiln_status_t status = batch_add(encoder, tokens, token_types, count, error);
  status = status ? status : batch_run(encoder, error);
  if (status)
    return status;
  memcpy(hidden_states, encoder->hidden_states.data,
         sizeof(float) * count * encoder->info.dimensions);
  return KILN_OK;
}
