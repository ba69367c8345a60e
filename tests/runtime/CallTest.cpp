// Calls: results, and every way in which a caller can be wrong.

#include "ToyCall.h"

#include <gtest/gtest.h>

#include <thread>

using namespace kiln::test;

namespace {

#define EXPECT_SAYS(text, part) EXPECT_NE(std::string(text).find(part), std::string::npos) << (text)

TEST(Call, ComputesWhatTheScheduleSays) {
  Opened toy{Toy(imagePath())};
  ASSERT_EQ(toy.status, KILN_OK) << toy.text();
  PoolPtr pool = makePool(1);
  ToyCall call(toy.model, 1);
  ASSERT_EQ(call.run(pool.get(), toy.model), KILN_OK) << call.text();
  EXPECT_EQ(call.y, call.expectedY());
  for (size_t i = 0; i < call.picked.size(); ++i)
    EXPECT_EQ(call.picked[i], call.y[call.indices[i]]);
}

TEST(Call, AppliesRelativeRelocations) {
  for (const char *image : {"kernels.so", "kernels_relr.so"}) {
    Opened toy{Toy(imagePath(image))};
    ASSERT_EQ(toy.status, KILN_OK) << toy.text();
    PoolPtr pool = makePool(1);
    ToyCall call(toy.model, 1);
    ASSERT_EQ(call.run(pool.get(), toy.model), KILN_OK) << call.text();
    const float *sum = call.state.data<float>();
    for (size_t i = 0; i < call.y.size(); ++i) // 1 and 10 come from a table of addresses
      EXPECT_EQ(sum[i], call.y[i] + (i % 2 == 0 ? 1.0f : 10.0f)) << image;
  }
}

TEST(Call, KeepsStateBetweenCalls) {
  Opened toy{Toy(imagePath())};
  PoolPtr pool = makePool(1);
  ToyCall call(toy.model, 1, 16);
  ASSERT_EQ(call.run(pool.get(), toy.model), KILN_OK);
  float once = call.state.data<float>()[3];
  ASSERT_EQ(call.run(pool.get(), toy.model), KILN_OK);
  EXPECT_EQ(call.state.data<float>()[3], 2 * once);
}

TEST(Call, GivesTheSameWithAnyNumberOfWorkers) {
  Opened toy{Toy(imagePath())};
  for (uint32_t workers : {1u, 2u, 4u, 7u}) {
    PoolPtr pool = makePool(workers);
    ASSERT_TRUE(pool);
    for (int64_t n : {1, 2, 3, 6, 7, 8, 63, 64})
      for (int round = 0; round < 20; ++round) {
        ToyCall call(toy.model, workers, n, 1);
        ASSERT_EQ(call.run(pool.get(), toy.model), KILN_OK) << call.text();
        ASSERT_EQ(call.y, call.expectedY()) << workers << " workers, n = " << n;
        ASSERT_EQ(call.picked[0], call.y[0]);
      }
  }
}

TEST(Call, AllowsLaunchesWithoutItems) {
  Opened toy{Toy(imagePath())};
  PoolPtr pool = makePool(2);
  ToyCall call(toy.model, 2, 5, 0);
  call.inputs[1] = call.outputs[1] = {nullptr, 0};
  EXPECT_EQ(call.run(pool.get(), toy.model), KILN_OK) << call.text();
  EXPECT_EQ(call.y, call.expectedY());
}

TEST(Call, NamesADimOutOfBounds) {
  Opened toy{Toy(imagePath())};
  PoolPtr pool = makePool(1);
  ToyCall call(toy.model, 1);
  call.dims[0] = 65;
  EXPECT_EQ(call.run(pool.get(), toy.model), KILN_DIM_OUT_OF_BOUNDS);
  EXPECT_EQ(call.text(), "function main: dim n: expected 1 to 64, found 65");
  call.dims[0] = -1;
  EXPECT_EQ(call.run(pool.get(), toy.model), KILN_DIM_OUT_OF_BOUNDS);
}

TEST(Call, NamesABufferThatIsTooSmall) {
  Opened toy{Toy(imagePath())};
  PoolPtr pool = makePool(1);
  {
    ToyCall call(toy.model, 1);
    call.inputs[0].size_bytes = 199;
    EXPECT_EQ(call.run(pool.get(), toy.model), KILN_BUFFER_TOO_SMALL);
    EXPECT_EQ(call.text(), "function main: input x: expected 200 bytes, found 199");
  }
  {
    ToyCall call(toy.model, 1);
    call.outputs[1].size_bytes = 0;
    EXPECT_EQ(call.run(pool.get(), toy.model), KILN_BUFFER_TOO_SMALL);
    EXPECT_SAYS(call.text(), "output picked");
  }
  {
    ToyCall call(toy.model, 1);
    call.states[0].size_bytes = 511;
    EXPECT_EQ(call.run(pool.get(), toy.model), KILN_BUFFER_TOO_SMALL);
    EXPECT_SAYS(call.text(), "state sum: expected 512 bytes, found 511");
  }
  {
    ToyCall call(toy.model, 1);
    call.call.workspace.size_bytes -= 1;
    EXPECT_EQ(call.run(pool.get(), toy.model), KILN_BUFFER_TOO_SMALL);
    EXPECT_SAYS(call.text(), "workspace: expected");
  }
}

TEST(Call, RefusesMissingBuffers) {
  Opened toy{Toy(imagePath())};
  PoolPtr pool = makePool(1);
  ToyCall call(toy.model, 1);
  call.inputs[0].data = nullptr;
  EXPECT_EQ(call.run(pool.get(), toy.model), KILN_INVALID_ARGUMENT);
  EXPECT_SAYS(call.text(), "input x: expected 200 bytes, found NULL");
  call.call.inputs = nullptr;
  EXPECT_EQ(call.run(pool.get(), toy.model), KILN_INVALID_ARGUMENT);
}

TEST(Call, RefusesMisalignedBuffers) {
  Opened toy{Toy(imagePath())};
  PoolPtr pool = makePool(1);
  ToyCall call(toy.model, 1, 10);
  AlignedBytes large(1024);
  call.states[0] = {large.data() + 4, 1000};
  EXPECT_EQ(call.run(pool.get(), toy.model), KILN_INVALID_ARGUMENT);
  EXPECT_SAYS(call.text(), "state sum: not aligned to 64 bytes");
  call.states[0] = call.state.buffer();
  call.inputs[0] = {large.data() + 2, 1000};
  EXPECT_EQ(call.run(pool.get(), toy.model), KILN_INVALID_ARGUMENT);
  EXPECT_SAYS(call.text(), "input x: not aligned to 4 bytes");
}

TEST(Call, NamesAnIndexOutOfRange) {
  Opened toy{Toy(imagePath())};
  PoolPtr pool = makePool(1);
  for (int32_t bad : {50, -1, INT32_MIN, INT32_MAX}) {
    ToyCall call(toy.model, 1);
    call.indices[2] = bad;
    EXPECT_EQ(call.run(pool.get(), toy.model), KILN_INDEX_OUT_OF_RANGE);
    EXPECT_EQ(call.text(), "function main: input indices: element 2: expected 0 <= index < 50, "
                           "found " +
                               std::to_string(bad));
  }
}

TEST(Call, ChecksWideIndices) {
  Toy toy(imagePath());
  toy.function().inputs[1]->dtype = kiln::schema::DType_i64;
  Opened opened(toy);
  ASSERT_EQ(opened.status, KILN_OK) << opened.text();
  PoolPtr pool = makePool(1);
  ToyCall call(opened.model, 1, 50, 2);
  AlignedBytes wide(16);
  wide.data<int64_t>()[1] = int64_t(1) << 32; // 0 if only its low half were looked at
  call.inputs[1] = wide.buffer();
  EXPECT_EQ(call.run(pool.get(), opened.model), KILN_INDEX_OUT_OF_RANGE);
  EXPECT_SAYS(call.text(), "element 1: expected 0 <= index < 50, found 4294967296");
}

TEST(Call, RefusesAPlanThatLeavesItsSpaceOnlyInBetween) {
  // offset = 64 * (n mod 2), written as n - 2 * floor(n / 2): sound at n = 2 and at n = 64.
  using namespace kiln::schema;
  Toy toy(imagePath());
  toy.function().dims[0]->min = 2;
  toy.function().steps[0]->bindings[1]->offset = expr({{ExprOp_dim, 0},
                                                       {ExprOp_dim, 0},
                                                       {ExprOp_constant, 2},
                                                       {ExprOp_floor_div, 0},
                                                       {ExprOp_constant, -2},
                                                       {ExprOp_mul, 0},
                                                       {ExprOp_add, 0},
                                                       {ExprOp_constant, 64},
                                                       {ExprOp_mul, 0}});
  Opened opened(toy);
  ASSERT_EQ(opened.status, KILN_OK) << opened.text();
  PoolPtr pool = makePool(1);
  ToyCall even(opened.model, 1, 10), odd(opened.model, 1, 11);
  EXPECT_EQ(even.run(pool.get(), opened.model), KILN_OK);
  EXPECT_EQ(odd.run(pool.get(), opened.model), KILN_CORRUPT);
  EXPECT_SAYS(odd.text(), "step 0 (toy.scale): binding 1: offset 64 + size 64 is outside its space "
                          "of 64 bytes");
}

struct Hook {
  uint32_t stop_at = UINT32_MAX, calls = 0, last = 0, total = 0;
  static int call(void *user, uint32_t done, uint32_t total) {
    Hook &hook = *static_cast<Hook *>(user);
    ++hook.calls;
    hook.last = done;
    hook.total = total;
    return done >= hook.stop_at;
  }
};

TEST(Call, ReportsProgress) {
  Opened toy{Toy(imagePath())};
  PoolPtr pool = makePool(2);
  ToyCall call(toy.model, 2);
  Hook hook;
  call.call.progress = Hook::call;
  call.call.progress_user = &hook;
  ASSERT_EQ(call.run(pool.get(), toy.model), KILN_OK);
  EXPECT_LE(hook.calls, 6u); // not of steps that were done without the first worker
  EXPECT_EQ(hook.last, 6u);
  EXPECT_EQ(hook.total, 6u);
}

TEST(Call, CancelsAtAnyStepWithoutDeadlock) {
  Opened toy{Toy(imagePath())};
  for (uint32_t workers : {1u, 2u, 4u, 7u}) {
    PoolPtr pool = makePool(workers);
    for (uint32_t step = 1; step <= 6; ++step)
      for (int round = 0; round < 20; ++round) {
        ToyCall call(toy.model, workers);
        Hook hook;
        hook.stop_at = step;
        call.call.progress = Hook::call;
        call.call.progress_user = &hook;
        ASSERT_EQ(call.run(pool.get(), toy.model), KILN_CANCELLED);
        ToyCall after(toy.model, workers); // the pool works on
        ASSERT_EQ(after.run(pool.get(), toy.model), KILN_OK);
        ASSERT_EQ(after.y, after.expectedY());
      }
  }
}

TEST(Call, MeasuresLaunches) {
  Opened toy{Toy(imagePath())};
  const kiln_function_t *function = kiln_model_function(toy.model, "main");
  PoolPtr pool = makePool(2);
  ToyCall call(toy.model, 2);
  std::vector<uint64_t> ns(kiln_function_step_count(function));
  kiln_profile profile = {ns.data(), ns.size()};
  call.call.profile = &profile;
  ASSERT_EQ(call.run(pool.get(), toy.model), KILN_OK);
  EXPECT_GT(ns[0] + ns[2], 0u);
  EXPECT_EQ(ns[1], 0u); // a barrier's wait belongs to the launch before it
  EXPECT_STREQ(kiln_function_step_name(function, 0), "toy.scale");
  EXPECT_STREQ(kiln_function_step_name(function, 1), "");
}

TEST(Call, RefusesASecondCallOnABusyPool) {
  Opened toy{Toy(imagePath())};
  PoolPtr pool = makePool(1);
  ToyCall outer(toy.model, 1);
  struct Nested {
    Opened &toy;
    kiln_pool_t *pool;
    kiln_status_t status;
  } nested = {toy, pool.get(), KILN_OK};
  outer.call.progress_user = &nested;
  outer.call.progress = [](void *user, uint32_t, uint32_t) {
    Nested &n = *static_cast<Nested *>(user);
    ToyCall inner(n.toy.model, 1);
    n.status = inner.run(n.pool, n.toy.model);
    return 0;
  };
  EXPECT_EQ(outer.run(pool.get(), toy.model), KILN_OK);
  EXPECT_EQ(nested.status, KILN_INVALID_ARGUMENT);
}

TEST(Call, RunsOneModelFromManyThreads) {
  Opened toy{Toy(imagePath())};
  std::vector<std::thread> threads;
  std::atomic<int> good{0};
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      PoolPtr pool = makePool(2);
      for (int round = 0; round < 50; ++round) {
        ToyCall call(toy.model, 2, 1 + round);
        good += call.run(pool.get(), toy.model) == KILN_OK && call.y == call.expectedY();
      }
    });
  for (std::thread &thread : threads)
    thread.join();
  EXPECT_EQ(good, 200);
}

TEST(Call, MemoryFollowsTheDims) {
  Opened toy{Toy(imagePath())};
  const kiln_function_t *function = kiln_model_function(toy.model, "main");
  kiln_memory_needs small, large;
  int64_t one[] = {1, 0, 1}, many[] = {64, 8, 4};
  ASSERT_EQ(kiln_function_memory(function, one, 2, &small, nullptr), KILN_OK);
  ASSERT_EQ(kiln_function_memory(function, many, 2, &large, nullptr), KILN_OK);
  EXPECT_EQ(small.arena_bytes, 64u);
  EXPECT_EQ(large.arena_bytes, 256u);
  EXPECT_EQ(small.arena_lower_bound_bytes, 4u);
  EXPECT_EQ(large.scratch_bytes, 64u);
  uint64_t bytes;
  ASSERT_EQ(kiln_function_state_bytes(function, 0, many, &bytes, nullptr), KILN_OK);
  EXPECT_EQ(bytes, 1024u);
  EXPECT_EQ(kiln_function_state_bytes(function, 1, many, &bytes, nullptr), KILN_NOT_FOUND);
}

} // namespace
