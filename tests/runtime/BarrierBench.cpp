// Prints what meeting costs: nanoseconds of a barrier, and of a launch with its barrier when its
// items do nothing. Built with the tests, run by hand on an idle machine:
//   kiln_barrier_bench [workers, default 2]

#include "core/pool.h"
#include "core/share.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <vector>

using namespace kiln;

namespace {

struct Job {
  kiln_pool_t *pool;
  uint32_t intervals, units; // 0 units: barriers only
  std::vector<uint32_t> ranges;

  static void run(void *context, uint32_t worker, uint32_t interval) {
    Job &job = *static_cast<Job *>(context);
    while (interval != pool_out) {
      if (job.units != 0)
        for (units_t taken; share_take(job.pool, worker, {interval + 1, job.units}, &taken);)
          ++job.ranges[worker * 16];
      interval = pool_barrier(job.pool, worker, interval + 1 == job.intervals);
    }
  }
};

/* Nanoseconds of an interval: the median of many jobs. */
double measure(kiln_pool_t *pool, uint32_t units, double *ranges) {
  std::vector<double> times;
  uint64_t taken = 0;
  const uint32_t jobs = 200, intervals = 1000;
  for (uint32_t i = 0; i < jobs; ++i) {
    Job job{pool, intervals, units, std::vector<uint32_t>(16 * kiln_pool_workers(pool))};
    shares_reset(pool);
    uint64_t begin = now_ns();
    pool_run(pool, Job::run, &job);
    times.push_back(double(now_ns() - begin) / intervals);
    for (uint32_t count : job.ranges)
      taken += count;
  }
  std::nth_element(times.begin(), times.begin() + jobs / 2, times.end());
  *ranges = double(taken) / jobs / intervals;
  return times[jobs / 2];
}

} // namespace

int main(int argc, char **argv) {
  uint32_t workers = argc > 1 ? uint32_t(std::atoi(argv[1])) : 2;
  kiln_pool_t *pool = nullptr;
  kiln_error error;
  if (workers == 0 || pool_create(workers, &pool, &error) != KILN_OK) {
    std::fprintf(stderr, "%u workers: %s\n", workers, workers == 0 ? "at least 1" : error.text);
    return 1;
  }
  double ranges;
  std::printf("%u workers: barrier %.0f ns\n", workers, measure(pool, 0, &ranges));
  for (uint32_t units : {2u, 16u, 36u, 96u, 3072u}) {
    double ns = measure(pool, units, &ranges);
    std::printf("  launch of %4u empty items, barrier included: %.0f ns, %.1f ranges\n", units, ns,
                ranges);
  }
  kiln_pool_destroy(pool);
}
