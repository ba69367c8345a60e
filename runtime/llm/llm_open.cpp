// Opens a language model from a file, with a model and a pool of its own.

#include "llm/llm.h"

kiln_status_t kiln_llm_open(const char *path, uint32_t workers, const kiln_llm_options *options,
                            kiln_llm_t **llm, kiln_error *error) {
  kiln_model_t *model = nullptr;
  kiln_pool_t *pool = nullptr;
  kiln_status_t status = kiln_model_open_path(path, &model, error);
  status = status ? status : kiln_pool_create(workers, &pool, error);
  status = status ? status : kiln_llm_create(model, pool, options, llm, error);
  if (status) {
    kiln_pool_destroy(pool);
    kiln_model_close(model);
    return status;
  }
  (*llm)->own_model = model;
  (*llm)->own_pool = pool;
  return KILN_OK;
}
