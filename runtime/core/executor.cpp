// Runs a call. Every worker walks the schedule, an interval between two barriers at a time: of each
// launch it computes ranges of items until none are left, and at a barrier it waits for the others.
// The first worker also measures and reports progress, and asks for the end when it is cancelled.
//
// Branches, jumps and set_dims are barriers too. The worker that moves the team on from one takes
// these steps alone, while the others, and who joins them, wait until it has said where the next
// interval begins. So all go the same way, and nothing that they read changes under their hands.

#include "core/call.h"
#include "core/error.h"
#include "core/share.h"

#include "program_generated.h"

#include <inttypes.h>
#include <string.h>

namespace kiln {

namespace {

struct run_t {
  prepared_call_t prepared;
  kiln_pool *pool;
  const kiln_call_t *call;
  /* Of a function with branches: interval << 32 | the step at which it begins. */
  std::atomic<uint64_t> place;
  kiln_status_t status; /* of the steps between intervals */
  kiln_error *error;
  /* The first worker's. */
  bool cancelled;
  uint64_t reported;    /* interval << 32 | steps */
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

uint32_t stop(run_t *run, kiln_status_t status, uint32_t step) {
  const kiln_function &function = *run->prepared.function;
  run->status = fail_within(run->error, status, "function %s: step %" PRIu32 " (%s)", function.name,
                            step, function.steps.data[step].name);
  return function.steps.count;
}

/* Takes the steps between two intervals, from step `at` on; the first step of the next interval. No
 * other worker is in an interval meanwhile. */
uint32_t walk(run_t *run, uint32_t interval, uint32_t at) {
  const prepared_call_t &call = run->prepared;
  const array_t<step_t> &steps = call.function->steps;
  for (uint32_t taken = 0; at < steps.count && !steps.data[at].kernel; ++taken) {
    const step_t &step = steps.data[at];
    // Without a launch between them, steps that come round once do so for ever.
    if (taken > steps.count || interval >= pool_out - 1)
      return stop(run, fail(run->error, KILN_CORRUPT, "the schedule never ends"), at);
    uint32_t next = at + 1;
    if (step.kind == (uint32_t)schema::StepKind_set_dims) {
      if (kiln_status_t status = call_set_dims(&call, step, run->error))
        return stop(run, status, at);
    } else if (step.kind == (uint32_t)schema::StepKind_jump ||
               (step.kind == (uint32_t)schema::StepKind_branch &&
                *static_cast<const uint8_t *>(call.buffers[step.first_binding]) == 0)) {
      next = step.target;
    }
    if (next <= at) // launches are met in ascending order again
      shares_reset(run->pool);
    at = next;
  }
  return at;
}

struct wait_t {
  const run_t *run;
  uint32_t interval;
};

bool has_begun(const void *context) {
  const wait_t *wait = static_cast<const wait_t *>(context);
  return wait->run->place.load(std::memory_order_seq_cst) >> 32 == wait->interval;
}

/* The step at which an interval begins. */
uint32_t first_step(const run_t &run, uint32_t interval) {
  const kiln_function &function = *run.prepared.function;
  if (!function.branches)
    return function.intervals.data[interval];
  wait_t wait = {&run, interval};
  for (uint32_t looks = 0; !has_begun(&wait); ++looks) {
    pause_cpu();
    if (looks == 1000)
      bell_sleep(&run.pool->bell, has_begun, &wait);
  }
  return (uint32_t)run.place.load(std::memory_order_relaxed);
}

/* Ends an interval before step `end`; the next one, which begins at *step. */
uint32_t pass_barrier(run_t *run, uint32_t worker, uint32_t end, uint32_t *step) {
  const kiln_function &function = *run->prepared.function;
  bool moved;
  uint32_t interval = pool_barrier(run->pool, worker, end == function.steps.count, &moved);
  if (interval == pool_out)
    return pool_out;
  if (moved && function.branches) {
    uint32_t next = walk(run, interval, end);
    run->place.store((uint64_t)interval << 32 | next, std::memory_order_seq_cst);
    bell_ring(&run->pool->bell);
  }
  *step = first_step(*run, interval);
  return interval;
}

void run_steps(void *context, uint32_t worker, uint32_t interval) {
  run_t *run = static_cast<run_t *>(context);
  const array_t<step_t> &steps = run->prepared.function->steps;
  for (uint32_t i = first_step(*run, interval); interval != pool_out;
       interval = pass_barrier(run, worker, i, &i))
    for (; i < steps.count && steps.data[i].kernel; ++i)
      launch(*run, i, worker);
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

void report(run_t *run, uint32_t interval, uint32_t steps_done) {
  uint64_t reached = (uint64_t)interval << 32 | steps_done;
  if (!run->call->progress || run->cancelled || reached == run->reported)
    return;
  run->reported = reached;
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
  const array_t<step_t> &steps = run->prepared.function->steps;
  for (uint32_t i = first_step(*run, interval); interval != pool_out;
       interval = pass_barrier(run, worker, i, &i)) {
    measure(run); // a wait belongs to the launch before it
    report(run, interval, i);
    for (; i < steps.count && steps.data[i].kernel; ++i) {
      launch(*run, i, worker);
      run->last_launch = i;
      measure(run);
      report(run, interval, i + 1);
    }
  }
}

/* Runs a prepared call. */
kiln_status_t run_call(run_t *run) {
  const kiln_function &function = *run->prepared.function;
  shares_reset(run->pool);
  if (function.branches)
    run->place.store(walk(run, 0, 0), std::memory_order_relaxed);
  bool watched = run->call->progress || run->call->profile;
  pool_run(run->pool, watched ? run_steps_watched : run_steps, run);
  if (watched) { // the first worker need not have been there when the last step was done
    measure(run);
    report(run, (uint32_t)(run->reported >> 32), function.steps.count);
  }
  if (run->status)
    return run->status;
  if (run->cancelled)
    return fail(run->error, KILN_CANCELLED, "function %s: cancelled by the progress hook",
                function.name);
  if (run->call->dims_after && function.dims.count != 0)
    memcpy(run->call->dims_after, run->prepared.dims, function.dims.count * sizeof(int64_t));
  return KILN_OK;
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
  run_t run = {{}, pool, call, {0}, KILN_OK, error, false, 0, 0, 0};
  kiln_status_t status = call_prepare(function, call, pool->workers, &run.prepared, error);
  if (status)
    fail_within(error, status, "function %s", function->name);
  else
    status = run_call(&run);
  pool_release(pool);
  return status;
}
