// The function of an encoder, and what it must look like:
//
//   dims      n tokens, s texts, b columns of the block table, p pages
//   inputs    tokens, positions, slots i32[n]; block_table i32[s, b]; lengths i32[s];
//             token_types i32[n] where the model has them
//   state     keys and values of one layer; its size depends on p only
//   output    hidden_states f32[n, hidden_size]
//
// Token i is at positions[i] of the text in slot slots[i], and sees the text's lengths[slot]
// tokens, all of which the call has. All memory is taken at creation, for the largest call.

#include "llm/encoder.h"

#include "core/error.h"
#include "kiln/artifact.h"
#include "llm/function_finder.h"

#include "program_generated.h"

#include <stdlib.h>

namespace kiln {
namespace {

constexpr uint32_t max_vocabulary = 1u << 24;
constexpr uint32_t max_length = 1u << 24;
constexpr uint32_t max_hidden = 1u << 20;
constexpr uint32_t max_texts = 256;

const schema::Encoder *read_facts(kiln_encoder *encoder, kiln_error *error) {
  auto refuse = [&](const char *why) {
    fail(error, KILN_NOT_AN_ENCODER, "%s", why);
    return nullptr;
  };
  const void *program = nullptr;
  size_t size_bytes = 0;
  if (kiln_model_section(encoder->model, KILN_SECTION_PROGRAM, &program, &size_bytes) != KILN_OK)
    return refuse("the artifact has no program");
  const schema::Encoder *facts = schema::GetProgram(program)->encoder();
  if (!facts)
    return refuse("the program has no encoder table");
  if (facts->vocab_size() < 1 || facts->vocab_size() > max_vocabulary)
    return refuse("encoder.vocab_size is out of range");
  if (facts->hidden_size() < 1 || facts->hidden_size() > max_hidden)
    return refuse("encoder.hidden_size is out of range");
  if (facts->context_length() < 1 || facts->context_length() > max_length)
    return refuse("encoder.context_length is out of range");
  if (facts->page_size() < 1 || facts->page_size() > max_length)
    return refuse("encoder.page_size is out of range");
  if (facts->pooling() > schema::Pooling_MAX)
    return refuse("encoder.pooling is out of range");
  kiln_encoder_info &info = encoder->info;
  info.vocab_size = facts->vocab_size();
  info.dimensions = facts->hidden_size();
  info.context_length = facts->context_length();
  info.pooling = (kiln_pooling_t)facts->pooling();
  info.normalized = facts->normalize();
  encoder->page_size = facts->page_size();
  return facts;
}

kiln_status_t find_function(kiln_encoder *encoder, const char *name, kiln_error *error) {
  encoder_function_t &found = encoder->function;
  found.function = kiln_model_function(encoder->model, name);
  if (!found.function)
    return fail(error, KILN_NOT_AN_ENCODER, "the model has no function '%s'", name);
  function_finder_t finder = {found.function, KILN_NOT_AN_ENCODER, error};
  found.input_count = (uint32_t)kiln_function_input_count(found.function);
  bool has_types = found.input_count == encoder_most_inputs;
  if (kiln_function_dim_count(found.function) != encoder_dims ||
      (!has_types && found.input_count != encoder_most_inputs - 1) ||
      kiln_function_output_count(found.function) != 1 ||
      kiln_function_state_count(found.function) != 1)
    return finder.refuse("expected 4 dims, 5 or 6 inputs, 1 output and 1 state in", name);
  found.token_types = no_input;
  kiln_status_t status;
  if ((status = finder.find_dim("n", &found.n)) || (status = finder.find_dim("s", &found.s)) ||
      (status = finder.find_dim("b", &found.b)) || (status = finder.find_dim("p", &found.p)) ||
      (status = finder.find_input("tokens", 1, found.n, 0, &found.tokens)) ||
      (status = finder.find_input("positions", 1, found.n, 0, &found.positions)) ||
      (status = finder.find_input("slots", 1, found.n, 0, &found.slots)) ||
      (status = finder.find_input("block_table", 2, found.s, found.b, &found.block_table)) ||
      (status = finder.find_input("lengths", 1, found.s, 0, &found.lengths)) ||
      (has_types && (status = finder.find_input("token_types", 1, found.n, 0, &found.token_types))))
    return status;
  return finder.check_output("hidden_states", found.n, encoder->info.dimensions);
}

/* Sets *chosen to `wanted`, or to the largest value of the dim where that is less. */
kiln_status_t choose(const kiln_encoder *encoder, uint32_t dim, const char *what, int64_t wanted,
                     int64_t least, uint32_t *chosen, kiln_error *error) {
  kiln_dim_info info;
  kiln_status_t status = kiln_function_dim(encoder->function.function, dim, &info);
  if (status)
    return status;
  int64_t value = wanted < info.max ? wanted : info.max;
  if (info.min > 1 || value < least)
    return fail(error, KILN_NOT_AN_ENCODER, "%s: expected 1 to at least %lld, found %lld to %lld",
                what, (long long)least, (long long)info.min, (long long)info.max);
  *chosen = (uint32_t)value;
  return KILN_OK;
}

kiln_status_t choose_sizes(kiln_encoder *encoder, kiln_error *error) {
  const encoder_function_t &function = encoder->function;
  kiln_encoder_info &info = encoder->info;
  uint32_t page = encoder->page_size, columns = (info.context_length + page - 1) / page;
  kiln_status_t status = choose(encoder, function.n, "tokens of a call", max_length,
                                info.context_length, &info.max_tokens, error);
  status = status ? status
                  : choose(encoder, function.s, "texts of a call", max_texts, 1,
                           &encoder->most_texts, error);
  status = status ? status
                  : choose(encoder, function.b, "pages of a text", columns, columns,
                           &encoder->columns, error);
  if (status)
    return status;
  /* Each text's last page may be almost empty. */
  int64_t pages = (int64_t)info.max_tokens / page + encoder->most_texts;
  return choose(encoder, function.p, "pages", pages, pages, &encoder->pages, error);
}

template <typename T> bool allocate(uint64_t count, T **result) {
  *result = static_cast<T *>(calloc((size_t)count, sizeof(T)));
  return *result != nullptr;
}

kiln_status_t take_memory(kiln_encoder *encoder, kiln_error *error) {
  const encoder_function_t &function = encoder->function;
  const kiln_encoder_info &info = encoder->info;
  int64_t dims[encoder_dims];
  dims[function.n] = info.max_tokens;
  dims[function.s] = 1;
  dims[function.b] = encoder->columns;
  dims[function.p] = encoder->pages;
  uint64_t state_bytes = 0;
  uint64_t hidden_bytes = sizeof(float) * (uint64_t)info.max_tokens * info.dimensions;
  kiln_memory_needs needs;
  kiln_status_t status = kiln_function_state_bytes(function.function, 0, dims, &state_bytes, error);
  status = status ? status
                  : kiln_function_memory(function.function, dims, kiln_pool_workers(encoder->pool),
                                         &needs, error);
  status = status ? status
                  : reserve_memory(needs.workspace_bytes, "workspace", &encoder->workspace, error);
  status = status
               ? status
               : reserve_memory(state_bytes, "keys and values", &encoder->keys_and_values, error);
  status = status ? status
                  : reserve_memory(hidden_bytes, "hidden states", &encoder->hidden_states, error);
  if (status)
    return status;
  if (!allocate(info.max_tokens, &encoder->tokens) ||
      !allocate(info.max_tokens, &encoder->positions) ||
      !allocate(info.max_tokens, &encoder->slots) ||
      !allocate(info.max_tokens, &encoder->token_types) ||
      !allocate(encoder->most_texts, &encoder->lengths) ||
      !allocate((uint64_t)encoder->most_texts * encoder->columns, &encoder->block_table) ||
      !allocate(info.context_length, &encoder->text) ||
      !allocate(info.context_length, &encoder->suffix))
    return fail(error, KILN_OUT_OF_MEMORY, "tables of an encoder");
  return KILN_OK;
}

/* What the template puts after a text: a text that is cut keeps it. */
kiln_status_t find_suffix(kiln_encoder *encoder, kiln_error *error) {
  size_t whole = 0, prefix = 0;
  uint32_t open = KILN_ENCODE_TEMPLATE | KILN_ENCODE_OPEN_END;
  kiln_status_t status =
      kiln_tokenizer_encode(encoder->tokenizer, "", 0, KILN_ENCODE_TEMPLATE, encoder->suffix,
                            encoder->info.context_length, &whole, error);
  if (status == KILN_BUFFER_TOO_SMALL || (!status && whole == encoder->info.context_length))
    return fail(error, KILN_NOT_AN_ENCODER,
                "%u tokens of a text leave no room beside begin and end tokens",
                encoder->info.context_length);
  status = status ? status
                  : kiln_tokenizer_encode(encoder->tokenizer, "", 0, open, encoder->text,
                                          encoder->info.context_length, &prefix, error);
  if (status)
    return status;
  encoder->suffix_count = (uint32_t)(whole - prefix);
  for (size_t i = prefix; i < whole; ++i)
    encoder->suffix[i - prefix] = encoder->suffix[i];
  return KILN_OK;
}

} // namespace
} // namespace kiln

