// Schedules that are no straight line: branches, loops, and dims that a function computes; and what
// a stranger might write in their place. Run under ThreadSanitizer too (runtime/README.md).

#include "ToySchedules.h"

#include <gtest/gtest.h>

#include <numeric>

using namespace kiln::test;
using namespace kiln::schema;

namespace {

/* A call of LoopSchedule. */
struct LoopCall {
  std::vector<int32_t> cells;
  int64_t limit, count = 0, dims[1];
  uint8_t go = 1;
  kiln_error error = {};
  AlignedBytes workspace{4096};
  kiln_progress_fn progress = nullptr;
  void *user = nullptr;

  LoopCall(int64_t n, int64_t limit) : cells(size_t(n)), limit(limit), dims{n} {}

  kiln_status_t run(kiln_pool_t *pool, const kiln_model_t *model) {
    kiln_buffer inputs[] = {{&limit, 8}};
    kiln_buffer outputs[] = {{cells.data(), cells.size() * 4}, {&count, 8}, {&go, 1}};
    kiln_call_t call = {};
    call.dims = dims;
    call.inputs = inputs;
    call.outputs = outputs;
    call.workspace = workspace.buffer();
    call.progress = progress;
    call.progress_user = user;
    return kiln_call(pool, kiln_model_function(model, "main"), &call, &error);
  }
};

class Branch : public testing::TestWithParam<uint32_t> {
protected:
  PoolPtr pool = makePool(GetParam());
};

TEST_P(Branch, RepeatsALoopWhileItsConditionHolds) {
  Opened loop{LoopSchedule(imagePath())};
  ASSERT_EQ(loop.status, KILN_OK) << loop.text();
  for (int64_t n : {0, 1, 5, 64, 1000})
    for (int64_t limit : {1, 2, 17, 500}) {
      LoopCall call(n, limit);
      ASSERT_EQ(call.run(pool.get(), loop.model), KILN_OK) << call.error.text;
      ASSERT_EQ(call.count, limit);
      ASSERT_EQ(call.cells, std::vector<int32_t>(size_t(n), int32_t(limit)));
    }
}

TEST_P(Branch, SkipsALoopWhoseConditionIsFalseAtOnce) {
  Opened loop{LoopSchedule(imagePath())};
  LoopCall call(10, 3);
  call.go = 0;
  ASSERT_EQ(call.run(pool.get(), loop.model), KILN_OK) << call.error.text;
  EXPECT_EQ(call.count, 0);
  EXPECT_EQ(call.cells, std::vector<int32_t>(10, 0));
}

TEST_P(Branch, GoesOneOfTwoWays) {
  Schedule choice(imagePath());
  choice.addDim("n", 1, 100);
  choice.addInput("way", DType_boolean, -1);
  choice.addOutput("a", DType_i32, 0);
  choice.addOutput("b", DType_i32, 0);
  const auto bump = [&](uint32_t output) {
    choice.launch("bump", dim(0), Toy::bind(Space_output, output, scaled(0, 4)));
  };
  choice.step(StepKind_branch, 4).bindings.push_back(Toy::bind(Space_input, 0, constant(1)));
  bump(0);
  bump(1); // beside the one before it
  choice.step(StepKind_jump, 5);
  bump(1);
  bump(0); // either way
  choice.function().steps[5]->name = "both";
  Opened opened(choice);
  ASSERT_EQ(opened.status, KILN_OK) << opened.text();
  for (uint8_t way : {0, 1, 255}) {
    std::vector<int32_t> a(70), b(70);
    int64_t dims[] = {70};
    AlignedBytes workspace(4096);
    kiln_buffer inputs[] = {{&way, 1}}, outputs[] = {{a.data(), 280}, {b.data(), 280}};
    kiln_call_t call = {};
    call.dims = dims;
    call.inputs = inputs;
    call.outputs = outputs;
    call.workspace = workspace.buffer();
    kiln_error error;
    ASSERT_EQ(kiln_call(pool.get(), kiln_model_function(opened.model, "main"), &call, &error),
              KILN_OK)
        << error.text;
    EXPECT_EQ(a, std::vector<int32_t>(70, way ? 2 : 1));
    EXPECT_EQ(b, std::vector<int32_t>(70, 1));
  }
}

TEST_P(Branch, CancelsALoopThatNeverEnds) {
  Opened loop{LoopSchedule(imagePath())};
  for (int round = 0; round < 20; ++round) {
    LoopCall call(40, INT64_MAX);
    int64_t reports = 0;
    call.user = &reports;
    call.progress = [](void *user, uint32_t, uint32_t) {
      return int(++*static_cast<int64_t *>(user) == 50);
    };
    ASSERT_EQ(call.run(pool.get(), loop.model), KILN_CANCELLED);
    EXPECT_STREQ(call.error.text, "function main: cancelled by the progress hook");
  }
}

/* A call of KeepSchedule. */
struct KeepCall {
  std::vector<float> x, kept = std::vector<float>(100), mirrored = std::vector<float>(200);
  int64_t dims[1], after[3] = {-1, -1, -1};
  kiln_error error = {};

