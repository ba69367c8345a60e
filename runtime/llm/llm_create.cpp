// Creates a language model: reads the facts of the program, checks the decoder function, decides
// the sizes of the page pool and the batch, and takes all memory that any later call needs. Large
// buffers are reserved address space, which costs nothing until it is touched.

#include "llm/llm.h"

#include "core/checked.h"
#include "core/error.h"
#include "kiln/artifact.h"

#include "program_generated.h"

#include <stdlib.h>
#include <string.h>

namespace kiln {
namespace {

constexpr uint32_t max_vocabulary = 1u << 24;
constexpr uint32_t max_length = 1u << 28;
constexpr uint32_t max_sequences = 1u << 16;
constexpr int64_t max_block_table = 1 << 26;

const schema::LanguageModel *read_facts(const kiln_model_t *model, kiln_llm_info *info,
                                        kiln_error *error) {
  auto refuse = [&](const char *why) {
    fail(error, KILN_NOT_A_LANGUAGE_MODEL, "%s", why);
    return nullptr;
  };
  const void *program = nullptr;
  size_t size_bytes = 0;
  if (kiln_model_section(model, KILN_SECTION_PROGRAM, &program, &size_bytes) != KILN_OK)
    return refuse("the artifact has no program");
  const schema::LanguageModel *facts = schema::GetProgram(program)->language_model();
  if (!facts)
    return refuse("the program has no language_model table");
  if (facts->vocab_size() < 1 || facts->vocab_size() > max_vocabulary)
    return refuse("language_model.vocab_size is out of range");
  if (facts->context_length() < 1 || facts->context_length() > max_length)
    return refuse("language_model.context_length is out of range");
  if (facts->page_size() < 1 || facts->page_size() > max_length)
    return refuse("language_model.page_size is out of range");
  auto is_token = [&](int32_t id) { return id >= 0 && (uint32_t)id < facts->vocab_size(); };
  if (facts->bos_token() != no_token && !is_token(facts->bos_token()))
    return refuse("language_model.bos_token is outside the vocabulary");
  info->vocab_size = facts->vocab_size();
  info->context_length = facts->context_length();
  info->page_size = facts->page_size();
  info->bos_token = facts->bos_token();
  info->add_bos = facts->add_bos();
  if (const auto *eos = facts->eos_tokens()) {
    info->eos_tokens = eos->data();
    info->eos_token_count = eos->size();
  }
  for (size_t i = 0; i < info->eos_token_count; ++i)
    if (!is_token(info->eos_tokens[i]))
      return refuse("language_model.eos_tokens are outside the vocabulary");
  info->sampler = kiln_sampler_defaults();
  info->sampler.temperature = facts->temperature();
  info->sampler.top_k = facts->top_k();
  info->sampler.top_p = facts->top_p();
  info->sampler.repetition_penalty = facts->repetition_penalty();
  return facts;
}

/* Sets a size to `wanted`, or to `otherwise` where that is 0, and checks it against the dim. */
kiln_status_t choose(const kiln_llm_t *llm, uint32_t dim, const char *what, uint32_t wanted,
                     int64_t otherwise, uint32_t *chosen, kiln_error *error) {
  kiln_dim_info info;
  kiln_status_t status = kiln_function_dim(llm->decoder.function, dim, &info);
  if (status)
    return status;
  int64_t value = wanted ? wanted : otherwise > info.max ? info.max : otherwise;
  if (value < 1 || value < info.min || value > info.max || value > INT32_MAX)
    return fail(error, KILN_INVALID_ARGUMENT, "%s: expected %lld to %lld, found %lld", what,
                (long long)(info.min < 1 ? 1 : info.min), (long long)info.max, (long long)value);
  *chosen = (uint32_t)value;
  return KILN_OK;
}

kiln_status_t choose_sizes(kiln_llm_t *llm, const kiln_llm_options &options, kiln_error *error) {
  const decoder_t &decoder = llm->decoder;
  kiln_llm_info &info = llm->info;
  if (options.context_length > info.context_length)
    return fail(error, KILN_INVALID_ARGUMENT,
                "context_length: the model was made for %u positions, found %u",
                info.context_length, options.context_length);
  if (options.context_length)
    info.context_length = options.context_length;
  uint32_t columns = (info.context_length + info.page_size - 1) / info.page_size;
  kiln_status_t status =
      choose(llm, decoder.s, "max_sequences", options.max_sequences ? options.max_sequences : 1, 0,
             &info.max_sequences, error);
  if (!status)
    status = choose(llm, decoder.b, "pages of a sequence", columns, 0, &llm->columns, error);
  if (!status)
    status = choose(llm, decoder.p, "cache_pages", options.cache_pages,
                    (int64_t)columns * info.max_sequences, &info.cache_pages, error);
  if (!status)
    status = choose(llm, decoder.n, "chunk", options.chunk, INT32_MAX, &info.chunk, error);
  if (!status)
    status = choose(llm, decoder.m, "rows of logits", 0, info.chunk, &llm->max_rows, error);
  if (status)
    return status;
  if (info.max_sequences > max_sequences ||
      (int64_t)info.max_sequences * llm->columns > max_block_table)
    return fail(error, KILN_INVALID_ARGUMENT,
                "max_sequences: %u sequences of %u pages are too many", info.max_sequences,
                llm->columns);
  kiln_dim_info rows;
  status = kiln_function_dim(decoder.function, decoder.m, &rows);
  llm->min_rows = rows.min > 0 ? (uint32_t)rows.min : 0;
  info.cache_pages_free = info.cache_pages;
  return status;
}

/* The workspace of the largest call: sizes need not grow with each dim, so several are asked. */
kiln_status_t workspace_size(const kiln_llm_t *llm, uint64_t *size, kiln_error *error) {
  const decoder_t &decoder = llm->decoder;
  *size = 0;
  for (uint32_t n = 1;; n = n * 2 < llm->info.chunk ? n * 2 : llm->info.chunk) {
    for (uint32_t m : (const uint32_t[]){llm->min_rows, n < llm->max_rows ? n : llm->max_rows}) {
      int64_t dims[decoder_dims];
      dims[decoder.n] = n;
      dims[decoder.m] = m < llm->min_rows ? llm->min_rows : m;
      dims[decoder.s] = llm->info.max_sequences;
      dims[decoder.b] = llm->columns;
      dims[decoder.p] = llm->info.cache_pages;
      kiln_memory_needs needs;
      kiln_status_t status =
          kiln_function_memory(decoder.function, dims, kiln_pool_workers(llm->pool), &needs, error);
      if (status)
        return status;
      *size = needs.workspace_bytes > *size ? needs.workspace_bytes : *size;
    }
    if (n == llm->info.chunk)
      return KILN_OK;
  }
}

template <typename T> bool allocate(uint64_t count, T **result) {
  *result = static_cast<T *>(calloc((size_t)count, sizeof(T)));
  return *result != nullptr;
}

kiln_status_t take_memory(kiln_llm_t *llm, kiln_error *error) {
  const decoder_t &decoder = llm->decoder;
  kiln_llm_info &info = llm->info;
  int64_t dims[decoder_dims];
  dims[decoder.n] = 1;
  dims[decoder.m] = llm->min_rows;
  dims[decoder.s] = info.max_sequences;
  dims[decoder.b] = llm->columns;
  dims[decoder.p] = info.cache_pages;
  uint64_t history_bytes =
      ((uint64_t)info.context_length + 1) * info.max_sequences * sizeof(int32_t);
  uint64_t logits_bytes = sizeof(float) * (uint64_t)info.vocab_size;
  kiln_status_t status =
      kiln_function_state_bytes(decoder.function, 0, dims, &info.cache_bytes, error);
  status = status ? status : workspace_size(llm, &info.workspace_bytes, error);
  status = status ? status : reserve_memory(info.cache_bytes, "KV cache", &llm->cache, error);
  status =
      status ? status : reserve_memory(info.workspace_bytes, "workspace", &llm->workspace, error);
  status =
      status ? status : reserve_memory(logits_bytes * llm->max_rows, "logits", &llm->logits, error);
  status = status ? status
                  : reserve_memory(logits_bytes * info.max_sequences, "logits of sequences",
                                   &llm->sequence_logits, error);
  status = status ? status : reserve_memory(history_bytes, "tokens", &llm->history, error);
  if (status)
    return status;
  if (llm->cache_layers && info.cache_bytes % ((uint64_t)info.cache_pages * llm->cache_layers))
    return fail(error, KILN_NOT_A_LANGUAGE_MODEL,
                "language_model.cache_layers: %u layers of %u pages do not make %llu bytes",
                llm->cache_layers, info.cache_pages, (unsigned long long)info.cache_bytes);
  llm->piece_capacity = llm->tokenizer ? kiln_tokenizer_max_piece_bytes(llm->tokenizer) : 1;
  if (!allocate(info.chunk, &llm->tokens) || !allocate(info.chunk, &llm->positions) ||
      !allocate(info.chunk, &llm->slots) ||
      !allocate((uint64_t)info.max_sequences * llm->columns, &llm->block_table) ||
      !allocate(llm->max_rows, &llm->out_rows) || !allocate(info.cache_pages, &llm->free_pages) ||
      !allocate(info.cache_pages, &llm->page_users) ||
      !allocate(info.max_sequences, &llm->sequences) ||
      !allocate(info.max_sequences, &llm->added) || !allocate(info.chunk, &llm->batch_sequences) ||
      !allocate(llm->max_rows, &llm->batch_rows) ||
      !allocate((uint64_t)info.context_length + 1, &llm->prompt) ||
      !allocate((uint64_t)llm->piece_capacity + 1, &llm->piece))
    return fail(error, KILN_OUT_OF_MEMORY, "tables of a language model");
  for (uint32_t i = 0; i < info.cache_pages; ++i) // the lowest page is taken first
    llm->free_pages[i] = (int32_t)(info.cache_pages - 1 - i);
  return KILN_OK;
}

} // namespace
} // namespace kiln

