// Opening and closing a model, and what can be asked about it. One pass verifies everything: the
// container, then the program, then each function; an error is prefixed with the name of the file.

#include "core/model.h"

#include "core/error.h"

#include "program_generated.h"

#include <inttypes.h>
#include <string.h>

namespace kiln {

/* Takes over the mapping. */
static kiln_status_t open_mapping(const mapping_t &mapping, kiln_model_t **result,
                                  kiln_error *error) {
  kiln_model *model = static_cast<kiln_model *>(calloc(1, sizeof(kiln_model)));
  if (!model) {
    mapping_t unused = mapping;
    mapping_close(&unused);
    return fail(error, KILN_OUT_OF_MEMORY, "a model of %zu bytes", sizeof(kiln_model));
  }
  model->mapping = mapping;
  kiln_status_t status = container_parse(mapping.bytes, &model->container, error);
  status = status ? status : program_load(model, error);
  if (status) {
    kiln_model_close(model);
    return status;
  }
  *result = model;
  return KILN_OK;
}

} // namespace kiln

using namespace kiln;

kiln_status_t kiln_model_open_path(const char *path, kiln_model_t **model, kiln_error *error) {
  if (!path || !model)
    return fail(error, KILN_INVALID_ARGUMENT, "expected a path and a place for the model");
  mapping_t mapping;
  kiln_status_t status = mapping_open_path(path, &mapping, error);
  status = status ? status : open_mapping(mapping, model, error);
  return status ? fail_within(error, status, "%s", path) : KILN_OK;
}

kiln_status_t kiln_model_open_fd(int fd, uint64_t offset, uint64_t size, kiln_model_t **model,
                                 kiln_error *error) {
  if (!model)
    return fail(error, KILN_INVALID_ARGUMENT, "expected a place for the model");
  mapping_t mapping;
  kiln_status_t status = mapping_open_fd(fd, offset, size, &mapping, error);
  status = status ? status : open_mapping(mapping, model, error);
  return status ? fail_within(error, status, "file descriptor %d", fd) : KILN_OK;
}

kiln_status_t kiln_model_open_memory(const void *data, size_t size, kiln_model_t **model,
                                     kiln_error *error) {
  if (!data || !model)
    return fail(error, KILN_INVALID_ARGUMENT, "expected bytes and a place for the model");
  if (!is_aligned(data, KILN_BUFFER_ALIGNMENT))
    return fail(error, KILN_INVALID_ARGUMENT, "the artifact's memory is not aligned to %d bytes",
                KILN_BUFFER_ALIGNMENT);
  return open_mapping({{static_cast<const uint8_t *>(data), size}, false}, model, error);
}

void kiln_model_close(kiln_model_t *model) {
  if (!model)
    return;
  for (kiln_function &function : model->functions)
    function_release(&function);
  model->functions.release();
  model->weights.release();
  image_unmap(&model->image);
  mapping_close(&model->mapping);
  free(model);
}

kiln_status_t kiln_model_verify_weights(const kiln_model_t *model, kiln_error *error) {
  for (uint32_t i = 0; i < model->container.section_count; ++i)
    if (model->container.sections[i].kind == KILN_SECTION_WEIGHTS)
      return section_verify(&model->container.sections[i], i, error);
  return KILN_OK;
}

const char *kiln_model_fact(const kiln_model_t *model, const char *key) {
  for (const schema::Fact *fact : *model->program->facts())
    if (strcmp(fact->key()->c_str(), key) == 0)
      return fact->value()->c_str();
  return nullptr;
}

const char *kiln_model_target(const kiln_model_t *model) {
  return model->chosen->target()->c_str();
}

uint64_t kiln_model_fingerprint(const kiln_model_t *model) {
  // The header was checked when the model was opened.
  kiln_artifact_header header;
  memcpy(&header, model->mapping.bytes.data, sizeof(header));
  return header.table_checksum;
}

kiln_status_t kiln_model_section(const kiln_model_t *model, uint32_t kind, const void **data,
                                 size_t *size) {
  const section_t *section = model->container.find(kind);
  if (!section)
    return KILN_NOT_FOUND;
  *data = section->bytes.data;
  *size = (size_t)section->bytes.size;
  return KILN_OK;
}

size_t kiln_model_function_count(const kiln_model_t *model) { return model->functions.count; }

const kiln_function_t *kiln_model_function_at(const kiln_model_t *model, size_t index) {
  return index < model->functions.count ? &model->functions.data[index] : nullptr;
}

const kiln_function_t *kiln_model_function(const kiln_model_t *model, const char *name) {
  for (const kiln_function &function : model->functions)
    if (strcmp(function.name, name) == 0)
      return &function;
  return nullptr;
}