  explicit KeepCall(std::vector<float> given) : x(std::move(given)), dims{int64_t(x.size())} {}

  kiln_status_t run(kiln_pool_t *pool, const kiln_model_t *model) {
    const kiln_function_t *function = kiln_model_function(model, "main");
    kiln_memory_needs needs;
    kiln_status_t status =
        kiln_function_memory(function, dims, kiln_pool_workers(pool), &needs, &error);
    if (status)
      return status;
    AlignedBytes workspace(needs.workspace_bytes);
    kiln_buffer inputs[] = {{x.data(), x.size() * 4}};
    kiln_buffer outputs[] = {{kept.data(), kept.size() * 4},
                             {mirrored.data(), mirrored.size() * 4}};
    kiln_call_t call = {};
    call.dims = dims;
    call.inputs = inputs;
    call.outputs = outputs;
    call.workspace = workspace.buffer();
    call.dims_after = after;
    return kiln_call(pool, function, &call, &error);
  }
};

TEST_P(Branch, ComputesDims) {
  Opened keep{KeepSchedule(imagePath())};
  ASSERT_EQ(keep.status, KILN_OK) << keep.text();
  for (size_t n : {0, 1, 7, 100})
    for (size_t every : {1, 2, 5}) {
      std::vector<float> x(n), expected;
      for (size_t i = 0; i < n; ++i) {
        x[i] = i % every == 0 ? float(i + 1) : -1;
        if (x[i] > 0)
          expected.push_back(x[i]);
      }
      KeepCall call(x);
      ASSERT_EQ(call.run(pool.get(), keep.model), KILN_OK) << call.error.text;
      int64_t count = int64_t(expected.size());
      EXPECT_EQ(call.after[0], int64_t(n));
      ASSERT_EQ(call.after[1], count);
      ASSERT_EQ(call.after[2], 2 * count);
      for (size_t i = 0; i < expected.size(); ++i) {
        ASSERT_EQ(call.kept[i], expected[i]);
        ASSERT_EQ(call.mirrored[2 * i], expected[i]);
        ASSERT_EQ(call.mirrored[2 * i + 1], -expected[i]);
      }
      ASSERT_EQ(std::count(call.mirrored.begin() + 2 * count, call.mirrored.end(), 0.0f),
                200 - 2 * count); // nothing behind
    }
}

TEST_P(Branch, RefusesAComputedDimOutOfBounds) {
  Opened keep{KeepSchedule(imagePath(), 5)};
  for (int round = 0; round < 50; ++round) {
    KeepCall call(std::vector<float>(6, 1.0f));
    ASSERT_EQ(call.run(pool.get(), keep.model), KILN_DIM_OUT_OF_BOUNDS);
    EXPECT_STREQ(call.error.text,
                 "function main: step 1 (set_dims): dim c: expected 0 to 5, found 6");
    EXPECT_EQ(call.kept, std::vector<float>(100)); // nothing runs behind it
    KeepCall after({1, -1, 2});                    // the pool works on
    ASSERT_EQ(after.run(pool.get(), keep.model), KILN_OK) << after.error.text;
    ASSERT_EQ(after.after[1], 2);
  }
}

TEST_P(Branch, RefusesADerivedDimThatComputedOnesPutOutOfBounds) {
  KeepSchedule schedule(imagePath());
  schedule.function().dims[2]->max = 9;
  Opened keep{schedule};
  ASSERT_EQ(keep.status, KILN_OK) << keep.text();
  KeepCall call(std::vector<float>(5, 1.0f));
  call.mirrored.resize(9);
  ASSERT_EQ(call.run(pool.get(), keep.model), KILN_DIM_OUT_OF_BOUNDS);
  EXPECT_STREQ(call.error.text,
               "function main: step 1 (set_dims): dim d: expected 0 to 9, found 10");
}

INSTANTIATE_TEST_SUITE_P(Workers, Branch, testing::Values(1, 2, 3, 4, 8),
                         testing::PrintToStringParamName());

/* ---- Dims ---- */

std::string refusal(const Toy &toy) {
  Opened opened(toy);
  EXPECT_EQ(opened.status, KILN_CORRUPT);
  return opened.text();
}

TEST(Dims, AreGivenDerivedAndComputed) {
  Opened keep{KeepSchedule(imagePath())};
  const kiln_function_t *function = kiln_model_function(keep.model, "main");
  EXPECT_EQ(kiln_function_dim_count(function), 1u);
  ASSERT_EQ(kiln_function_all_dim_count(function), 3u);
  kiln_dim_info info;
  ASSERT_EQ(kiln_function_dim(function, 2, &info), KILN_OK);
  EXPECT_STREQ(info.name, "d");
  EXPECT_EQ(kiln_function_dim(function, 3, &info), KILN_NOT_FOUND);
  int64_t given[] = {7}, all[3];
  ASSERT_EQ(kiln_function_all_dims(function, given, all, nullptr), KILN_OK);
  EXPECT_EQ(all[0], 7);
  EXPECT_EQ(all[1], 100); // at their largest
  EXPECT_EQ(all[2], 200);
}

TEST(Dims, AreEvaluatedInOrderAndWithinBounds) {
  Schedule schedule(imagePath());
  schedule.addDim("n", 1, 64);
  schedule.addDim("half", 0, 30).value =
      expr({{ExprOp_dim, 0}, {ExprOp_constant, 2}, {ExprOp_floor_div, 0}});
  schedule.addDim("c", 3, 10).computed = true;
  schedule.addDim("both", 0, 1000).value = // half * (12 - c)
      expr({{ExprOp_dim, 1},
            {ExprOp_constant, 12},
            {ExprOp_dim, 2},
            {ExprOp_constant, -1},
            {ExprOp_mul, 0},
            {ExprOp_add, 0},
            {ExprOp_mul, 0}});
  schedule.addOutput("y", DType_f64, 3);
  Opened opened(schedule);
  ASSERT_EQ(opened.status, KILN_OK) << opened.text(); // n = 64 is refused at the call
  const kiln_function_t *function = kiln_model_function(opened.model, "main");
  kiln_error error = {};
  int64_t all[4];
  for (int64_t n : {1, 9, 60}) {
    ASSERT_EQ(kiln_function_all_dims(function, &n, all, &error), KILN_OK) << error.text;
    EXPECT_EQ(all[1], n / 2);
    EXPECT_EQ(all[3], n / 2 * 9); // at the smallest c
  }
  int64_t n = 64;
  EXPECT_EQ(kiln_function_all_dims(function, &n, all, &error), KILN_DIM_OUT_OF_BOUNDS);
  EXPECT_STREQ(error.text, "function main: dim half: expected 0 to 30, found 32");
}

TEST(Dims, ThatMustBeEqualAreCompared) {
  Schedule schedule(imagePath());
  schedule.addDim("n", 0, 64);
  schedule.addDim("m", 0, 64);
  auto requirement = std::make_unique<RequirementT>();
  requirement->found = dim(1);
  requirement->expected = scaled(0, 2);
  requirement->text = "input y: dim 1";
  schedule.function().requirements.push_back(std::move(requirement));
  Opened opened(schedule);
  ASSERT_EQ(opened.status, KILN_OK) << opened.text();
  const kiln_function_t *function = kiln_model_function(opened.model, "main");
  kiln_memory_needs needs;
  kiln_error error;
  int64_t good[] = {2, 4}, bad[] = {2, 3};
  EXPECT_EQ(kiln_function_memory(function, good, 1, &needs, &error), KILN_OK);
  EXPECT_EQ(kiln_function_memory(function, bad, 1, &needs, &error), KILN_INVALID_ARGUMENT);
  EXPECT_STREQ(error.text, "function main: input y: dim 1: expected 4, found 3");
  schedule.addDim("c", 0, 5).computed = true;
  schedule.function().requirements[0]->found = dim(2);
  EXPECT_EQ(refusal(schedule), "function main: requirement: depends on a computed dim");
}

TEST(Dims, MayBeMany) {
  Schedule schedule(imagePath());
  for (int i = 0; i < 1024; ++i)
    schedule.addDim("d", 1, 1).value = i ? dim(i - 1) : nullptr;
  EXPECT_EQ(Opened(schedule).status, KILN_OK);
  schedule.addDim("d", 1, 1);
  EXPECT_EQ(refusal(schedule), "function main: expected at most 1024 dims, found 1025");
}

TEST(Dims, ThatNameLaterOnesAreRefused) {
  KeepSchedule schedule(imagePath());
  schedule.function().dims[2]->value = dim(2);
  EXPECT_EQ(refusal(schedule),
            "function main: dim d: value: an expression names a dim that does not exist");
}

TEST(Dims, OfOneKindOnly) {
  KeepSchedule schedule(imagePath());
  schedule.function().dims[2]->computed = true;
  EXPECT_EQ(refusal(schedule), "function main: dim d: is computed and has a value");
}

TEST(Dims, FreeOnesComeFirst) {
  KeepSchedule schedule(imagePath());
  schedule.function().dims[2]->value = nullptr;
  EXPECT_EQ(refusal(schedule), "function main: dim d: a free dim stands behind one that is not");
}

TEST(Dims, OfInputsAreNotComputed) {
  KeepSchedule schedule(imagePath());
  schedule.function().inputs[0]->shape[0] = Axis(2, 0);
  EXPECT_EQ(refusal(schedule), "function main: input x: axis 0: depends on a computed dim");
}

/* ---- Steps ---- */

TEST(Steps, LeadNowhereOutside) {
  LoopSchedule loop(imagePath());
  loop.function().steps[0]->target = 5;
  EXPECT_EQ(refusal(loop), "function main: step 0 (branch): step 5 to go on at does not exist: "
                           "there are 4");
  loop.function().steps[0]->target = 4;
  loop.function().steps[3]->target = UINT32_MAX;
  EXPECT_NE(refusal(loop).find("step 3 (jump): step 4294967295"), std::string::npos);
}

TEST(Steps, ReadWhatTheirBindingsHold) {
  LoopSchedule loop(imagePath());
  loop.function().steps[0]->bindings[0]->size_bytes = constant(0);
  EXPECT_EQ(refusal(loop), "function main: at the smallest dims: step 0 (branch): expected a "
                           "binding of 1 bytes, found 0");
  loop.function().steps[0]->bindings[0]->size_bytes = constant(2);
  EXPECT_NE(refusal(loop).find("is outside its space of 1 bytes"), std::string::npos);
  loop.function().steps[0]->bindings.clear();
  EXPECT_EQ(refusal(loop), "function main: step 0 (branch): expected 1 bindings, found 0");
  KeepSchedule keep(imagePath());
  keep.function().steps[1]->bindings[0]->size_bytes = constant(7);
  EXPECT_NE(refusal(keep).find("step 1 (set_dims): expected a binding of 8 bytes, found 7"),
            std::string::npos);
}

TEST(Steps, SetComputedDimsOnly) {
  KeepSchedule keep(imagePath());
  for (uint32_t dim : {0u, 2u, 3u, UINT32_MAX}) {
    keep.function().steps[1]->dims = {dim};
    EXPECT_EQ(refusal(keep), "function main: step 1 (set_dims): dim " + std::to_string(dim) +
                                 " is not a computed one");
  }
  keep.function().steps[1]->dims = {};
  EXPECT_EQ(refusal(keep), "function main: step 1 (set_dims): expected dims to set");
}

TEST(Steps, ThatOnlyJumpAreFoundOut) {
  for (uint32_t workers : {1u, 4u})
    for (bool late : {false, true}) {
      Schedule circle(imagePath());
      circle.addOutput("cell", DType_i32, -1);
      if (late)
        circle.launch("bump", constant(1), Toy::bind(Space_output, 0, constant(4)));
      circle.addBarrier();
      uint32_t first = circle.here();
      circle.step(StepKind_jump, first + 1);
      circle.step(StepKind_jump, first);
      Opened opened(circle);
      ASSERT_EQ(opened.status, KILN_OK) << opened.text();
      int32_t cell = 0;
      AlignedBytes workspace(4096);
      kiln_buffer outputs[] = {{&cell, 4}};
      kiln_call_t call = {};
      call.outputs = outputs;
      call.workspace = workspace.buffer();
      kiln_error error;
      PoolPtr pool = makePool(workers);
      ASSERT_EQ(kiln_call(pool.get(), kiln_model_function(opened.model, "main"), &call, &error),
                KILN_CORRUPT);
      EXPECT_NE(std::string(error.text).find("the schedule never ends"), std::string::npos);
      EXPECT_EQ(cell, late);
    }
}

} // namespace
