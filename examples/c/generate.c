/* Generates text with a compiled model. usage: generate MODEL.kiln "Once upon a time" */
#include "kiln/llm.h"

#include <stdio.h>
#include <string.h>

static int print_token(void *user, int32_t id, const char *text, size_t size_bytes) {
  (void)user, (void)id;
  fwrite(text, 1, size_bytes, stdout);
  return fflush(stdout) != 0; /* anything but 0 stops */
}

int main(int argc, char **argv) {
  const char *prompt = argc > 2 ? argv[2] : "Once upon a time";
  kiln_error error = {""};
  kiln_llm_t *llm = NULL;
  uint32_t sequence = 0;
  kiln_generate_options options = {.max_tokens = 100, .on_token = print_token};

  /* The file is mapped and checked; nothing is converted. 0 workers: one per physical core. */
  kiln_status_t status = kiln_llm_open(argc > 1 ? argv[1] : "", 0, NULL, &llm, &error);
  if (status == KILN_OK)
    status = kiln_sequence_open(llm, &sequence, &error);
  if (status == KILN_OK)
    status = kiln_sequence_generate_text(llm, sequence, prompt, strlen(prompt),
                                         KILN_ENCODE_TEMPLATE, &options, NULL, &error);
  if (status != KILN_OK)
    fprintf(stderr, "%s: %s\n", kiln_status_text(status), error.text);
  printf("\n");
  kiln_llm_destroy(llm);
  return status == KILN_OK ? 0 : 1;
}
