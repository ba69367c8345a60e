// The plan of a call: all expressions of a function evaluated for its dims, and every binding
// turned into an address after checking that it lies inside its region. It runs at open for the
// smallest and the largest dims, so that a bad plan is found early, and at every call, so that no
// dims in between can point a kernel outside the memory it was given.

#include "core/error.h"
#include "core/model.h"

#include <inttypes.h>

namespace kiln {

uint64_t dtype_bytes(kiln_dtype_t dtype) {
  static const uint8_t bytes[] = {4, 2, 2, 4, 8, 1, 1, 2, 4, 8, 2, 8,
                                  1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
  static_assert(sizeof(bytes) == KILN_F8E8M0 + 1, "one for each type");
  return bytes[dtype];
}

kiln_status_t dim_check(const dim_t &dim, int64_t value, kiln_error *error) {
  if (value >= dim.info.min && value <= dim.info.max)
    return KILN_OK;
  return fail(error, KILN_DIM_OUT_OF_BOUNDS,
              "dim %s: expected %" PRId64 " to %" PRId64 ", found %" PRId64, dim.info.name,
              dim.info.min, dim.info.max, value);
}

/* The values that a dim can have in a call, where those of the dims before it are known. */
static kiln_status_t find_range(const kiln_function *function, uint32_t index, range_t *ranges,
                                kiln_error *error) {
  const dim_t &dim = function->dims[index];
  range_t bounds = {dim.info.min, dim.info.max}, *range = &ranges[index];
  *range = bounds;
  if (dim.computed)
    return KILN_OK;
  const char *what = expr_range(function->exprs, dim.value, ranges, range);
  if (!function->fixed[index]) { // known while running, and checked then
    if (what || range->low < bounds.low)
      range->low = bounds.low;
    if (what || range->high > bounds.high)
      range->high = bounds.high;
    what = nullptr;
  }
  if (what)
    return fail(error, KILN_DIM_OUT_OF_BOUNDS, "dim %s: %s", dim.info.name, what);
  return dim_check(dim, range->high, error);
}

static kiln_status_t check_requirements(const kiln_function *function, const int64_t *dims,
                                        kiln_error *error) {
  for (const requirement_t &requirement : function->requirements) {
    int64_t found, expected;
    const char *what = expr_evaluate(function->exprs, requirement.found, dims, &found);
    what = what ? what : expr_evaluate(function->exprs, requirement.expected, dims, &expected);
    if (what)
      return fail(error, KILN_INVALID_ARGUMENT, "%s: %s", requirement.text, what);
    if (found != expected)
      return fail(error, KILN_INVALID_ARGUMENT, "%s: expected %" PRId64 ", found %" PRId64,
                  requirement.text, expected, found);
  }
  return KILN_OK;
}

kiln_status_t dims_plan(const kiln_function *function, const int64_t *free_dims, int64_t *dims,
                        kiln_error *error) {
  uint32_t count = function->dims.count, free_count = function->free_dims;
  if (free_count != 0 && !free_dims)
    return fail(error, KILN_INVALID_ARGUMENT, "expected %" PRIu32 " dims, found NULL", free_count);
  range_t *ranges = static_cast<range_t *>(__builtin_alloca((count + 1) * sizeof(range_t)));
  for (uint32_t i = 0; i < count; ++i) {
    int64_t given = i < free_count ? free_dims[i] : 0; // read once
    ranges[i] = {given, given};
    if (kiln_status_t status = i < free_count ? dim_check(function->dims[i], given, error)
                                              : find_range(function, i, ranges, error))
      return status;
    dims[i] = ranges[i].high;
  }
  return check_requirements(function, dims, error);
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

/* Bytes that a step other than a launch reads at its binding. */
static uint64_t bytes_read(const step_t &step) {
  return step.kernel ? 0 : step.dim_count != 0 ? step.dim_count * sizeof(int64_t) : 1;
}

static kiln_status_t check_steps(const kiln_function *function, const int64_t *values,
                                 kiln_error *error) {
  if (!function->branches)
    return KILN_OK;
  for (uint32_t s = 0; s < function->steps.count; ++s) {
    const step_t &step = function->steps[s];
    if (step.kernel || step.binding_count == 0)
      continue;
    int64_t size = values[function->bindings[step.first_binding].size];
    if ((uint64_t)size < bytes_read(step))
      return fail(error, KILN_CORRUPT,
                  "step %" PRIu32 " (%s): expected a binding of %" PRIu64 " bytes, found %" PRId64,
                  s, step.name, bytes_read(step), size);
  }
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
  return check_steps(function, values, error);
}

} // namespace kiln
