// The pool: every worker runs every job once, barriers hold, and a stop reaches all workers at the
// same barrier. Run under ThreadSanitizer too (tests/runtime/README.md).

#include "core/pool.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

using namespace kiln;

namespace {

class Pool : public testing::TestWithParam<uint32_t> {
protected:
  void SetUp() override {
    kiln_error error;
    ASSERT_EQ(kiln_pool_create(GetParam(), &pool, &error), KILN_OK) << error.text;
  }
  void TearDown() override { kiln_pool_destroy(pool); }
  kiln_pool_t *pool = nullptr;
};

TEST_P(Pool, RunsEveryWorkerOnce) {
  std::vector<int> runs(GetParam());
  for (int job = 0; job < 200; ++job)
    pool_run(
        pool, [](void *context, uint32_t w) { ++(*static_cast<std::vector<int> *>(context))[w]; },
        &runs);
  for (int count : runs)
    EXPECT_EQ(count, 200);
}

struct Counters {
  kiln_pool_t *pool;
  std::vector<uint32_t> counts; // plain memory: only the barriers order the accesses
  bool good = true;
};

TEST_P(Pool, BarriersOrderWhatWorkersWrite) {
  Counters counters{pool, std::vector<uint32_t>(GetParam())};
  pool_run(
      pool,
      [](void *context, uint32_t worker) {
        Counters &c = *static_cast<Counters *>(context);
        for (uint32_t round = 1; round <= 300; ++round) {
          c.counts[worker] = round;
          pool_barrier(c.pool);
          if (worker == round % c.counts.size())
            for (uint32_t count : c.counts)
              c.good = c.good && count == round;
          pool_barrier(c.pool);
        }
      },
      &counters);
  EXPECT_TRUE(counters.good);
}

struct Stops {
  kiln_pool_t *pool;
  std::vector<uint32_t> barriers;
  uint32_t stop_at, stopper;
};

TEST_P(Pool, StopsAllWorkersAtTheSameBarrier) {
  for (uint32_t round = 0; round < 100; ++round) {
    Stops stops{pool, std::vector<uint32_t>(GetParam()), round % 7, round % GetParam()};
    pool_run(
        pool,
        [](void *context, uint32_t worker) {
          Stops &s = *static_cast<Stops *>(context);
          for (;;) {
            if (worker == s.stopper && s.barriers[worker] == s.stop_at)
              pool_stop(s.pool);
            if (!pool_barrier(s.pool))
              return;
            ++s.barriers[worker];
          }
        },
        &stops);
    for (uint32_t count : stops.barriers)
      ASSERT_EQ(count, stops.stop_at);
  }
}

TEST_P(Pool, WakesAfterSleeping) {
  std::vector<int> runs(GetParam());
  for (int job = 0; job < 5; ++job) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    pool_run(
        pool, [](void *context, uint32_t w) { ++(*static_cast<std::vector<int> *>(context))[w]; },
        &runs);
  }
  for (int count : runs)
    EXPECT_EQ(count, 5);
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

TEST(PoolCreate, RefusesAnAbsurdNumberOfWorkers) {
  kiln_pool_t *pool = nullptr;
  kiln_error error;
  EXPECT_EQ(kiln_pool_create(UINT32_MAX, &pool, &error), KILN_INVALID_ARGUMENT);
  EXPECT_STREQ(error.text, "expected at most 1024 workers, found 4294967295");
}

TEST(PoolCreate, DestroysAPoolThatNeverRan) {
  for (int i = 0; i < 50; ++i) {
    kiln_pool_t *pool = nullptr;
    ASSERT_EQ(kiln_pool_create(4, &pool, nullptr), KILN_OK);
    kiln_pool_destroy(pool);
  }
  kiln_pool_destroy(nullptr);
}

} // namespace
