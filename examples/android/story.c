/* What the app calls through JNI or a C bridge: a model that lies uncompressed in the APK. */
#include "kiln/llm.h"

#include <string.h>

/* fd, offset and size are those of AssetFileDescriptor. The text goes to `on_token`, piece by
 * piece. */
__attribute__((visibility("default"))) kiln_status_t story_tell(int fd, uint64_t offset,
                                                                uint64_t size, const char *prompt,
                                                                kiln_token_fn on_token, void *user,
                                                                kiln_error *error) {
  kiln_model_t *model = NULL;
  kiln_pool_t *pool = NULL;
  kiln_llm_t *llm = NULL;
  uint32_t sequence = 0;
  kiln_generate_options options = {.max_tokens = 200, .on_token = on_token, .user = user};

  kiln_status_t status = kiln_model_open_fd(fd, offset, size, &model, error);
  if (status == KILN_OK)
    status = kiln_pool_create(0, &pool, error);
  if (status == KILN_OK)
    status = kiln_llm_create(model, pool, NULL, &llm, error);
  if (status == KILN_OK)
    status = kiln_sequence_open(llm, &sequence, error);
  if (status == KILN_OK)
    status = kiln_sequence_generate_text(llm, sequence, prompt, strlen(prompt),
                                         KILN_ENCODE_TEMPLATE, &options, NULL, error);
  kiln_llm_destroy(llm);
  kiln_pool_destroy(pool);
  kiln_model_close(model);
  return status;
}
