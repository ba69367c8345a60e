// Control flow, dims that follow from others, requirements and types as the runtime will read them.
#include "TestModule.h"
#include "compiler/artifact/ProgramDescription.h"

using namespace kiln;

static const char *branchingText = R"(
module {
  exec.func @f dims [#exec.dim<"n" in [1, 8]>, #exec.dim<"m" in [1, 8]>,
                     #exec.dim<"d" in [2, 16] is affine_map<()[n] -> (n * 2)>>,
                     #exec.dim<"c" in [0, 8] computed = true>]
      attributes {arena_bytes = affine_map<()[n, m, d, c] -> (64)>,
                  lower_bound_bytes = affine_map<()[n, m, d, c] -> (64)>,
                  requirements = [[affine_map<()[n, m] -> (m)>, affine_map<()[n, m] -> (n * 3)>, "input x: dim 1"]]} {
    %x = exec.input "x" : tensor<?x4x?xui16, #graph.dims<@n, @d>>
    %y = exec.output "y" : tensor<?xi1, #graph.dims<@c>>
    %b = exec.buffer stride 1 bytes affine_map<()[n, m, d, c] -> (64)> at affine_map<()[n, m, d, c] -> (0)> : tensor<8xi64>
    %go = exec.view %b : tensor<8xi64> as tensor<i1>
    exec.mark 7
    exec.branch %go else 9 : tensor<i1>
    exec.barrier
    exec.set_dims [3] to %b : tensor<8xi64> loc("model.count")
    exec.jump 7
    exec.mark 9
  }
}
)";

TEST(DescribeFunction, TellsStepsByTheirPlaces) {
  TestModule module(branchingText);
  auto description = describeProgram(module.get());
  ASSERT_TRUE(bool(description)) << llvm::toString(description.takeError());
  const schema::FunctionT &function = *description->program.functions[0];
  ASSERT_EQ(function.dims.size(), 4u);
  EXPECT_FALSE(function.dims[1]->value);
  ASSERT_TRUE(bool(function.dims[2]->value));
  EXPECT_FALSE(function.dims[2]->computed);
  EXPECT_TRUE(function.dims[3]->computed);
  ASSERT_EQ(function.requirements.size(), 1u);
  EXPECT_EQ(function.requirements[0]->text, "input x: dim 1");
  EXPECT_EQ(function.requirements[0]->found->args, std::vector<int64_t>{1});

  EXPECT_EQ(function.inputs[0]->dtype, schema::DType_u16);
  ASSERT_EQ(function.inputs[0]->shape.size(), 3u);
  EXPECT_EQ(function.inputs[0]->shape[2].dim(), 2);
  EXPECT_EQ(function.outputs[0]->dtype, schema::DType_boolean);

  ASSERT_EQ(function.steps.size(), 4u);
  EXPECT_EQ(function.steps[0]->kind, schema::StepKind_branch);
  EXPECT_EQ(function.steps[0]->target, 4u); // the end
  ASSERT_EQ(function.steps[0]->bindings.size(), 1u);
  EXPECT_EQ(function.steps[0]->bindings[0]->space, schema::Space_arena);
  EXPECT_EQ(function.steps[2]->kind, schema::StepKind_set_dims);
  EXPECT_EQ(function.steps[2]->name, "model.count");
  EXPECT_EQ(function.steps[2]->dims, std::vector<uint32_t>{3});
  EXPECT_EQ(function.steps[3]->kind, schema::StepKind_jump);
  EXPECT_EQ(function.steps[3]->target, 0u);
}

static std::string describeProblem(const char *from, const char *to) {
  std::string text = branchingText;
  text.replace(text.find(from), std::strlen(from), to);
  TestModule module(text.c_str());
  auto description = describeProgram(module.get());
  return description ? "" : llvm::toString(description.takeError());
}

TEST(DescribeFunction, RefusesWhatLeadsNowhere) {
  EXPECT_EQ(describeProblem("exec.jump 7", "exec.jump 8"), "f: no mark 8");
  EXPECT_EQ(describeProblem("exec.mark 9", "exec.mark 7"), "f: a second mark 7");
  EXPECT_NE(describeProblem("()[n] -> (n * 2)>", "()[n, m, d] -> (d * 2)>"), "");
  EXPECT_EQ(describeProblem("\"input x: dim 1\"]", "5 : i64]"),
            "f: a requirement is not [map, map, text]");
}

TEST(DescribeFunction, KnowsTheTypesOfTheBoundary) {
  const std::pair<const char *, schema::DType> types[] = {{"i4", schema::DType_i4},
                                                          {"ui4", schema::DType_u4},
                                                          {"i8", schema::DType_i8},
                                                          {"ui8", schema::DType_u8},
                                                          {"i16", schema::DType_i16},
                                                          {"ui32", schema::DType_u32},
                                                          {"ui64", schema::DType_u64},
                                                          {"f64", schema::DType_f64},
                                                          {"f8E4M3FN", schema::DType_f8e4m3fn},
                                                          {"f8E4M3FNUZ", schema::DType_f8e4m3fnuz},
                                                          {"f8E5M2", schema::DType_f8e5m2},
                                                          {"f8E5M2FNUZ", schema::DType_f8e5m2fnuz},
                                                          {"i2", schema::DType_i2},
                                                          {"ui2", schema::DType_u2},
                                                          {"f8E8M0FNU", schema::DType_f8e8m0},
                                                          {"f4E2M1FN", schema::DType_f4e2m1}};
  for (auto [name, dtype] : types) {
    std::string text = branchingText;
    text.replace(text.find("xui16,"), 6, std::string("x") + name + ",");
    TestModule module(text.c_str());
    auto description = describeProgram(module.get());
    ASSERT_TRUE(bool(description)) << llvm::toString(description.takeError());
    EXPECT_EQ(description->program.functions[0]->inputs[0]->dtype, dtype) << name;
  }
  EXPECT_NE(describeProblem("xui16,", "xi128,").find("cannot cross the function's boundary"),
            std::string::npos);
}
