/* Workers that run one job together. */
#ifndef KILN_CORE_POOL_H
#define KILN_CORE_POOL_H

#include "core/wait.h"
#include "kiln/kiln.h"

#include <pthread.h>

namespace kiln {

/* A job is a number of intervals with barriers between them. The function runs on each worker that
 * takes part: from `interval` on, until pool_barrier says that this worker is out. The worker's
 * number is 0 for the caller of pool_run, 1 … workers-1 for the pool's threads. Which workers take
 * part in an interval is not known beforehand, so the work must be such that any can do all of it.
 */
using job_fn = void (*)(void *context, uint32_t worker, uint32_t interval);

constexpr uint32_t pool_out = UINT32_MAX;

/* A worker's place, on lines of its own. */
struct alignas(64) seat_t {
  std::atomic<uint64_t> share; /* of the items of a launch; see share.h */
  alignas(64) kiln_pool *pool;
  uint32_t worker;
  uint32_t seen; /* the generation in which it last had nothing to do */
  pthread_t thread;
};

} // namespace kiln

struct kiln_pool {
  uint32_t workers, started;
  uint64_t barrier_spin_ns, idle_spin_ns;
  std::atomic<bool> claimed; /* a caller holds it */
  std::atomic<bool> quit;
  kiln::seat_t *seats;

  /* Written by the caller of pool_run while no job runs. */
  kiln::job_fn job;
  void *context;
  uint32_t first; /* generation of the job's first interval */
  uint32_t alone; /* interval of a pool of one worker */

  /* On lines of their own: written by one worker while the others read. */
  alignas(64) std::atomic<uint64_t> state;
  alignas(64) kiln::bell_t bell; /* rings when the generation changes */
  alignas(64) std::atomic<bool> stop_request;
};

namespace kiln {

/* A pool of so many workers, however few CPUs there are. */
kiln_status_t pool_create(uint32_t workers, kiln_pool **pool, kiln_error *error);

/* Claims the pool for one caller; false when it runs a job already. */
bool pool_claim(kiln_pool *pool);
void pool_release(kiln_pool *pool);

/* Runs a job on a claimed pool; returns when all its intervals are done. */
void pool_run(kiln_pool *pool, job_fn job, void *context);

/* Ends the worker's part of an interval: waits until all who take part have, then returns the next
 * interval, or pool_out when the worker has to return from the job. `last`: the interval is the
 * job's last. `moved` (may be NULL): whether this worker is the one that moved the job on: exactly
 * one is, for each interval but the first. */
uint32_t pool_barrier(kiln_pool *pool, uint32_t worker, bool last, bool *moved = nullptr);

/* Called by a worker in an interval: it is to be the job's last. */
void pool_stop(kiln_pool *pool);

/* Physical cores this process may run on, and logical ones, at least 1; both no more than the CPU
 * time that a container grants. */
uint32_t topology_cores();
uint32_t topology_cpus();

/* The CPUs' worth of time that a Linux control group grants, at most `most`. `membership` is
 * /proc/self/cgroup, `mount` is /sys/fs/cgroup. */
uint32_t quota_cpus(const char *membership, const char *mount, uint32_t most);

} // namespace kiln

#endif /* KILN_CORE_POOL_H */
