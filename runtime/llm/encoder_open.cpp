// Opens an encoder from a file, with a model and a pool of its own.

#include "llm/encoder.h"

kiln_status_t kiln_encoder_open(const char *path, uint32_t workers, kiln_encoder_t **encoder,
                                kiln_error *error) {
  kiln_model_t *model = nullptr;
  kiln_pool_t *pool = nullptr;
  kiln_status_t status = kiln_model_open_path(path, &model, error);
  status = status ? status : kiln_pool_create(workers, &pool, error);
  status = status ? status : kiln_encoder_create(model, pool, encoder, error);
  if (status) {
    kiln_pool_destroy(pool);
    kiln_model_close(model);
    return status;
  }
  (*encoder)->own_model = model;
  (*encoder)->own_pool = pool;
  return KILN_OK;
}
