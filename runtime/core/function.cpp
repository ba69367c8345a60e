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
  kiln_status_t load_dim(const schema::Dim &source) const;
  kiln_status_t load_requirements() const;
  kiln_status_t load_value(const schema::Value &source, value_t *value) const;
  kiln_status_t load_values(const flatbuffers::Vector<flatbuffers::Offset<schema::Value>> &values,
                            const char *role, array_t<value_t> *result) const;
  kiln_status_t load_states() const;
  kiln_status_t load_binding(const schema::Binding &source, binding_t *binding) const;
  kiln_status_t load_launch(const schema::Step &source, step_t *step,
                            uint64_t *counter_bytes) const;
  kiln_status_t load_branch(const schema::Step &source, step_t *step) const;
  kiln_status_t load_steps() const;
  kiln_status_t collect_exprs() const;
  kiln_status_t check_corners() const;
};

kiln_status_t loader_t::load_dims() const {
  const auto &dims = *source.dims();
  if (dims.size() > max_dims)
    return fail(error, KILN_CORRUPT, "expected at most %u dims, found %" PRIu32, max_dims,
                dims.size());
  for (const schema::Dim *dim : dims)
    if (kiln_status_t status = load_dim(*dim))
      return fail_within(error, status, "dim %s", dim->name()->c_str());
  return KILN_OK;
}

kiln_status_t loader_t::load_dim(const schema::Dim &from) const {
  dim_t dim = {{from.name()->c_str(), from.min(), from.max()}, no_expr, from.computed()};
  if (from.min() < 0 || from.min() > from.max())
    return fail(error, KILN_CORRUPT, "expected 0 <= min <= max, found %" PRId64 " and %" PRId64,
                from.min(), from.max());
  bool fixed = !dim.computed;
  if (from.value()) {
    if (dim.computed)
      return fail(error, KILN_CORRUPT, "is computed and has a value");
    if (kiln_status_t status = add(from.value(), "value", &dim.value)) // of the dims before it
      return status;
    fixed = expr_names_only(function->exprs, dim.value, function->fixed.data);
  } else if (fixed) {
    if (function->free_dims++ != function->dims.count)
      return fail(error, KILN_CORRUPT, "a free dim stands behind one that is not");
  }
  return function->dims.push(dim) && function->fixed.push(fixed) ? KILN_OK : out_of_memory();
}

