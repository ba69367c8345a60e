// The plan of a call: all expressions of a function evaluated for its dims, and every binding
// turned into an address after checking that it lies inside its region. It runs at open for the
// smallest and the largest dims, so that a bad plan is found early, and at every call, so that no
// dims in between can point a kernel outside the memory it was given.

#include "core/error.h"
#include "core/model.h"

#include <inttypes.h>

namespace kiln {

uint64_t dtype_bytes(kiln_dtype_t dtype) {
  switch (dtype) {
  case KILN_I64:
    return 8;
  case KILN_F32:
  case KILN_I32:
    return 4;
  case KILN_F16:
  case KILN_BF16:
    return 2;
  case KILN_U8:
  case KILN_I8:
    return 1;
  }
  return 8;
}

kiln_status_t dims_check(const kiln_function *function, const int64_t *dims, kiln_error *error) {
  if (function->dims.count != 0 && !dims)
    return fail(error, KILN_INVALID_ARGUMENT, "expected %" PRIu32 " dims, found NULL",
                function->dims.count);
  for (uint32_t i = 0; i < function->dims.count; ++i) {
    const kiln_dim_info &dim = function->dims[i];
    if (dims[i] < dim.min || dims[i] > dim.max)
      return fail(error, KILN_DIM_OUT_OF_BOUNDS,
                  "dim %s: expected %" PRId64 " to %" PRId64 ", found %" PRId64, dim.name, dim.min,
                  dim.max, dims[i]);
  }
  return KILN_OK;
}

kiln_status_t value_bytes(const value_t &value, const int64_t *dims, uint64_t *size_bytes,
                          uint64_t *elements, kiln_error *error) {
  int64_t count = 1, bytes;
  bool fits = true;
  for (uint32_t i = 0; i < value.rank; ++i)
    fits =
        fits && checked_mul(count, value.dim[i] < 0 ? value.extent[i] : dims[value.dim[i]], &count);
  if (!fits || !checked_mul(count, (int64_t)dtype_bytes(value.dtype), &bytes))
    return fail(error, KILN_CORRUPT, "%s: its size overflows", value.name);
  *size_bytes = (uint64_t)bytes;
  *elements = (uint64_t)count;
  return KILN_OK;
}

kiln_status_t plan_evaluate(const kiln_function *function, const int64_t *dims, int64_t *values,
                            region_t *regions, kiln_error *error) {
  for (uint32_t id = 0; id < function->exprs.exprs.count; ++id)
    if (const char *what = expr_evaluate(function->exprs, id, dims, &values[id]))
      return fail(error, KILN_CORRUPT, "%s", what);
  region_t *region = regions;
  uint64_t elements;
  for (const value_t &input : function->inputs)
    if (kiln_status_t status = value_bytes(input, dims, &region++->size, &elements, error))
      return status;
  for (const value_t &output : function->outputs)
    if (kiln_status_t status = value_bytes(output, dims, &region++->size, &elements, error))
      return status;
  for (const state_t &state : function->states)
    region++->size = (uint64_t)values[state.size];
  region->size = (uint64_t)values[function->arena_size];
  return KILN_OK;
}

static kiln_status_t fail_binding(const kiln_function *function, uint32_t index, const char *what,
                                  uint64_t offset, uint64_t size, uint64_t limit,
                                  kiln_error *error) {
  for (uint32_t s = 0; s < function->steps.count; ++s) {
    const step_t &step = function->steps[s];
    if (index - step.first_binding < step.binding_count)
      return fail(error, KILN_CORRUPT,
                  "step %" PRIu32 " (%s): binding %" PRIu32 ": offset %" PRIu64 " + size %" PRIu64
                  " %s of %" PRIu64 " bytes",
                  s, step.name, index - step.first_binding, offset, size, what, limit);
  }
  return fail(error, KILN_CORRUPT, "binding %" PRIu32 " %s", index, what);
}

kiln_status_t plan_bind(const kiln_function *function, const int64_t *values,
                        const region_t *regions, void **buffers, kiln_error *error) {
  const region_t *weights = function->model->weights.data;
  uint32_t own = function->region_count();
  for (uint32_t i = 0; i < function->bindings.count; ++i) {
    const binding_t &binding = function->bindings.data[i];
    const region_t &region =
        binding.region < own ? regions[binding.region] : weights[binding.region - own];
    uint64_t offset = binding.offset == no_expr ? 0 : (uint64_t)values[binding.offset];
    uint64_t size = (uint64_t)values[binding.size];
    if (!checked_range(offset, size, region.size))
      return fail_binding(function, i, "is outside its space", offset, size, region.size, error);
    if (!is_aligned(offset, KILN_BUFFER_ALIGNMENT))
      return fail_binding(function, i, "is not aligned in its space", offset, size, region.size,
                          error);
    if (buffers)
      buffers[i] = region.base ? region.base + offset : nullptr;
  }
  return KILN_OK;
}

} // namespace kiln
