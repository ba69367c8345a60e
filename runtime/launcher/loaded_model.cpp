// Opens the model that lies behind the program in its file. Weights stay where they are, mapped.

#include "launcher/loaded_model.h"

#include "core/error.h"
#include "launcher/embedded_artifact.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

namespace kiln {

uint64_t clock_ns(void) {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

int report_failure(const loaded_model_t *loaded, kiln_status_t status, const kiln_error *error) {
  fprintf(stderr, "%s: error: %s%s%s\n", loaded->program, kiln_status_text(status),
          error->text[0] ? ": " : "", error->text);
  return 1;
}

bool append_text(array_t<char> *text, const char *bytes, size_t size) {
  uint32_t wanted;
  if (size > UINT32_MAX || !checked_add<uint32_t>(text->count, (uint32_t)size, &wanted))
    return false;
  if (wanted > text->capacity) {
    uint32_t doubled;
    if (!checked_mul<uint32_t>(wanted, 2, &doubled) || !text->reserve(doubled))
      return false;
  }
  memcpy(text->data + text->count, bytes, size);
  text->count = wanted;
  return true;
}

kiln_status_t loaded_model_find(loaded_model_t *loaded, kiln_error *error) {
  uint64_t started = clock_ns();
  byte_range_t executable = {}, artifact = {};
  const char *path = "";
  if (kiln_status_t status = executable_map(&executable, &path, error))
    return status;
  kiln_status_t status = embedded_artifact_find(executable, &artifact, error);
  if (!status)
    status = kiln_model_open_memory(artifact.data, (size_t)artifact.size, &loaded->model, error);
  loaded->opened_ns = clock_ns() - started;
  return status;
}

kiln_status_t loaded_model_prepare(loaded_model_t *loaded, const options_t *options,
                                   kiln_error *error) {
  uint64_t started = clock_ns();
  kiln_status_t status = KILN_OK;
  if (options->verify)
    status = kiln_model_verify_weights(loaded->model, error);
  kiln_llm_options wanted = {};
  wanted.context_length = (uint32_t)options->context;
  if (!status)
    status = kiln_pool_create((uint32_t)options->threads, &loaded->pool, error);
  if (!status)
    status = kiln_llm_create(loaded->model, loaded->pool, &wanted, &loaded->llm, error);
  if (status)
    return status;
  kiln_llm_get_info(loaded->llm, &loaded->info);
  if (!kiln_llm_tokenizer(loaded->llm))
    return KILN_NO_TOKENIZER;
  kiln_sampler_options sampler = options_sampler(options, &loaded->info.sampler);
  status = kiln_sampler_create(&sampler, loaded->info.vocab_size, &loaded->sampler, error);
  if (!status)
    status = kiln_sequence_open(loaded->llm, &loaded->sequence, error);
  if (!status) {
    status = kiln_chat_open(loaded->model, &loaded->chat, error);
    if (status == KILN_NO_CHAT_TEMPLATE)
      status = KILN_OK;
  }
  loaded->opened_ns += clock_ns() - started;
  return status;
}

} // namespace kiln
