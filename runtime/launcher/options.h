/* The command line of an executable with its model. */
#ifndef KILN_LAUNCHER_OPTIONS_H
#define KILN_LAUNCHER_OPTIONS_H

#include "core/array.h"
#include "kiln/llm.h"

namespace kiln {

struct options_t {
  const char *prompt, *system;     /* or NULL */
  array_t<const char *> stops;     /* --stop */
  array_t<kiln_logit_bias> biases; /* --logit-bias */
  kiln_sampler_options sampler;    /* where the bit of a field is set in `sampler_given` */
  uint32_t sampler_given;
  uint64_t max_tokens, threads, context; /* 0 for threads and context: as the model and machine */
  bool max_tokens_given;
  bool chat, greedy, ids, quiet, verify, help, version;
};

/* Reads the words behind the program's name. On failure the error names the word. */
kiln_status_t options_read(int count, const char *const *words, options_t *options,
                           kiln_error *error);
/* The sampler that the options ask for: what is not given is as in `recommended`. */
kiln_sampler_options options_sampler(const options_t *options,
                                     const kiln_sampler_options *recommended);
/* Prints the list of options. */
void options_print(const char *program);

} // namespace kiln

#endif /* KILN_LAUNCHER_OPTIONS_H */
