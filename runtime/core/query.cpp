// What can be asked about a function: names, dims, shapes, and the memory a call needs.

#include "core/call.h"
#include "core/error.h"
#include "core/model.h"

#include <inttypes.h>
#include <string.h>

using namespace kiln;

const char *kiln_function_name(const kiln_function_t *function) { return function->name; }
size_t kiln_function_dim_count(const kiln_function_t *function) { return function->free_dims; }
size_t kiln_function_all_dim_count(const kiln_function_t *function) { return function->dims.count; }
size_t kiln_function_input_count(const kiln_function_t *function) { return function->inputs.count; }
size_t kiln_function_output_count(const kiln_function_t *function) {
  return function->outputs.count;
}
size_t kiln_function_state_count(const kiln_function_t *function) { return function->states.count; }
size_t kiln_function_step_count(const kiln_function_t *function) { return function->steps.count; }

const char *kiln_function_step_name(const kiln_function_t *function, size_t step) {
  if (step >= function->steps.count || !function->steps.data[step].kernel)
    return "";
  return function->steps.data[step].name;
}

kiln_status_t kiln_function_dim(const kiln_function_t *function, size_t index,
                                kiln_dim_info *info) {
  if (index >= function->dims.count)
    return KILN_NOT_FOUND;
  *info = function->dims.data[index].info;
  return KILN_OK;
}

static kiln_status_t describe(const array_t<value_t> &values, size_t index, kiln_value_info *info) {
  if (index >= values.count)
    return KILN_NOT_FOUND;
  const value_t &value = values.data[index];
  *info = {};
  info->name = value.name;
  info->dtype = value.dtype;
  info->rank = value.rank;
  memcpy(info->dim, value.dim, sizeof(info->dim));
  memcpy(info->extent, value.extent, sizeof(info->extent));
  return KILN_OK;
}

kiln_status_t kiln_function_input(const kiln_function_t *function, size_t index,
                                  kiln_value_info *info) {
  return describe(function->inputs, index, info);
}

kiln_status_t kiln_function_output(const kiln_function_t *function, size_t index,
                                   kiln_value_info *info) {
  return describe(function->outputs, index, info);
}

kiln_status_t kiln_function_all_dims(const kiln_function_t *function, const int64_t *dims,
                                     int64_t *all_dims, kiln_error *error) {
  kiln_status_t status = dims_plan(function, dims, all_dims, error);
  return status ? fail_within(error, status, "function %s", function->name) : KILN_OK;
}

kiln_status_t kiln_function_memory(const kiln_function_t *function, const int64_t *dims,
                                   uint32_t workers, kiln_memory_needs *needs, kiln_error *error) {
  int64_t *all =
      static_cast<int64_t *>(__builtin_alloca((function->dims.count + 1) * sizeof(*all)));
  workspace_t workspace;
  kiln_status_t status = dims_plan(function, dims, all, error);
  status = status ? status : workspace_plan(function, all, workers, &workspace, error);
  if (status)
    return fail_within(error, status, "function %s", function->name);
  int64_t lower_bound;
  if (const char *what =
          expr_evaluate(function->exprs, function->arena_lower_bound, all, &lower_bound))
    return fail(error, KILN_CORRUPT, "function %s: %s", function->name, what);
  needs->arena_bytes = workspace.arena_bytes;
  needs->arena_lower_bound_bytes = (uint64_t)lower_bound;
  needs->scratch_bytes = workspace.scratch_stride;
  needs->workspace_bytes = workspace.total_bytes;
  return KILN_OK;
}

kiln_status_t kiln_function_state_bytes(const kiln_function_t *function, size_t index,
                                        const int64_t *dims, uint64_t *size_bytes,
                                        kiln_error *error) {
  if (index >= function->states.count)
    return fail(error, KILN_NOT_FOUND, "function %s: state %zu does not exist: there are %" PRIu32,
                function->name, index, function->states.count);
  int64_t *all =
      static_cast<int64_t *>(__builtin_alloca((function->dims.count + 1) * sizeof(*all)));
  kiln_status_t status = dims_plan(function, dims, all, error);
  if (status)
    return fail_within(error, status, "function %s", function->name);
  int64_t value;
  const state_t &state = function->states.data[index];
  if (const char *what = expr_evaluate(function->exprs, state.size, all, &value))
    return fail(error, KILN_CORRUPT, "function %s: state %s: %s", function->name, state.name, what);
  *size_bytes = (uint64_t)value;
  return KILN_OK;
}
