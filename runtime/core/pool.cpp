// The workers of a call. They run the same schedule side by side (SPMD) and meet at barriers, as an
// elastic team: a barrier waits for those who take part, not for those who could. A thread takes
// part once it really runs; one that waits at a barrier for so long that somebody must have been
// interrupted gives its CPU away and comes back when the barrier has been passed. So a core that
// another program keeps busy costs what that core would have done, and no more.
//
// Everything the team agrees on is one word: the generation (one more for every interval, of all
// jobs), whether a job runs, how many take part, and how many of them have arrived at the barrier.
// The last to arrive moves the word on, and decides with it whether the job is over: a decision
// read from a flag that anyone may set at any time could differ between workers.

#include "core/pool.h"

#include "core/error.h"

#include <errno.h>
#include <inttypes.h>
#include <new>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

namespace kiln {

/* How long to look before sleeping, when every worker may have a CPU and when not. Launches of
 * decoding take tens of microseconds, and what a caller does between two calls some hundreds. */
static constexpr uint64_t barrier_spin_ns = 20'000, idle_spin_ns = 1'000'000, crowded_spin_ns = 0;
static constexpr uint32_t looks_per_clock = 64;
static constexpr uint32_t max_workers = 1024;
static constexpr size_t stack_bytes = 1u << 20;

/* generation << 32 | running << 31 | members << 16 | arrived */
struct state_t {
  uint64_t word;
  uint32_t generation() const { return (uint32_t)(word >> 32); }
  bool running() const { return (word >> 31) & 1; }
  uint32_t members() const { return (uint32_t)(word >> 16) & 0x7fff; }
  bool complete() const { return members() == (word & 0xffff); }
};
static constexpr uint64_t one_member = 1u << 16, one_arrival = 1;

static constexpr uint64_t running_state(uint32_t generation, uint32_t members) {
  return (uint64_t)generation << 32 | (uint64_t)1 << 31 | (uint64_t)members << 16;
}
static constexpr uint64_t idle_state(uint32_t generation) { return (uint64_t)generation << 32; }

static state_t load_state(const kiln_pool *pool) {
  return {pool->state.load(std::memory_order_acquire)};
}
static bool change_state(kiln_pool *pool, state_t *seen, uint64_t wanted) {
  return pool->state.compare_exchange_strong(seen->word, wanted, std::memory_order_seq_cst,
                                             std::memory_order_acquire);
}

bool pool_claim(kiln_pool *pool) {
  return !pool->claimed.exchange(true, std::memory_order_acquire);
}
void pool_release(kiln_pool *pool) { pool->claimed.store(false, std::memory_order_release); }

/* Looks for so long whether the generation is another one; the last state seen. */
static state_t spin(const kiln_pool *pool, uint32_t generation, uint64_t duration_ns) {
  uint64_t end_ns = 0;
  for (uint32_t looks = 1;; ++looks) {
    state_t state = load_state(pool);
    if (state.generation() != generation)
      return state;
    pause_cpu();
    if (looks % looks_per_clock != 0)
      continue;
    uint64_t time_ns = now_ns();
    if (end_ns == 0)
      end_ns = time_ns + duration_ns;
    if (time_ns >= end_ns)
      return state;
  }
}

static bool has_news(const void *context) {
  const seat_t *seat = static_cast<const seat_t *>(context);
  state_t state = {seat->pool->state.load(std::memory_order_seq_cst)};
  return state.generation() != seat->seen;
}

uint32_t pool_barrier(kiln_pool *pool, uint32_t worker, bool last, bool *moved) {
  bool ignored;
  moved = moved ? moved : &ignored;
  *moved = pool->workers == 1;
  if (pool->workers == 1)
    return last || pool->stop_request.load(std::memory_order_relaxed) ? pool_out : ++pool->alone;
  seat_t *seat = &pool->seats[worker];
  state_t state = {pool->state.fetch_add(one_arrival, std::memory_order_seq_cst) + one_arrival};
  uint32_t generation = state.generation();
  bool patient = true;
  while (state.generation() == generation) {
    if (state.complete()) { // one of those who see it moves on; others may still join or leave
      bool over = last || pool->stop_request.load(std::memory_order_relaxed);
      uint64_t next =
          over ? idle_state(generation + 1) : running_state(generation + 1, state.members());
      if (change_state(pool, &state, next)) {
        bell_ring(&pool->bell);
        state = {next};
        *moved = true;
      }
    } else if (patient) {
      state = spin(pool, generation, pool->barrier_spin_ns);
      patient = false;
    } else if (change_state(pool, &state, state.word - one_member - one_arrival)) {
      seat->seen = generation;
      return pool_out;
    }
  }
  // The interval after this one waits for this worker. Otherwise the job is over, and the caller
  // may have begun another.
  if (state.running() && state.generation() == generation + 1)
    return generation + 1 - pool->first;
  seat->seen = generation + 1;
  return pool_out;
}

void pool_stop(kiln_pool *pool) { pool->stop_request.store(true, std::memory_order_relaxed); }

/* Joins whatever job runs, again and again: the caller until its own is over, a thread until the
 * pool is destroyed. */
static void take_part(kiln_pool *pool, seat_t *seat) {
  for (;;) {
    state_t state = load_state(pool);
    if (seat->worker == 0 && !state.running())
      return;
    if (state.generation() == seat->seen) {
      if (!state.running()) // one that left a running job has looked for long enough
        state = spin(pool, seat->seen, pool->idle_spin_ns);
      if (state.generation() == seat->seen)
        bell_sleep(&pool->bell, has_news, seat);
    } else if (!state.running()) {
      if (pool->quit.load(std::memory_order_relaxed))
        return;
      seat->seen = state.generation();
    } else if (change_state(pool, &state, state.word + one_member)) {
      pool->job(pool->context, seat->worker, state.generation() - pool->first);
    }
  }
}

/* Begins a generation when no job runs. */
static void begin(kiln_pool *pool, uint64_t state) {
  pool->state.store(state, std::memory_order_seq_cst);
  bell_ring(&pool->bell);
}

void pool_run(kiln_pool *pool, job_fn job, void *context) {
  pool->job = job;
  pool->context = context;
  pool->first = load_state(pool).generation() + 1;
  pool->alone = 0;
  pool->stop_request.store(false, std::memory_order_relaxed);
  if (pool->workers == 1)
    return job(context, 0, 0);
  begin(pool, running_state(pool->first, 1));
  job(context, 0, 0);
  take_part(pool, &pool->seats[0]);
}

static void *run_worker(void *argument) {
  seat_t *seat = static_cast<seat_t *>(argument);
  take_part(seat->pool, seat);
  return nullptr;
}

static int start_thread(seat_t *seat) {
  pthread_attr_t attributes;
  int code = pthread_attr_init(&attributes);
  if (code != 0)
    return code;
  pthread_attr_setstacksize(&attributes, stack_bytes); // kernels keep their tiles in scratch
  // Signals are the program's business: workers take none.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  code = pthread_create(&seat->thread, &attributes, run_worker, seat);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  pthread_attr_destroy(&attributes);
  return code;
}

static kiln_pool *allocate_pool(uint32_t workers) {
  void *memory = nullptr, *seats = nullptr;
  if (posix_memalign(&memory, alignof(kiln_pool), sizeof(kiln_pool)) != 0)
    return nullptr;
  kiln_pool *pool = new (memory) kiln_pool();
  if (posix_memalign(&seats, alignof(seat_t), workers * sizeof(seat_t)) == 0) {
    pool->seats = static_cast<seat_t *>(seats);
    for (uint32_t worker = 0; worker < workers; ++worker) {
      seat_t *seat = new (&pool->seats[worker]) seat_t();
      seat->pool = pool;
      seat->worker = worker;
    }
    if (bell_init(&pool->bell))
      return pool;
  }
  free(seats);
  free(pool);
  return nullptr;
}

kiln_status_t pool_create(uint32_t workers, kiln_pool **result, kiln_error *error) {
  kiln_pool *pool = allocate_pool(workers);
  if (!pool)
    return fail(error, KILN_OUT_OF_MEMORY, "a pool of %" PRIu32 " workers", workers);
  bool crowded = workers > topology_cpus();
  pool->workers = workers;
  pool->barrier_spin_ns = crowded ? crowded_spin_ns : barrier_spin_ns;
  pool->idle_spin_ns = crowded ? crowded_spin_ns : idle_spin_ns;
  for (uint32_t worker = 1; worker < workers; ++worker) {
    if (int code = start_thread(&pool->seats[worker])) {
      fail(error, KILN_THREADS, "worker %" PRIu32 " of %" PRIu32 ": %s", worker, workers,
           strerror(code));
      kiln_pool_destroy(pool);
      return KILN_THREADS;
    }
    ++pool->started;
  }
  *result = pool;
  return KILN_OK;
}

} // namespace kiln

using namespace kiln;

kiln_status_t kiln_pool_create(uint32_t workers, kiln_pool_t **result, kiln_error *error) {
  if (!result)
    return fail(error, KILN_INVALID_ARGUMENT, "expected a place for the pool");
  if (workers > max_workers)
    return fail(error, KILN_INVALID_ARGUMENT, "expected at most %u workers, found %" PRIu32,
                max_workers, workers);
  uint32_t cpus = topology_cpus();
  if (workers == 0)
    workers = topology_cores();
  return pool_create(workers < cpus ? workers : cpus, result, error);
}

uint32_t kiln_pool_workers(const kiln_pool_t *pool) { return pool->workers; }

void kiln_pool_destroy(kiln_pool_t *pool) {
  if (!pool)
    return;
  pool->quit.store(true, std::memory_order_relaxed);
  begin(pool, idle_state(load_state(pool).generation() + 1));
  for (uint32_t i = 1; i <= pool->started; ++i)
    pthread_join(pool->seats[i].thread, nullptr);
  bell_destroy(&pool->bell);
  free(pool->seats);
  free(pool);
}