using namespace kiln;

kiln_status_t kiln_llm_create(const kiln_model_t *model, kiln_pool_t *pool,
                              const kiln_llm_options *options, kiln_llm_t **llm,
                              kiln_error *error) {
  if (!model || !pool || !llm)
    return fail(error, KILN_INVALID_ARGUMENT,
                "expected a model, a pool and a place for the language model");
  kiln_llm *result = static_cast<kiln_llm *>(calloc(1, sizeof(kiln_llm)));
  if (!result)
    return fail(error, KILN_OUT_OF_MEMORY, "a language model");
  result->model = model;
  result->pool = pool;
  const schema::LanguageModel *facts = read_facts(model, &result->info, error);
  kiln_status_t status = facts ? decoder_find(model, facts->function()->c_str(),
                                              result->info.vocab_size, &result->decoder, error)
                               : KILN_NOT_A_LANGUAGE_MODEL;
  if (!status) {
    result->cache_layers = facts->cache_layers();
    status = kiln_tokenizer_open(model, &result->tokenizer, error);
    if (status == KILN_NO_TOKENIZER)
      status = KILN_OK;
  }
  status = status ? status : choose_sizes(result, options ? *options : kiln_llm_options{}, error);
  status = status ? status : take_memory(result, error);
  if (status) {
    kiln_llm_destroy(result);
    return status;
  }
  *llm = result;
  return KILN_OK;
}

