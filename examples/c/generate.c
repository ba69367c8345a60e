/* Generates text with a compiled model. usage: generate MODEL.kiln "Once upon a time" */
#include "kiln/llm.h"

#include <stdio.h>
#include <string.h>

static int print_token(void *user, int32_t id, const char *text, size_t size_bytes) {
  (void)user;
  (void)id;
  fwrite(text, 1, size_bytes, stdout);
  fflush(stdout);
  return 0; /* anything else stops */
}

int main(int argc, char **argv) {
  if (argc != 3) {
    fprintf(stderr, "usage: %s MODEL.kiln PROMPT\n", argv[0]);
    return 2;
  }
  kiln_error error = {""};
  kiln_model_t *model = NULL;
  kiln_pool_t *pool = NULL;
  kiln_llm_t *llm = NULL;
  uint32_t sequence = 0;
  kiln_llm_stats stats;
  kiln_generate_options options = {.max_tokens = 100, .on_token = print_token};

  /* The file is mapped and checked; nothing is converted. 0 workers: one per physical core. */
  kiln_status_t status = kiln_model_open_path(argv[1], &model, &error);
  if (status == KILN_OK)
    status = kiln_pool_create(0, &pool, &error);
  if (status == KILN_OK)
    status = kiln_llm_create(model, pool, NULL, &llm, &error);
  if (status == KILN_OK)
    status = kiln_sequence_open(llm, &sequence, &error);
  if (status == KILN_OK)
    status = kiln_sequence_generate_text(llm, sequence, argv[2], strlen(argv[2]),
                                         KILN_ENCODE_TEMPLATE, &options, &stats, &error);
  if (status == KILN_OK)
    printf("\n");
  else
    fprintf(stderr, "%s: %s\n", kiln_status_text(status), error.text);

  kiln_llm_destroy(llm);
  kiln_pool_destroy(pool);
  kiln_model_close(model);
  return status == KILN_OK ? 0 : 1;
}
