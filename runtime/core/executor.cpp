// Runs a call. Every worker walks the schedule, an interval between two barriers at a time: of each
// launch it computes ranges of items until none are left, and at a barrier it waits for the others.
// The first worker also measures and reports progress, and asks for the end when it is cancelled.

#include "core/call.h"
#include "core/error.h"
#include "core/share.h"

namespace kiln {

namespace {

struct run_t {
  prepared_call_t prepared;
  kiln_pool *pool;
  const kiln_call_t *call;
  /* The first worker's. */
  bool cancelled;
  uint32_t reported;    /* steps */
  uint32_t last_launch; /* step that the time since `before_ns` belongs to */
  uint64_t before_ns;
};

void launch(const run_t &run, uint32_t index, uint32_t worker) {
  const prepared_call_t &call = run.prepared;
  const step_t &step = call.function->steps.data[index];
  int64_t items = call.values[step.items];
  uint8_t *counters = step.counters == no_counters ? nullptr : call.counters + step.counters;
  kiln_kernel_args args = {call.buffers + step.first_binding,
                           call.dims,
                           call.scratch + worker * call.scratch_stride,
                           0,
                           items,
                           0,
                           reinterpret_cast<uint32_t *>(counters)};
  if (run.pool->workers == 1) {
    if (items > 0)
      step.kernel(&args);
    return;
  }
  int64_t unit = 1; // items
  while ((items - 1) / unit >= max_units)
    unit *= 2;
  launch_t shared = {index + 1, (uint32_t)((items + unit - 1) / unit)};
  for (units_t taken; share_take(run.pool, worker, shared, &taken); ++args.range) {
    args.begin = taken.begin * unit;
    args.end = taken.end == shared.units ? items : taken.end * unit;
    step.kernel(&args);
  }
}

void run_steps(void *context, uint32_t worker, uint32_t interval) {
  const run_t &run = *static_cast<const run_t *>(context);
  const kiln_function &function = *run.prepared.function;
  while (interval != pool_out) {
    for (uint32_t i = function.intervals[interval]; i < function.steps.count; ++i) {
      if (!function.steps[i].kernel)
        break;
      launch(run, i, worker);
    }
    interval = pool_barrier(run.pool, worker, interval + 1 == function.intervals.count);
  }
}

/* Adds the time since the last call to the step it belongs to. */
void measure(run_t *run) {
  const kiln_profile *profile = run->call->profile;
  if (!profile)
    return;
  uint64_t now = now_ns();
  if (run->before_ns != 0 && run->last_launch < profile->step_count)
    profile->step_ns[run->last_launch] += now - run->before_ns;
  run->before_ns = now;
}

void report(run_t *run, uint32_t steps_done) {
  if (!run->call->progress || run->cancelled || steps_done == run->reported)
    return;
  run->reported = steps_done;
  run->cancelled = run->call->progress(run->call->progress_user, steps_done,
                                       run->prepared.function->steps.count) != 0;
  if (run->cancelled)
    pool_stop(run->pool);
}

/* The first worker's walk, with profile and progress. */
void run_steps_watched(void *context, uint32_t worker, uint32_t interval) {
  if (worker != 0)
    return run_steps(context, worker, interval);
  run_t *run = static_cast<run_t *>(context);
  const kiln_function &function = *run->prepared.function;
  while (interval != pool_out) {
    measure(run); // a wait belongs to the launch before it
    report(run, function.intervals[interval]);
    for (uint32_t i = function.intervals[interval]; i < function.steps.count; ++i) {
      if (!function.steps[i].kernel)
        break;
      launch(*run, i, worker);
      run->last_launch = i;
      measure(run);
      report(run, i + 1);
    }
    interval = pool_barrier(run->pool, worker, interval + 1 == function.intervals.count);
  }
}

/* Runs a prepared call; false when it was cancelled. */
bool run_call(run_t *run) {
  shares_reset(run->pool);
  bool watched = run->call->progress || run->call->profile;
  pool_run(run->pool, watched ? run_steps_watched : run_steps, run);
  if (watched) { // the first worker need not have been there when the last step was done
    measure(run);
    report(run, run->prepared.function->steps.count);
  }
  return !run->cancelled;
}

} // namespace

} // namespace kiln

using namespace kiln;

kiln_status_t kiln_call(kiln_pool_t *pool, const kiln_function_t *function, const kiln_call_t *call,
                        kiln_error *error) {
  if (!pool || !function || !call)
    return fail(error, KILN_INVALID_ARGUMENT, "expected a pool, a function and a call, found NULL");
  if (!pool_claim(pool))
    return fail(error, KILN_INVALID_ARGUMENT, "function %s: the pool runs another call",
                function->name);
  run_t run = {{}, pool, call, false, 0, 0, 0};
  kiln_status_t status = call_prepare(function, call, pool->workers, &run.prepared, error);
  if (status)
    fail_within(error, status, "function %s", function->name);
  else if (!run_call(&run))
    status =
        fail(error, KILN_CANCELLED, "function %s: cancelled by the progress hook", function->name);
  pool_release(pool);
  return status;
}
