/* Workers that run one job together. */
#ifndef KILN_CORE_POOL_H
#define KILN_CORE_POOL_H

#include "core/wait.h"
#include "kiln/kiln.h"

#include <pthread.h>

namespace kiln {

/* The worker's number is 0 for the caller of pool_run, 1 … workers-1 for the pool's threads. */
using job_fn = void (*)(void *context, uint32_t worker);

struct pool_thread_t {
  kiln_pool *pool;
  uint32_t worker;
  pthread_t thread;
};

} // namespace kiln

struct kiln_pool {
  uint32_t workers, started, spins;
  std::atomic<bool> busy; /* a job is running */

  /* Written by the caller of pool_run before it advances `epoch`. */
  kiln::job_fn job;
  void *context;
  bool quit;
  bool stopping; /* the barrier's decision, written by the last worker to arrive */
  kiln::pool_thread_t *threads;

  /* On lines of their own: each is written by one worker while the others read it. */
  alignas(64) kiln::wait_word_t epoch;       /* one more for every job */
  alignas(64) std::atomic<uint32_t> arrived; /* at the barrier */
  alignas(64) kiln::wait_word_t generation;  /* of the barrier */
  alignas(64) std::atomic<bool> stop_request;
};

namespace kiln {

/* Claims the pool for one caller; false when it runs a job already. */
bool pool_claim(kiln_pool *pool);
void pool_release(kiln_pool *pool);

/* Runs job(context, worker) once on every worker of a claimed pool; returns when all are done. */
void pool_run(kiln_pool *pool, job_fn job, void *context);

/* Waits for all workers. False when the job is to stop: all workers get the same answer. */
bool pool_barrier(kiln_pool *pool);

/* Asks that the next barrier tells all workers to stop. */
void pool_stop(kiln_pool *pool);

/* Physical cores this process may run on, and logical ones; at least 1. */
uint32_t topology_cores();
uint32_t topology_cpus();

} // namespace kiln

#endif /* KILN_CORE_POOL_H */
