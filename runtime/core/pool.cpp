// The workers of a call. They run the same schedule side by side (SPMD) and meet at barriers: a
// counter of arrivals and a generation number, whose change is the reversed sense. The last to
// arrive decides for all whether the job goes on: a decision read from a flag that anyone may set
// at any time could differ between workers, and one would wait for ever at a barrier that another
// never reaches.

#include "core/pool.h"

#include "core/error.h"

#include <errno.h>
#include <inttypes.h>
#include <new>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

namespace kiln {

/* About 50 to 100 microseconds of spinning when every worker has a CPU; next to none when not. */
static constexpr uint32_t spins_alone = 4096, spins_crowded = 32;
static constexpr uint32_t max_workers = 1024;
static constexpr size_t stack_bytes = 1u << 20;

bool pool_claim(kiln_pool *pool) { return !pool->busy.exchange(true, std::memory_order_acquire); }
void pool_release(kiln_pool *pool) { pool->busy.store(false, std::memory_order_release); }

bool pool_barrier(kiln_pool *pool) {
  // The generation cannot change before this worker has arrived.
  uint32_t generation = pool->generation.value.load(std::memory_order_relaxed);
  if (pool->arrived.fetch_add(1, std::memory_order_acq_rel) + 1 == pool->workers) {
    pool->arrived.store(0, std::memory_order_relaxed);
    pool->stopping = pool->stop_request.load(std::memory_order_relaxed);
    wait_word_advance(&pool->generation);
  } else {
    wait_word_wait(&pool->generation, generation, pool->spins);
  }
  return !pool->stopping;
}

void pool_stop(kiln_pool *pool) { pool->stop_request.store(true, std::memory_order_relaxed); }

void pool_run(kiln_pool *pool, job_fn job, void *context) {
  pool->job = job;
  pool->context = context;
  pool->stop_request.store(false, std::memory_order_relaxed);
  if (pool->workers > 1)
    wait_word_advance(&pool->epoch);
  job(context, 0);
  pool_barrier(pool);
}

static void *run_worker(void *argument) {
  pool_thread_t *self = static_cast<pool_thread_t *>(argument);
  kiln_pool *pool = self->pool;
  for (uint32_t epoch = 0;; ++epoch) {
    wait_word_wait(&pool->epoch, epoch, pool->spins);
    if (pool->quit)
      return nullptr;
    pool->job(pool->context, self->worker);
    pool_barrier(pool);
  }
}

static int start_thread(pool_thread_t *thread) {
  pthread_attr_t attributes;
  int code = pthread_attr_init(&attributes);
  if (code != 0)
    return code;
  pthread_attr_setstacksize(&attributes, stack_bytes); // kernels keep their tiles in scratch
  // Signals are the program's business: workers take none.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  code = pthread_create(&thread->thread, &attributes, run_worker, thread);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  pthread_attr_destroy(&attributes);
  return code;
}

static kiln_pool *allocate_pool(uint32_t workers) {
  void *memory = nullptr;
  if (posix_memalign(&memory, alignof(kiln_pool), sizeof(kiln_pool)) != 0)
    return nullptr;
  kiln_pool *pool = new (memory) kiln_pool();
  pool->threads = static_cast<pool_thread_t *>(calloc(workers, sizeof(pool_thread_t)));
  if (pool->threads && wait_word_init(&pool->epoch)) {
    if (wait_word_init(&pool->generation))
      return pool;
    wait_word_destroy(&pool->epoch);
  }
  free(pool->threads);
  free(pool);
  return nullptr;
}

} // namespace kiln

using namespace kiln;

kiln_status_t kiln_pool_create(uint32_t workers, kiln_pool_t **result, kiln_error *error) {
  if (!result)
    return fail(error, KILN_INVALID_ARGUMENT, "expected a place for the pool");
  if (workers == 0)
    workers = topology_cores();
  if (workers > max_workers)
    return fail(error, KILN_INVALID_ARGUMENT, "expected at most %u workers, found %" PRIu32,
                max_workers, workers);
  kiln_pool *pool = allocate_pool(workers);
  if (!pool)
    return fail(error, KILN_OUT_OF_MEMORY, "a pool of %" PRIu32 " workers", workers);
  pool->workers = workers;
  pool->spins = workers <= topology_cpus() ? spins_alone : spins_crowded;
  for (uint32_t worker = 1; worker < workers; ++worker) {
    pool_thread_t *thread = &pool->threads[worker];
    thread->pool = pool;
    thread->worker = worker;
    if (int code = start_thread(thread)) {
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

uint32_t kiln_pool_workers(const kiln_pool_t *pool) { return pool->workers; }

void kiln_pool_destroy(kiln_pool_t *pool) {
  if (!pool)
    return;
  pool->quit = true;
  wait_word_advance(&pool->epoch);
  for (uint32_t i = 1; i <= pool->started; ++i)
    pthread_join(pool->threads[i].thread, nullptr);
  wait_word_destroy(&pool->generation);
  wait_word_destroy(&pool->epoch);
  free(pool->threads);
  free(pool);
}