kiln_status_t loader_t::load_requirements() const {
  if (!source.requirements())
    return KILN_OK;
  if (source.requirements()->size() > max_requirements)
    return fail(error, KILN_CORRUPT, "expected at most %u requirements, found %" PRIu32,
                max_requirements, source.requirements()->size());
  for (const schema::Requirement *from : *source.requirements()) {
    requirement_t requirement = {from->text()->c_str(), 0, 0};
    kiln_status_t status = add(from->found(), "requirement", &requirement.found);
    status = status ? status : add(from->expected(), "requirement", &requirement.expected);
    if (status)
      return status;
    for (uint32_t id : {requirement.found, requirement.expected})
      if (!expr_names_only(function->exprs, id, function->fixed.data))
        return fail(error, KILN_CORRUPT, "requirement: depends on a computed dim");
    if (!function->requirements.push(requirement))
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
  kiln_status_t status = add(from.index_limit(), "index limit", &value->index_limit);
  if (!status && !expr_names_only(function->exprs, value->index_limit, function->fixed.data))
    status = fail(error, KILN_CORRUPT, "its index limit depends on a computed dim");
  return status;
}

kiln_status_t
loader_t::load_values(const flatbuffers::Vector<flatbuffers::Offset<schema::Value>> &values,
                      const char *role, array_t<value_t> *result) const {
  if (values.size() > max_values)
    return fail(error, KILN_CORRUPT, "expected at most %u %ss, found %" PRIu32, max_values, role,
                values.size());
  for (const schema::Value *from : values) {
    value_t value;
    kiln_status_t status = load_value(*from, &value);
    for (uint32_t i = 0; !status && result == &function->inputs && i < value.rank; ++i)
      if (value.dim[i] >= 0 && !function->fixed[(uint32_t)value.dim[i]])
        status = fail(error, KILN_CORRUPT, "axis %u: depends on a computed dim", i);
    if (status)
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

/* A step that is neither launch nor barrier. */
kiln_status_t loader_t::load_branch(const schema::Step &from, step_t *step) const {
  function->branches = true;
  uint32_t bindings = from.bindings() ? from.bindings()->size() : 0, wanted = 1;
  if (from.kind() == schema::StepKind_set_dims) {
    step->first_dim = function->set_dims.count;
    step->dim_count = from.dims() ? from.dims()->size() : 0;
    if (step->dim_count == 0)
      return fail(error, KILN_CORRUPT, "expected dims to set");
    for (uint32_t dim : *from.dims()) {
      if (dim >= function->dims.count || !function->dims[dim].computed)
        return fail(error, KILN_CORRUPT, "dim %" PRIu32 " is not a computed one", dim);
      if (!function->set_dims.push(dim))
        return out_of_memory();
    }
  } else {
    wanted = from.kind() == schema::StepKind_branch;
    step->target = from.target();
    if (step->target > source.steps()->size())
      return fail(error, KILN_CORRUPT,
                  "step %" PRIu32 " to go on at does not exist: there are "
                  "%" PRIu32,
                  step->target, source.steps()->size());
  }
  if (bindings != wanted)
    return fail(error, KILN_CORRUPT, "expected %" PRIu32 " bindings, found %" PRIu32, wanted,
                bindings);
  step->first_binding = function->bindings.count;
  step->binding_count = wanted;
  binding_t binding;
  if (wanted == 0)
    return KILN_OK;
  if (kiln_status_t status = load_binding(*from.bindings()->Get(0), &binding))
    return status;
  return function->bindings.push(binding) ? KILN_OK : out_of_memory();
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
    step.kind = (uint32_t)from->kind();
    kiln_status_t status = KILN_OK;
    if (from->kind() == schema::StepKind_launch)
      status = load_launch(*from, &step, &counter_bytes);
    else if (from->kind() > schema::StepKind_MAX)
      status = fail(error, KILN_CORRUPT, "unknown kind %u", (unsigned)from->kind());
    else if (from->kind() != schema::StepKind_barrier)
      status = load_branch(*from, &step);
    if (status)
      return fail_within(error, status, "step %" PRIu32 " (%s)", index, step.name);
    if (!function->steps.push(step))
      return out_of_memory();
    if (counter_bytes > function->counter_bytes)
      function->counter_bytes = counter_bytes;
    ++index;
    if (step.kernel)
      continue;
    counter_bytes = 0;
    if (!function->intervals.push(index))
      return out_of_memory();
  }
  return KILN_OK;
}

/* The distinct expressions of scratch, and those of items that computed dims change. */
kiln_status_t loader_t::collect_exprs() const {
  bool *seen = static_cast<bool *>(calloc(2 * (size_t)function->exprs.exprs.count, sizeof(bool)));
  bool *seen_items = seen + function->exprs.exprs.count;
  kiln_status_t status = seen ? KILN_OK : out_of_memory();
  const auto collect = [&](bool *among, uint32_t id, array_t<uint32_t> *result) {
    if (!status && !among[id] && !result->push(id))
      status = out_of_memory();
    among[id] = true;
  };
  for (const step_t &step : function->steps) {
    if (status || !step.kernel)
      continue;
    collect(seen, step.scratch, &function->scratch_sizes);
    if (!expr_names_only(function->exprs, step.items, function->fixed.data))
      collect(seen_items, step.items, &function->items);
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
  int64_t *dims =
      static_cast<int64_t *>(__builtin_alloca((function->dims.count + 1) * sizeof(*dims)));
  int64_t *given =
      static_cast<int64_t *>(__builtin_alloca((function->dims.count + 1) * sizeof(*dims)));
  for (int corner = 0; corner < 2 && !status; ++corner) {
    for (uint32_t i = 0; i < function->free_dims; ++i)
      given[i] = corner == 0 ? function->dims[i].info.min : function->dims[i].info.max;
    if (dims_plan(function, given, dims, nullptr)) // such a call would be refused
      continue;
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
  status = status ? status : loader.load_requirements();
  status = status ? status : loader.load_values(*source.inputs(), "input", &function->inputs);
  status = status ? status : loader.load_values(*source.outputs(), "output", &function->outputs);
  status = status ? status : loader.load_states();
  status = status ? status : loader.add(source.arena_bytes(), "arena", &function->arena_size);
  status = status ? status
                  : loader.add(source.arena_lower_bound_bytes(), "arena lower bound",
                               &function->arena_lower_bound);
  status = status ? status : loader.load_steps();
  expr_table_seal(&function->exprs);
  status = status ? status : loader.collect_exprs();
  status = status ? status : loader.check_corners();
  return status ? fail_within(error, status, "function %s", function->name) : KILN_OK;
}

void function_release(kiln_function *function) {
  function->dims.release();
  function->fixed.release();
  function->set_dims.release();
  function->requirements.release();
  function->items.release();
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