using namespace kiln;

kiln_status_t kiln_encoder_create(const kiln_model_t *model, kiln_pool_t *pool,
                                  kiln_encoder_t **encoder, kiln_error *error) {
  if (!model || !pool || !encoder)
    return fail(error, KILN_INVALID_ARGUMENT,
                "expected a model, a pool and a place for the encoder");
  kiln_encoder *result = static_cast<kiln_encoder *>(calloc(1, sizeof(kiln_encoder)));
  if (!result)
    return fail(error, KILN_OUT_OF_MEMORY, "an encoder");
  result->model = model;
  result->pool = pool;
  const schema::Encoder *facts = read_facts(result, error);
  kiln_status_t status =
      facts ? find_function(result, facts->function()->c_str(), error) : KILN_NOT_AN_ENCODER;
  status = status ? status : choose_sizes(result, error);
  status = status ? status : take_memory(result, error);
  if (!status) {
    status = kiln_tokenizer_open(model, &result->tokenizer, error);
    if (!status)
      status = find_suffix(result, error);
    else if (status == KILN_NO_TOKENIZER)
      status = KILN_OK;
  }
  if (status) {
    kiln_encoder_destroy(result);
    return status;
  }
  *encoder = result;
  return KILN_OK;
}

void kiln_encoder_destroy(kiln_encoder_t *encoder) {
  if (!encoder)
    return;
  kiln_tokenizer_close(encoder->tokenizer);
  release_memory(&encoder->keys_and_values);
  release_memory(&encoder->workspace);
  release_memory(&encoder->hidden_states);
  free(encoder->tokens);
  free(encoder->positions);
  free(encoder->slots);
  free(encoder->token_types);
  free(encoder->lengths);
  free(encoder->block_table);
  free(encoder->text);
  free(encoder->suffix);
  kiln_pool_destroy(encoder->own_pool);
  kiln_model_close(encoder->own_model);
  free(encoder);
}

void kiln_encoder_get_info(const kiln_encoder_t *encoder, kiln_encoder_info *info) {
  *info = encoder->info;
}

const kiln_model_t *kiln_encoder_model(const kiln_encoder_t *encoder) { return encoder->model; }

const kiln_tokenizer_t *kiln_encoder_tokenizer(const kiln_encoder_t *encoder) {
  return encoder->tokenizer;
}

void kiln_encoder_cancel(kiln_encoder_t *encoder) {
  __atomic_store_n(&encoder->cancelled, 1, __ATOMIC_RELEASE);
}

void kiln_encoder_set_profile(kiln_encoder_t *encoder, kiln_profile *profile) {
  encoder->profile = profile;
}
