/* The model of the executable, opened, with all that running it takes. */
#ifndef KILN_LAUNCHER_LOADED_MODEL_H
#define KILN_LAUNCHER_LOADED_MODEL_H

#include "kiln/chat.h"
#include "launcher/options.h"

namespace kiln {

struct loaded_model_t {
  const char *program; /* the name it was started by, for messages */
  kiln_model_t *model;
  kiln_pool_t *pool;
  kiln_llm_t *llm;
  kiln_llm_info info;
  kiln_chat_t *chat; /* NULL where the model has no template */
  kiln_sampler_t *sampler;
  uint32_t sequence;
  uint64_t opened_ns; /* how long opening took */
};

/* Finds the artifact in the running program, and opens it: `model` alone. */
kiln_status_t loaded_model_find(loaded_model_t *loaded, kiln_error *error);
/* Makes the model ready to generate: everything else. */
kiln_status_t loaded_model_prepare(loaded_model_t *loaded, const options_t *options,
                                   kiln_error *error);

/* Nanoseconds of a clock that never goes back. */
uint64_t clock_ns(void);
/* Prints the status and the error to stderr; returns 1, the exit code of a failure. */
int report_failure(const loaded_model_t *loaded, kiln_status_t status, const kiln_error *error);

/* Appends the prompt (NULL: nothing) to the sequence and generates, printing to stdout what comes;
 * `answer`, which may be NULL, collects the text. max_tokens 0 is no limit. */
kiln_status_t generate(const loaded_model_t *loaded, const options_t *options, const char *prompt,
                       size_t size_bytes, uint64_t max_tokens, array_t<char> *answer,
                       kiln_llm_stats *stats, kiln_error *error);

/* One prompt, continued. The exit code. */
int complete(loaded_model_t *loaded, const options_t *options, const char *prompt,
             size_t size_bytes);
/* Turn by turn from stdin, or one turn. The exit code. */
int converse(loaded_model_t *loaded, const options_t *options);

/* Appends bytes; false when memory is short. */
[[nodiscard]] bool append_text(array_t<char> *text, const char *bytes, size_t size);

} // namespace kiln

#endif /* KILN_LAUNCHER_LOADED_MODEL_H */
