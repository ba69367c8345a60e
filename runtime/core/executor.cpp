// Runs a call. Every worker walks the schedule: of a launch with T items, worker w of W computes
// the items [w*T/W, (w+1)*T/W); at a barrier each waits for all. The first worker also reports
// progress, and passes a cancellation on through the next barrier.

#include "core/call.h"
#include "core/error.h"
#include "core/pool.h"

#include <time.h>

namespace kiln {

namespace {

struct run_t {
  prepared_call_t prepared;
  kiln_pool *pool;
  const kiln_call_t *call;
  bool cancelled; /* the first worker's */
};

uint64_t now_ns() {
  timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

/* The first item of worker `worker`: worker * items / workers without overflow. */
int64_t share(int64_t items, uint32_t worker, uint32_t workers) {
  return items / workers * worker + items % workers * worker / workers;
}

void launch(const prepared_call_t &call, const step_t &step, uint32_t worker, uint32_t workers) {
  int64_t items = call.values[step.items];
  uint8_t *counters = step.counters == no_counters ? nullptr : call.counters + step.counters;
  kiln_kernel_args args = {
      call.buffers + step.first_binding,           call.dims,
      call.scratch + worker * call.scratch_stride, share(items, worker, workers),
      share(items, worker + 1, workers),           0,
      reinterpret_cast<uint32_t *>(counters)};
  if (args.begin < args.end)
    step.kernel(&args);
}

void run_steps(void *context, uint32_t worker) {
  const run_t &run = *static_cast<const run_t *>(context);
  const kiln_function &function = *run.prepared.function;
  for (const step_t &step : function.steps) {
    if (step.kernel)
      launch(run.prepared, step, worker, run.pool->workers);
    else if (!pool_barrier(run.pool))
      return;
  }
}

/* The first worker's walk, with profile and progress. */
void run_steps_watched(void *context, uint32_t worker) {
  run_t &run = *static_cast<run_t *>(context);
  if (worker != 0)
    return run_steps(context, worker);
  const kiln_function &function = *run.prepared.function;
  const kiln_profile *profile = run.call->profile;
  uint32_t steps = function.steps.count, last_launch = 0;
  uint64_t before = profile ? now_ns() : 0;
  for (uint32_t i = 0; i < steps; ++i) {
    const step_t &step = function.steps[i];
    bool go_on = true;
    if (step.kernel) {
      launch(run.prepared, step, 0, run.pool->workers);
      last_launch = i;
    } else {
      go_on = pool_barrier(run.pool);
    }
    if (profile) { // the wait at a barrier belongs to the launch before it
      uint64_t now = now_ns();
      if (last_launch < profile->step_count)
        profile->step_ns[last_launch] += now - before;
      before = now;
    }
    if (!go_on)
      return;
    if (run.call->progress && !run.cancelled &&
        run.call->progress(run.call->progress_user, i + 1, steps) != 0) {
      run.cancelled = true;
      pool_stop(run.pool);
    }
  }
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
  run_t run = {{}, pool, call, false};
  kiln_status_t status = call_prepare(function, call, pool->workers, &run.prepared, error);
  if (status)
    fail_within(error, status, "function %s", function->name);
  else
    pool_run(pool, call->progress || call->profile ? run_steps_watched : run_steps, &run);
  pool_release(pool);
  if (!status && run.cancelled)
    return fail(error, KILN_CANCELLED, "function %s: cancelled by the progress hook",
                function->name);
  return status;
}
