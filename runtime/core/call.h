/* Preparing a call: where everything lies in the workspace, and the checks of what the caller gave.
 */
#ifndef KILN_CORE_CALL_H
#define KILN_CORE_CALL_H

#include "core/model.h"

namespace kiln {

/* The workspace of a call: arena, one scratch per worker, the launches' counters, then the tables
 * of the plan. */
struct workspace_t {
  uint64_t arena_bytes;
  uint64_t scratch_offset, scratch_stride;
  uint64_t counters_offset;
  uint64_t regions_offset, values_offset, buffers_offset, dims_offset, known_offset;
  uint64_t total_bytes;
};

/* Sizes the workspace for planned dims (dims_plan). */
kiln_status_t workspace_plan(const kiln_function *function, const int64_t *dims, uint32_t workers,
                             workspace_t *workspace, kiln_error *error);

/* A checked call, ready to run. All pointers are into the caller's workspace. */
struct prepared_call_t {
  const kiln_function *function;
  int64_t *dims;   /* all, as they are at the moment; those not yet known as planned */
  uint8_t *known;  /* of each dim: a call, or a step of it, has given it */
  int64_t *values; /* of the function's expressions; of items for the dims of the moment */
  void **buffers;  /* one per binding of the function */
  uint8_t *scratch;
  uint64_t scratch_stride;
  uint8_t *counters; /* step_t::counters are offsets from here */
};

/* Gives computed dims their values, and what follows from them; `step` reads them. Only while no
 * launch runs. */
kiln_status_t call_set_dims(const prepared_call_t *prepared, const step_t &step, kiln_error *error);

/* Checks dims, buffers and index inputs, evaluates the plan and binds it. */
kiln_status_t call_prepare(const kiln_function *function, const kiln_call_t *call, uint32_t workers,
                           prepared_call_t *prepared, kiln_error *error);

} // namespace kiln

#endif /* KILN_CORE_CALL_H */
