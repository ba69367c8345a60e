// Generation to stdout, and the mode for one prompt: `kiln run` without the compiler.

#include "launcher/loaded_model.h"

#include "core/error.h"

#include <stdio.h>

namespace kiln {
namespace {

struct printer_t {
  bool ids, first;
  array_t<char> *answer;
};

int print_token(void *user, int32_t id, const char *text, size_t size_bytes) {
  printer_t *printer = static_cast<printer_t *>(user);
  if (!printer->ids)
    fwrite(text, 1, size_bytes, stdout);
  else if (id >= 0)
    printf("%s%d", printer->first ? "" : " ", id);
  printer->first = false;
  // Without memory for the answer the conversation could not go on from it.
  if (printer->answer && !append_text(printer->answer, text, size_bytes))
    return 1;
  return fflush(stdout) != 0;
}

void print_statistics(const loaded_model_t *loaded, const kiln_llm_stats *stats) {
  auto rate = [](uint64_t tokens, uint64_t ns) {
    return ns ? (double)tokens * 1e9 / (double)ns : 0;
  };
  fprintf(stderr,
          "\nopened in %.1f ms for %s, %u threads\n"
          "prompt    %6llu tokens  %8.1f ms  %8.1f tokens/s\n"
          "generated %6llu tokens  %8.1f ms  %8.1f tokens/s\n",
          (double)loaded->opened_ns / 1e6, kiln_model_target(loaded->model),
          kiln_pool_workers(loaded->pool), (unsigned long long)stats->prompt_tokens,
          (double)stats->prompt_ns / 1e6, rate(stats->prompt_tokens, stats->prompt_ns),
          (unsigned long long)stats->generated_tokens, (double)stats->generated_ns / 1e6,
          rate(stats->generated_tokens, stats->generated_ns));
}

} // namespace

kiln_status_t generate(const loaded_model_t *loaded, const options_t *options, const char *prompt,
                       size_t size_bytes, uint64_t max_tokens, array_t<char> *answer,
                       kiln_llm_stats *stats, kiln_error *error) {
  printer_t printer = {options->ids, true, answer};
  kiln_generate_options generation = {};
  generation.max_tokens = (size_t)max_tokens;
  generation.sampler = loaded->sampler;
  generation.on_token = print_token;
  generation.user = &printer;
  generation.stop_strings = options->stops.data;
  generation.stop_string_count = options->stops.count;
  kiln_status_t status =
      prompt ? kiln_sequence_generate_text(loaded->llm, loaded->sequence, prompt, size_bytes,
                                           KILN_ENCODE_TEMPLATE, &generation, stats, error)
             : kiln_sequence_generate(loaded->llm, loaded->sequence, nullptr, 0, &generation, stats,
                                      error);
  if (!status || status == KILN_CANCELLED)
    printf("\n");
  fflush(stdout);
  if (ferror(stdout))
    return fail(error, KILN_IO, "stdout cannot be written");
  return status;
}

int complete(loaded_model_t *loaded, const options_t *options, const char *prompt,
             size_t size_bytes) {
  kiln_error error = {};
  kiln_llm_stats stats = {};
  uint64_t most = options->max_tokens_given ? options->max_tokens : 256;
  kiln_status_t status =
      generate(loaded, options, prompt, size_bytes, most, nullptr, &stats, &error);
  if (status)
    return report_failure(loaded, status, &error);
  if (!options->quiet)
    print_statistics(loaded, &stats);
  return 0;
}

} // namespace kiln