void kiln_llm_destroy(kiln_llm_t *llm) {
  if (!llm)
    return;
  kiln_tokenizer_close(llm->tokenizer);
  release_memory(&llm->cache);
  release_memory(&llm->workspace);
  release_memory(&llm->logits);
  release_memory(&llm->sequence_logits);
  release_memory(&llm->history);
  free(llm->tokens);
  free(llm->positions);
  free(llm->slots);
  free(llm->block_table);
  free(llm->out_rows);
  free(llm->free_pages);
  free(llm->page_users);
  free(llm->sequences);
  free(llm->added);
  free(llm->batch_sequences);
  free(llm->batch_rows);
  free(llm->prompt);
  free(llm->piece);
  kiln_pool_destroy(llm->own_pool);
  kiln_model_close(llm->own_model);
  free(llm);
}

void kiln_llm_get_info(const kiln_llm_t *llm, kiln_llm_info *info) { *info = llm->info; }

const kiln_tokenizer_t *kiln_llm_tokenizer(const kiln_llm_t *llm) { return llm->tokenizer; }

const kiln_model_t *kiln_llm_model(const kiln_llm_t *llm) { return llm->model; }

void kiln_llm_cancel(kiln_llm_t *llm) { __atomic_store_n(&llm->cancelled, 1, __ATOMIC_RELEASE); }
void kiln_llm_uncancel(kiln_llm_t *llm) { take_cancel(llm); }

void kiln_llm_set_progress(kiln_llm_t *llm, kiln_progress_fn progress, void *user) {
  llm->progress = progress;
  llm->progress_user = user;
}

void kiln_llm_set_profile(kiln_llm_t *llm, kiln_profile *profile) { llm->profile = profile; }
