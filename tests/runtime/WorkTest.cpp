// How a launch's items are shared out: each is computed once, whoever computes it and however long
// it takes; scratch keeps its bytes between the ranges of a launch; launches have counters of their
// own. Run under ThreadSanitizer too (runtime/README.md).

#include "ToyCall.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

using namespace kiln::test;

namespace {

/* A function of n (items of each launch) and pace that launches `tally` five times:
 * a b | a c | b, where a stroke is a barrier. */
struct Tally : Toy {
  static constexpr uint32_t launches[3] = {2, 2, 1}; // of a, b, c

  explicit Tally(const std::string &imagePath, uint32_t counters = 2) : Toy(imagePath) {
    program.functions.clear();
    program.kernels.clear();
    code().kernels.clear();
    auto kernel = std::make_unique<kiln::schema::KernelT>();
    kernel->name = kernel->description = "tally";
    kernel->bindings = 2;
    program.kernels.push_back(std::move(kernel));
    auto entry = std::make_unique<kiln::schema::KernelCodeT>();
    entry->entry = symbolAddress(image, "tally");
    entry->items = dim(0);
    entry->scratch_bytes = constant(16);
    entry->implementation = "C";
    entry->counters = counters;
    code().kernels.push_back(std::move(entry));

    auto function = std::make_unique<kiln::schema::FunctionT>();
    function->name = "main";
    for (const char *name : {"n", "pace"}) {
      auto dim = std::make_unique<kiln::schema::DimT>();
      dim->name = name;
      dim->max = int64_t(1) << 40;
      function->dims.push_back(std::move(dim));
    }
    for (const char *name : {"a", "b", "c", "report"}) {
      bool report = *name == 'r';
      function->outputs.push_back(value(name, kiln::schema::DType_i32, report ? -1 : 0));
      if (report)
        function->outputs.back()->shape[0] = kiln::schema::Axis(-1, 48);
    }
    function->arena_bytes = constant(0);
    function->arena_lower_bound_bytes = constant(0);
    program.functions.push_back(std::move(function));
    for (char step : std::string("ab|ac|b")) {
      if (step == '|') {
        addBarrier();
        continue;
      }
      auto &launch = addLaunch(Kernel(0), std::string(1, step));
      launch.bindings.push_back(
          bind(kiln::schema::Space_output, uint32_t(step - 'a'), scaled(0, 4)));
      launch.bindings.push_back(bind(kiln::schema::Space_output, 3, constant(64)));
      launch.bindings.back()->offset = constant((step - 'a') * 64);
    }
  }
};

/* Runs the function and says what was wrong; "" when nothing was. */
std::string run(const Opened &tally, kiln_pool_t *pool, int64_t n, int64_t pace,
                kiln_progress_fn progress = nullptr, kiln_status_t expected = KILN_OK) {
  const kiln_function_t *function = kiln_model_function(tally.model, "main");
  int64_t dims[] = {n, pace};
  kiln_error error = {};
  kiln_memory_needs needs;
  if (kiln_function_memory(function, dims, kiln_pool_workers(pool), &needs, &error))
    return error.text;
  AlignedBytes workspace(needs.workspace_bytes), report(3 * 64);
  std::memset(workspace.data(), 0xa5, workspace.size());
  std::vector<std::vector<int32_t>> counts(3, std::vector<int32_t>(size_t(n)));
  kiln_buffer outputs[4];
  for (int i = 0; i < 3; ++i)
    outputs[i] = {counts[size_t(i)].data(), uint64_t(n) * 4};
  outputs[3] = report.buffer();
  kiln_call_t call = {};
  call.dims = dims;
  call.outputs = outputs;
  call.workspace = workspace.buffer();
  call.progress = progress;
  if (kiln_status_t status = kiln_call(pool, function, &call, &error); status != expected)
    return error.text;
  for (int i = 0; i < 3 && expected == KILN_OK; ++i) {
    int32_t launches = int32_t(Tally::launches[i]);
    std::string name(1, char('a' + i));
    for (int64_t item = 0; item < n; ++item)
      if (int32_t count = counts[size_t(i)][size_t(item)]; count != launches)
        return name + ": item " + std::to_string(item) + " counts " + std::to_string(count);
    const int32_t *found = report.data<int32_t>() + i * 16;
    uint32_t sum = uint32_t(uint64_t(n) * uint64_t(n - 1) / 2) * uint32_t(launches);
    if (n != 0 && (found[0] != launches || uint32_t(found[1]) != sum))
      return name + ": " + std::to_string(found[0]) + " launches saw all items done, sum " +
             std::to_string(uint32_t(found[1]));
  }
  return "";
}

class Work : public testing::TestWithParam<uint32_t> {
protected:
  Opened tally{Tally(imagePath())};
  PoolPtr pool = makePool(GetParam());
  void SetUp() override { ASSERT_EQ(tally.status, KILN_OK) << tally.text(); }
};

TEST_P(Work, ComputesEachItemOnceWhateverTheirNumber) {
  for (int64_t n = 0; n <= 70; ++n)
    for (int64_t pace : {0, 3, 40})
      ASSERT_EQ(run(tally, pool.get(), n, pace), "") << "n = " << n << ", pace = " << pace;
}

TEST_P(Work, ComputesEachItemOnceManyTimes) {
  for (int round = 0; round < 400; ++round)
    ASSERT_EQ(run(tally, pool.get(), 1 + round * 7 % 300, round % 25), "") << round;
}

TEST_P(Work, ComputesEachItemOnceBesideABusyNeighbour) {
  std::atomic<bool> quit{false};
  std::vector<std::thread> neighbours;
  for (int i = 0; i < 3; ++i)
    neighbours.emplace_back([&quit] {
      while (!quit.load(std::memory_order_relaxed)) {
      }
    });
  std::string wrong;
  for (int round = 0; round < 15 && wrong.empty(); ++round)
    wrong = run(tally, pool.get(), 97, round % 40);
  quit = true;
  for (std::thread &neighbour : neighbours)
    neighbour.join();
  EXPECT_EQ(wrong, "");
}

TEST_P(Work, BeginsAfreshAfterACancelledCall) {
  const auto stop = [](void *, uint32_t done, uint32_t) { return int(done == 1); };
  for (int round = 0; round < 30; ++round) {
    ASSERT_EQ(run(tally, pool.get(), 64, 5, stop, KILN_CANCELLED), "");
    ASSERT_EQ(run(tally, pool.get(), 64, 5), "");
  }
}

INSTANTIATE_TEST_SUITE_P(Workers, Work, testing::Values(1, 2, 3, 4, 8),
                         testing::PrintToStringParamName());

TEST(Counters, BelongToTheWorkspace) {
  const auto workspaceBytes = [](uint32_t counters) {
    Opened tally{Tally(imagePath(), counters)};
    EXPECT_EQ(tally.status, KILN_OK) << tally.text();
    int64_t dims[] = {10, 0};
    kiln_memory_needs needs = {};
    EXPECT_EQ(
        kiln_function_memory(kiln_model_function(tally.model, "main"), dims, 2, &needs, nullptr),
        KILN_OK);
    return needs.workspace_bytes;
  };
  // Two launches stand between two barriers, and each has lines of its own.
  EXPECT_EQ(workspaceBytes(2) - workspaceBytes(0), 2 * 64u);
  EXPECT_EQ(workspaceBytes(4096) - workspaceBytes(0), 2 * 4096 * 4u);
}

} // namespace
