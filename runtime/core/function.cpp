// Checks one function of the program and turns it into handles: dims, inputs, outputs, states, and
// the schedule with every kernel, space and expression resolved. Ends with the plan evaluated for
// the smallest and the largest dims.

#include "core/error.h"
#include "core/model.h"

#include "program_generated.h"

#include <inttypes.h>

namespace kiln {

namespace {

/* What checking needs at hand. */
struct loader_t {
  const kiln_model *model;
  const schema::Function &source;
  kiln_function *function;
  kiln_error *error;

  kiln_status_t out_of_memory() const {
    return fail(error, KILN_OUT_OF_MEMORY, "out of memory while opening");
  }

  kiln_status_t add(const schema::Expr *expr, const char *role, uint32_t *id) const {
    if (const char *what = expr_check(*expr, function->dims.count))
      return fail(error, KILN_CORRUPT, "%s: %s", role, what);
    return expr_table_add(&function->exprs, *expr, id) ? KILN_OK : out_of_memory();
  }

  kiln_status_t load_dims() const;
  kiln_status_t load_value(const schema::Value &source, value_t *value) const;
  kiln_status_t load_values(const flatbuffers::Vector<flatbuffers::Offset<schema::Value>> &values,
                            const char *role, array_t<value_t> *result) const;
  kiln_status_t load_states() const;
  kiln_status_t load_binding(const schema::Binding &source, binding_t *binding) const;
  kiln_status_t load_launch(const schema::Step &source, step_t *step,
                            uint64_t *counter_bytes) const;
  kiln_status_t load_steps() const;
  kiln_status_t collect_scratch_sizes() const;
  kiln_status_t check_corners() const;
};

kiln_status_t loader_t::load_dims() const {
  const auto &dims = *source.dims();
  if (dims.size() > max_dims)
    return fail(error, KILN_CORRUPT, "expected at most %u dims, found %" PRIu32, max_dims,
                dims.size());
  for (const schema::Dim *dim : dims) {
    if (dim->min() < 0 || dim->min() > dim->max())
      return fail(error, KILN_CORRUPT,
                  "dim %s: expected 0 <= min <= max, found %" PRId64 " and %" PRId64,
                  dim->name()->c_str(), dim->min(), dim->max());
    if (!function->dims.push({dim->name()->c_str(), dim->min(), dim->max()}))
      return out_of_memory();
  }
  return KILN_OK;
}

kiln_status_t loader_t::load_value(const schema::Value &from, value_t *value) const {
  *value = {};
  value->name = from.name()->c_str();
  if (from.dtype() > schema::DType_MAX)
    return fail(error, KILN_CORRUPT, "unknown dtype %u", (unsigned)from.dtype());
  value->dtype = (kiln_dtype_t)from.dtype();
  value->rank = from.shape()->size();
  if (value->rank > KILN_MAX_RANK)
    return fail(error, KILN_CORRUPT, "expected a rank of at most %d, found %" PRIu32, KILN_MAX_RANK,
                value->rank);
  for (uint32_t i = 0; i < value->rank; ++i) {
    schema::Axis axis; // copied: the verifier does not promise that structs are aligned
    memcpy(static_cast<void *>(&axis), from.shape()->Data() + i * sizeof(axis), sizeof(axis));
    value->dim[i] = axis.dim();
    value->extent[i] = axis.extent();
    bool dynamic = axis.dim() != -1;
    if (dynamic && (axis.dim() < 0 || (uint32_t)axis.dim() >= function->dims.count))
      return fail(error, KILN_CORRUPT, "axis %u: dim %d does not exist", i, axis.dim());
    if (!dynamic && axis.extent() < 0)
      return fail(error, KILN_CORRUPT, "axis %u: its extent %" PRId64 " is negative", i,
                  axis.extent());
  }
  value->index_limit = no_expr;
  if (!from.index_limit())
    return KILN_OK;
  if (value->dtype != KILN_I32 && value->dtype != KILN_I64)
    return fail(error, KILN_CORRUPT, "an index limit needs elements of type i32 or i64");
  return add(from.index_limit(), "index limit", &value->index_limit);
}

kiln_status_t
loader_t::load_values(const flatbuffers::Vector<flatbuffers::Offset<schema::Value>> &values,
                      const char *role, array_t<value_t> *result) const {
  if (values.size() > max_values)
    return fail(error, KILN_CORRUPT, "expected at most %u %ss, found %" PRIu32, max_values, role,
                values.size());
  for (const schema::Value *from : values) {
    value_t value;
    if (kiln_status_t status = load_value(*from, &value))
      return fail_within(error, status, "%s %s", role, from->name()->c_str());
    if (!result->push(value))
      return out_of_memory();
  }
  return KILN_OK;
}

kiln_status_t loader_t::load_states() const {
  if (source.states()->size() > max_values)
    return fail(error, KILN_CORRUPT, "expected at most %u states, found %" PRIu32, max_values,
                source.states()->size());
  for (const schema::State *from : *source.states()) {
    state_t state = {from->name()->c_str(), 0};
    if (kiln_status_t status = add(from->size_bytes(), "size", &state.size))
      return fail_within(error, status, "state %s", state.name);
    if (!function->states.push(state))
      return out_of_memory();
  }
  return KILN_OK;
}

kiln_status_t loader_t::load_binding(const schema::Binding &from, binding_t *binding) const {
  // First region and number of things in each space, in the order of schema::Space.
  const uint32_t first[] = {0, function->first_output(), function->first_state(),
                            function->arena_region(), function->region_count()};
  const uint32_t count[] = {function->inputs.count, function->outputs.count, function->states.count,
                            1, model->weights.count};
  if (from.space() > schema::Space_MAX)
    return fail(error, KILN_CORRUPT, "unknown space %u", (unsigned)from.space());
  uint32_t index = from.space() == schema::Space_arena ? 0 : from.index();
  if (index >= count[from.space()])
    return fail(error, KILN_CORRUPT, "%s %" PRIu32 " does not exist: there are %" PRIu32,
                schema::EnumNameSpace(from.space()), index, count[from.space()]);
  *binding = {first[from.space()] + index, no_expr, 0};
  if (from.offset())
    if (kiln_status_t status = add(from.offset(), "offset", &binding->offset))
      return status;
  return add(from.size_bytes(), "size", &binding->size);
}

/* `counter_bytes`: what the launches since the last barrier use. */
kiln_status_t loader_t::load_launch(const schema::Step &from, step_t *step,
                                    uint64_t *counter_bytes) const {
  const schema::Program &program = *model->program;
  if (from.kernel() >= program.kernels()->size())
    return fail(error, KILN_CORRUPT, "kernel %" PRIu32 " does not exist: there are %" PRIu32,
                from.kernel(), program.kernels()->size());
  const schema::Kernel &kernel = *program.kernels()->Get(from.kernel());
  const schema::KernelCode &code = *model->chosen->kernels()->Get(from.kernel());
  uint32_t bindings = from.bindings() ? from.bindings()->size() : 0;
  if (bindings != kernel.bindings())
    return fail(error, KILN_CORRUPT, "expected %" PRIu32 " bindings for kernel %s, found %" PRIu32,
                kernel.bindings(), kernel.name()->c_str(), bindings);
  step->kernel = image_kernel(model->image, code.entry());
  step->counters = no_counters;
  if (code.counters() != 0) {
    // Launches of one barrier interval may run at the same time: each has lines of its own. Those
    // of the next interval find the words zero again.
    step->counters = *counter_bytes;
    uint64_t bytes;
    if (!checked_align(code.counters() * sizeof(uint32_t), KILN_BUFFER_ALIGNMENT, &bytes) ||
        !checked_add(*counter_bytes, bytes, counter_bytes))
      return fail(error, KILN_CORRUPT, "the counters of its barrier interval overflow");
  }
  step->first_binding = function->bindings.count;
  step->binding_count = bindings;
  if (kiln_status_t status = add(code.items(), "items", &step->items))
    return status;
  if (kiln_status_t status = add(code.scratch_bytes(), "scratch", &step->scratch))
    return status;
  for (uint32_t i = 0; i < bindings; ++i) {
    binding_t binding;
    if (kiln_status_t status = load_binding(*from.bindings()->Get(i), &binding))
      return fail_within(error, status, "binding %" PRIu32, i);
    if (!function->bindings.push(binding))
      return out_of_memory();
  }
  return KILN_OK;
}

kiln_status_t loader_t::load_steps() const {
  if (source.steps()->size() > max_steps)
    return fail(error, KILN_CORRUPT, "expected at most %u steps, found %" PRIu32, max_steps,
                source.steps()->size());
  if (!function->intervals.push(0))
    return out_of_memory();
  uint32_t index = 0;
  uint64_t counter_bytes = 0; // of this barrier interval
  for (const schema::Step *from : *source.steps()) {
    step_t step = {};
    step.name = from->name() ? from->name()->c_str() : "";
    kiln_status_t status = KILN_OK;
    if (from->kind() == schema::StepKind_launch)
      status = load_launch(*from, &step, &counter_bytes);
    else if (from->kind() == schema::StepKind_barrier)
      counter_bytes = 0;
    else
      status = fail(error, KILN_CORRUPT, "unknown kind %u", (unsigned)from->kind());
    if (status)
      return fail_within(error, status, "step %" PRIu32 " (%s)", index, step.name);
    if (!function->steps.push(step))
      return out_of_memory();
    if (counter_bytes > function->counter_bytes)
      function->counter_bytes = counter_bytes;
    ++index;
    if (!step.kernel && !function->intervals.push(index))
      return out_of_memory();
  }
  return KILN_OK;
}

kiln_status_t loader_t::collect_scratch_sizes() const {
  bool *seen = static_cast<bool *>(calloc(function->exprs.exprs.count, sizeof(bool)));
  kiln_status_t status = seen ? KILN_OK : out_of_memory();
  for (const step_t &step : function->steps) {
    if (status || !step.kernel || seen[step.scratch])
      continue;
    seen[step.scratch] = true;
    status = function->scratch_sizes.push(step.scratch) ? KILN_OK : out_of_memory();
  }
  free(seen);
  return status;
}

/* The plan for the smallest and for the largest dims. */
kiln_status_t loader_t::check_corners() const {
  uint32_t exprs = function->exprs.exprs.count, regions = function->region_count();
  int64_t *values = static_cast<int64_t *>(calloc(exprs, sizeof(int64_t)));
  region_t *places = static_cast<region_t *>(calloc(regions, sizeof(region_t)));
  kiln_status_t status = values && places ? KILN_OK : out_of_memory();
  for (int corner = 0; corner < 2 && !status; ++corner) {
    int64_t dims[max_dims] = {};
    for (uint32_t i = 0; i < function->dims.count; ++i)
      dims[i] = corner == 0 ? function->dims[i].min : function->dims[i].max;
    status = plan_evaluate(function, dims, values, places, error);
    status = status ? status : plan_bind(function, values, places, nullptr, error);
    if (status)
      fail_within(error, status, corner == 0 ? "at the smallest dims" : "at the largest dims");
  }
  free(values);
  free(places);
  return status;
}

} // namespace

kiln_status_t function_load(const kiln_model *model, const schema::Function &source,
                            kiln_function *function, kiln_error *error) {
  *function = {};
  function->model = model;
  function->name = source.name()->c_str();
  loader_t loader = {model, source, function, error};
  kiln_status_t status = loader.load_dims();
  status = status ? status : loader.load_values(*source.inputs(), "input", &function->inputs);
  status = status ? status : loader.load_values(*source.outputs(), "output", &function->outputs);
  status = status ? status : loader.load_states();
  status = status ? status : loader.add(source.arena_bytes(), "arena", &function->arena_size);
  status = status ? status
                  : loader.add(source.arena_lower_bound_bytes(), "arena lower bound",
                               &function->arena_lower_bound);
  status = status ? status : loader.load_steps();
  expr_table_seal(&function->exprs);
  status = status ? status : loader.collect_scratch_sizes();
  status = status ? status : loader.check_corners();
  return status ? fail_within(error, status, "function %s", function->name) : KILN_OK;
}

void function_release(kiln_function *function) {
  function->dims.release();
  function->inputs.release();
  function->outputs.release();
  function->states.release();
  function->steps.release();
  function->intervals.release();
  function->bindings.release();
  function->scratch_sizes.release();
  expr_table_release(&function->exprs);
}

} // namespace kiln
