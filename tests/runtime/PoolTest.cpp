// The pool: intervals follow each other and barriers order what their workers write, whoever takes
// part; a stop ends the job at the same barrier for all. Run under ThreadSanitizer too
// (runtime/README.md).

#include "core/pool.h"
#include "core/share.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <thread>
#include <vector>

using namespace kiln;

namespace {

/* A job of some intervals, each a launch of `units` units: unit u of interval i writes i + 1 to
 * cell u, after all cells of the interval before were seen to hold i. Plain memory: only the
 * barriers order the accesses. */
struct Relay {
  kiln_pool_t *pool;
  uint32_t intervals, units;
  uint32_t stop_in = UINT32_MAX; // interval
  bool watch = true;             // all cells for every unit, or only its own
  std::vector<uint32_t> cells = std::vector<uint32_t>(2 * units);
  std::vector<uint32_t> visits = std::vector<uint32_t>(kiln_pool_workers(pool)); // of each worker
  std::atomic<uint32_t> wrong{0};

  // Even intervals write the first half of the cells, odd ones the second.
  void compute(uint32_t interval, uint32_t unit) {
    uint32_t *before = cells.data() + (interval + 1) % 2 * units;
    uint32_t *after = cells.data() + interval % 2 * units;
    for (uint32_t u = watch ? 0 : unit; u < (watch ? units : unit + 1); ++u)
      wrong += before[u] != interval;
    wrong += after[unit] != (interval < 2 ? 0 : interval - 1);
    after[unit] = interval + 1;
  }

  static void work(void *context, uint32_t worker, uint32_t interval) {
    Relay &relay = *static_cast<Relay *>(context);
    while (interval != pool_out) {
      ++relay.visits[worker];
      if (interval == relay.stop_in)
        pool_stop(relay.pool);
      for (units_t taken; share_take(relay.pool, worker, {interval + 1, relay.units}, &taken);)
        for (uint32_t unit = taken.begin; unit < taken.end; ++unit)
          relay.compute(interval, unit);
      interval = pool_barrier(relay.pool, worker, interval + 1 == relay.intervals);
    }
  }

  void run() {
    ASSERT_TRUE(pool_claim(pool));
    shares_reset(pool);
    pool_run(pool, work, this);
    pool_release(pool);
  }

  /* How many intervals were done; UINT32_MAX when cells disagree. */
  uint32_t done() const {
    uint32_t first = cells[0], second = cells[units];
    for (uint32_t u = 0; u < units; ++u)
      if (cells[u] != first || cells[units + u] != second)
        return UINT32_MAX;
    return std::max(first, second);
  }
};

class Pool : public testing::TestWithParam<uint32_t> {
protected:
  void SetUp() override {
    kiln_error error;
    ASSERT_EQ(pool_create(GetParam(), &pool, &error), KILN_OK) << error.text;
  }
  void TearDown() override { kiln_pool_destroy(pool); }
  kiln_pool_t *pool = nullptr;
};

TEST_P(Pool, DoesEveryIntervalOnceAndInOrder) {
  for (uint32_t units : {1u, 2u, 5u, 40u}) {
    Relay relay{pool, 300, units};
    relay.run();
    EXPECT_EQ(relay.done(), 300u);
    EXPECT_EQ(relay.wrong, 0u);
  }
}

TEST_P(Pool, RunsManyShortJobs) {
  for (int job = 0; job < 2000; ++job) {
    Relay relay{pool, uint32_t(1 + job % 3), 7};
    relay.run();
    ASSERT_EQ(relay.done(), uint32_t(1 + job % 3)) << job;
    ASSERT_EQ(relay.wrong, 0u) << job;
  }
}

TEST_P(Pool, LetsWorkersThatHaveACpuTakePart) {
  Relay relay{pool, 400, 4000, UINT32_MAX, false};
  const auto missing = [&] { return std::count(relay.visits.begin(), relay.visits.end(), 0u); };
  for (int round = 0; round < 1000 && missing() != 0; ++round) {
    relay.cells.assign(relay.cells.size(), 0);
    relay.run();
  }
  EXPECT_EQ(missing(), 0);
  EXPECT_EQ(relay.wrong, 0u);
}

TEST_P(Pool, StopsAllWorkersAtTheSameBarrier) {
  for (uint32_t round = 0; round < 200; ++round) {
    Relay relay{pool, 20, 9, round % 20};
    relay.run();
    ASSERT_EQ(relay.done(), round % 20 + 1);
    for (uint32_t visits : relay.visits)
      ASSERT_LE(visits, round % 20 + 1);
    ASSERT_EQ(relay.wrong, 0u);
  }
}

TEST_P(Pool, WakesAfterSleeping) {
  for (int job = 0; job < 5; ++job) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    Relay relay{pool, 10, 100};
    relay.run();
    EXPECT_EQ(relay.done(), 10u);
    EXPECT_EQ(relay.wrong, 0u);
  }
}

INSTANTIATE_TEST_SUITE_P(Workers, Pool, testing::Values(1, 2, 4, 7, 32),
                         testing::PrintToStringParamName());

TEST(PoolCreate, TakesThePhysicalCoresByDefault) {
  kiln_pool_t *pool = nullptr;
  ASSERT_EQ(kiln_pool_create(0, &pool, nullptr), KILN_OK);
  EXPECT_EQ(kiln_pool_workers(pool), topology_cores());
  EXPECT_GE(topology_cpus(), topology_cores());
  kiln_pool_destroy(pool);
}

TEST(PoolCreate, StartsNoMoreWorkersThanThereAreCpus) {
  kiln_pool_t *pool = nullptr;
  ASSERT_EQ(kiln_pool_create(1024, &pool, nullptr), KILN_OK);
  EXPECT_EQ(kiln_pool_workers(pool), std::min(1024u, topology_cpus()));
  kiln_pool_destroy(pool);
}

TEST(PoolCreate, RefusesAnAbsurdNumberOfWorkers) {
  kiln_pool_t *pool = nullptr;
  kiln_error error;
  EXPECT_EQ(kiln_pool_create(UINT32_MAX, &pool, &error), KILN_INVALID_ARGUMENT);
  EXPECT_STREQ(error.text, "expected at most 1024 workers, found 4294967295");
}

TEST(PoolCreate, DestroysAPoolThatNeverRan) {
  for (int i = 0; i < 50; ++i) {
    kiln_pool_t *pool = nullptr;
    ASSERT_EQ(pool_create(4, &pool, nullptr), KILN_OK);
    kiln_pool_destroy(pool);
  }
  kiln_pool_destroy(nullptr);
}

} // namespace
