// Prepares a call. The caller's dims are copied, all buffers are measured against what the dims ask
// for, inputs that are indices are read once and compared with their limit (a kernel follows them
// without looking), and the plan is evaluated into the workspace. Nothing is allocated.

#include "core/call.h"

#include "core/error.h"

#include <inttypes.h>
#include <string.h>

namespace kiln {

/* Appends `count` entries of `entry_bytes`, aligned for buffers. */
static bool append(uint64_t *total, uint64_t count, uint64_t entry_bytes, uint64_t *offset) {
  uint64_t bytes;
  *offset = *total;
  return checked_mul(count, entry_bytes, &bytes) && checked_add(*total, bytes, total) &&
         checked_align(*total, KILN_BUFFER_ALIGNMENT, total);
}

kiln_status_t workspace_plan(const kiln_function *function, const int64_t *dims, uint32_t workers,
                             workspace_t *workspace, kiln_error *error) {
  if (workers == 0)
    return fail(error, KILN_INVALID_ARGUMENT, "expected at least 1 worker");
  int64_t arena, scratch = 0;
  const char *what = expr_evaluate(function->exprs, function->arena_size, dims, &arena);
  for (uint32_t id : function->scratch_sizes) {
    int64_t value = 0;
    what = what ? what : expr_evaluate(function->exprs, id, dims, &value);
    scratch = value > scratch ? value : scratch;
  }
  if (what)
    return fail(error, KILN_CORRUPT, "%s", what);
  workspace->arena_bytes = (uint64_t)arena;
  uint64_t total = 0, offset;
  if (!append(&total, (uint64_t)arena, 1, &offset) ||
      !checked_align((uint64_t)scratch, KILN_BUFFER_ALIGNMENT, &workspace->scratch_stride) ||
      !append(&total, workers, workspace->scratch_stride, &workspace->scratch_offset) ||
      !append(&total, function->counter_bytes, 1, &workspace->counters_offset) ||
      !append(&total, function->region_count(), sizeof(region_t), &workspace->regions_offset) ||
      !append(&total, function->exprs.exprs.count, sizeof(int64_t), &workspace->values_offset) ||
      !append(&total, function->bindings.count, sizeof(void *), &workspace->buffers_offset) ||
      !append(&total, function->dims.count, sizeof(int64_t), &workspace->dims_offset) ||
      !append(&total, function->dims.count, 1, &workspace->known_offset))
    return fail(error, KILN_OUT_OF_MEMORY, "the size of the workspace overflows");
  workspace->total_bytes = total;
  return KILN_OK;
}

static kiln_status_t check_buffer(const kiln_buffer &buffer, uint64_t wanted, uint64_t alignment,
                                  const char *role, const char *name, kiln_error *error) {
  if (buffer.size_bytes < wanted)
    return fail(error, KILN_BUFFER_TOO_SMALL, "%s%s: expected %" PRIu64 " bytes, found %" PRIu64,
                role, name, wanted, buffer.size_bytes);
  if (wanted != 0 && !buffer.data)
    return fail(error, KILN_INVALID_ARGUMENT, "%s%s: expected %" PRIu64 " bytes, found NULL", role,
                name, wanted);
  if (!is_aligned(buffer.data, alignment))
    return fail(error, KILN_INVALID_ARGUMENT, "%s%s: not aligned to %" PRIu64 " bytes", role, name,
                alignment);
  return KILN_OK;
}

/* The position of the first element outside [0, limit), or `count`. */
template <typename T> static uint64_t find_bad_index(const T *data, uint64_t count, int64_t limit) {
  for (uint64_t i = 0; i < count; ++i)
    if (data[i] < 0 || data[i] >= limit)
      return i;
  return count;
}

static kiln_status_t check_indices(const value_t &input, const void *data, uint64_t count,
                                   int64_t limit, kiln_error *error) {
  bool wide = input.dtype == KILN_I64;
  uint64_t at = wide ? find_bad_index(static_cast<const int64_t *>(data), count, limit)
                     : find_bad_index(static_cast<const int32_t *>(data), count, limit);
  if (at == count)
    return KILN_OK;
  int64_t found =
      wide ? static_cast<const int64_t *>(data)[at] : static_cast<const int32_t *>(data)[at];
  return fail(error, KILN_INDEX_OUT_OF_RANGE,
              "input %s: element %" PRIu64 ": expected 0 <= index < %" PRId64 ", found %" PRId64,
              input.name, at, limit, found);
}

/* Fills in the bases of the function's regions; their sizes are known. */
static kiln_status_t take_buffers(const kiln_function *function, const kiln_call_t *call,
                                  const int64_t *dims, const int64_t *values, region_t *regions,
                                  kiln_error *error) {
  uint64_t size, elements;
  for (uint32_t i = 0; i < function->inputs.count; ++i) {
    const value_t &input = function->inputs[i];
    region_t *region = &regions[i];
    kiln_status_t status = value_bytes(input, dims, &size, &elements, error);
    status = status ? status
                    : check_buffer(call->inputs[i], region->size, dtype_bytes(input.dtype),
                                   "input ", input.name, error);
    if (!status && input.index_limit != no_expr)
      status =
          check_indices(input, call->inputs[i].data, elements, values[input.index_limit], error);
    if (status)
      return status;
    region->base = static_cast<uint8_t *>(call->inputs[i].data);
  }
  for (uint32_t i = 0; i < function->outputs.count; ++i) {
    const value_t &output = function->outputs[i];
    region_t *region = &regions[function->first_output() + i];
    if (kiln_status_t status =
            check_buffer(call->outputs[i], region->size, dtype_bytes(output.dtype), "output ",
                         output.name, error))
      return status;
    region->base = static_cast<uint8_t *>(call->outputs[i].data);
  }
  for (uint32_t i = 0; i < function->states.count; ++i) {
    region_t *region = &regions[function->first_state() + i];
    if (kiln_status_t status = check_buffer(call->states[i], region->size, KILN_BUFFER_ALIGNMENT,
                                            "state ", function->states[i].name, error))
      return status;
    region->base = static_cast<uint8_t *>(call->states[i].data);
  }
  return KILN_OK;
}

kiln_status_t call_set_dims(const prepared_call_t *call, const step_t &step, kiln_error *error) {
  const kiln_function *function = call->function;
  const uint8_t *given = static_cast<const uint8_t *>(call->buffers[step.first_binding]);
  for (uint32_t i = 0; i < step.dim_count; ++i) {
    uint32_t index = function->set_dims[step.first_dim + i];
    int64_t value;
    memcpy(&value, given + i * sizeof(value), sizeof(value)); // an input may lie anywhere
    if (kiln_status_t status = dim_check(function->dims[index], value, error))
      return status;
    call->dims[index] = value;
    call->known[index] = 1;
  }
  for (uint32_t i = function->free_dims; i < function->dims.count; ++i) {
    const dim_t &dim = function->dims[i];
    if (function->fixed[i] || dim.computed ||
        !expr_names_only(function->exprs, dim.value, call->known))
      continue;
    if (const char *what = expr_evaluate(function->exprs, dim.value, call->dims, &call->dims[i]))
      return fail(error, KILN_DIM_OUT_OF_BOUNDS, "dim %s: %s", dim.info.name, what);
    if (kiln_status_t status = dim_check(dim, call->dims[i], error))
      return status;
    call->known[i] = 1;
  }
  for (uint32_t id : function->items)
    if (expr_names_only(function->exprs, id, call->known))
      if (const char *what = expr_evaluate(function->exprs, id, call->dims, &call->values[id]))
        return fail(error, KILN_CORRUPT, "%s", what);
  return KILN_OK;
}

kiln_status_t call_prepare(const kiln_function *function, const kiln_call_t *call, uint32_t workers,
                           prepared_call_t *prepared, kiln_error *error) {
  if ((function->inputs.count && !call->inputs) || (function->outputs.count && !call->outputs) ||
      (function->states.count && !call->states) || (function->free_dims && !call->dims))
    return fail(error, KILN_INVALID_ARGUMENT,
                "expected dims, inputs, outputs and states, found NULL");
  uint32_t dim_count = function->dims.count;
  int64_t *planned = static_cast<int64_t *>(__builtin_alloca((dim_count + 1) * sizeof(int64_t)));
  workspace_t workspace;
  if (kiln_status_t status = dims_plan(function, call->dims, planned, error))
    return status;
  if (kiln_status_t status = workspace_plan(function, planned, workers, &workspace, error))
    return status;
  if (kiln_status_t status = check_buffer(call->workspace, workspace.total_bytes,
                                          KILN_BUFFER_ALIGNMENT, "workspace", "", error))
    return status;

  uint8_t *base = static_cast<uint8_t *>(call->workspace.data);
  int64_t *values = reinterpret_cast<int64_t *>(base + workspace.values_offset);
  int64_t *dims = reinterpret_cast<int64_t *>(base + workspace.dims_offset);
  region_t *regions = reinterpret_cast<region_t *>(base + workspace.regions_offset);
  void **buffers = reinterpret_cast<void **>(base + workspace.buffers_offset);
  memcpy(dims, planned, dim_count * sizeof(int64_t));
  if (dim_count != 0)
    memcpy(base + workspace.known_offset, function->fixed.data, dim_count);
  kiln_status_t status = plan_evaluate(function, dims, values, regions, error);
  status = status ? status : take_buffers(function, call, dims, values, regions, error);
  if (status)
    return status;
  regions[function->arena_region()].base = base;
  if (kiln_status_t bound = plan_bind(function, values, regions, buffers, error))
    return bound;
  uint8_t *counters = base + workspace.counters_offset;
  memset(counters, 0, (size_t)function->counter_bytes); // a cancelled call leaves them as they were
  *prepared = {function,
               dims,
               base + workspace.known_offset,
               values,
               buffers,
               base + workspace.scratch_offset,
               workspace.scratch_stride,
               counters};
  return KILN_OK;
}

} // namespace kiln
