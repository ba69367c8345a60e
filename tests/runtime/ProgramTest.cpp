// Programs that a stranger might send: every index, range and expression that is wrong is refused
// at open, by name.

#include "ToyCall.h"

#include <gtest/gtest.h>

using namespace kiln::test;
using namespace kiln::schema;

namespace {

class Program : public testing::Test {
protected:
  Toy toy{imagePath()};

  std::string refusal(kiln_status_t expected = KILN_CORRUPT) {
    Opened opened(toy);
    EXPECT_EQ(opened.status, expected) << opened.text();
    return opened.text();
  }
  void expectRefusal(const char *part, kiln_status_t expected = KILN_CORRUPT) {
    std::string text = refusal(expected);
    EXPECT_NE(text.find(part), std::string::npos) << text;
  }
  BindingT &binding(size_t step, size_t index) {
    return *toy.function().steps[step]->bindings[index];
  }
};

TEST_F(Program, RefusesAnotherAbi) {
  toy.program.abi_version = 3;
  expectRefusal("expected kernel ABI version 2, found 3", KILN_UNSUPPORTED_VERSION);
}

TEST_F(Program, RefusesTooManyCounters) {
  toy.code().kernels[2]->counters = 4096;
  EXPECT_EQ(Opened(toy).status, KILN_OK);
  toy.code().kernels[2]->counters = 4097;
  expectRefusal("image test: kernel gather: expected at most 4096 counters, found 4097");
}

TEST_F(Program, RefusesARankAboveEight) {
  toy.function().inputs[0]->shape.assign(9, Axis(-1, 1));
  expectRefusal("function main: input x: expected a rank of at most 8, found 9");
}

TEST_F(Program, RefusesAnAxisOfNoDim) {
  toy.function().outputs[1]->shape = {Axis(3, 0)};
  expectRefusal("output picked: axis 0: dim 3 does not exist");
  toy.function().outputs[1]->shape = {Axis(-2, 0)};
  expectRefusal("output picked: axis 0: dim -2 does not exist");
  toy.function().outputs[1]->shape = {Axis(-1, -5)};
  expectRefusal("extent -5 is negative");
}

TEST_F(Program, RefusesAShapeWhoseSizeOverflows) {
  toy.function().inputs[0]->shape = {Axis(0, 0), Axis(-1, int64_t(1) << 40),
                                     Axis(-1, int64_t(1) << 30)};
  expectRefusal("at the smallest dims: x: its size overflows");
}

TEST_F(Program, RefusesUnknownEnumValues) {
  toy.function().inputs[0]->dtype = DType(23);
  expectRefusal("input x: unknown dtype 23");
  toy.function().inputs[0]->dtype = DType_f32;
  binding(0, 0).space = Space(5);
  expectRefusal("step 0 (toy.scale): binding 0: unknown space 5");
  binding(0, 0).space = Space_input;
  toy.function().steps[1]->kind = StepKind(5);
  expectRefusal("step 1 (): unknown kind 5");
}

TEST_F(Program, RefusesDimsWithoutValues) {
  toy.function().dims[0]->min = 65;
  expectRefusal("dim n: expected 0 <= min <= max, found 65 and 64");
  toy.function().dims[0]->min = -1;
  expectRefusal("dim n: expected 0 <= min <= max");
}

TEST_F(Program, RefusesAKernelThatDoesNotExist) {
  toy.function().steps[2]->kernel = 4;
  expectRefusal("step 2 (toy.reverse): kernel 4 does not exist: there are 4");
}

TEST_F(Program, RefusesAWrongNumberOfBindings) {
  toy.function().steps[2]->bindings.pop_back();
  expectRefusal("expected 2 bindings for kernel reverse, found 1");
}

TEST_F(Program, RefusesBindingsOfNothing) {
  binding(0, 0).index = 2;
  expectRefusal("step 0 (toy.scale): binding 0: input 2 does not exist: there are 2");
  binding(0, 0).index = 0;
  binding(0, 1).index = UINT32_MAX;
  expectRefusal("binding 1: weight 4294967295 does not exist: there are 1");
}

TEST_F(Program, RefusesBindingsOutsideTheirSpace) {
  binding(0, 2).offset = constant(64);
  expectRefusal(
      "at the smallest dims: step 0 (toy.scale): binding 2: offset 64 + size 4 is outside "
      "its space of 64 bytes");
  binding(0, 2).offset = constant(INT64_MAX / 64 * 64);
  expectRefusal("is outside its space");
  binding(0, 2).offset = nullptr;
  binding(0, 1).size_bytes = constant(65);
  expectRefusal("binding 1: offset 0 + size 65 is outside its space of 64 bytes");
}

TEST_F(Program, RefusesBindingsOutsideTheirSpaceAtTheLargestDims) {
  toy.function().arena_bytes = constant(128);
  expectRefusal("at the largest dims: step 0 (toy.scale): binding 2: offset 0 + size 256");
}

TEST_F(Program, RefusesMisalignedOffsets) {
  toy.function().arena_bytes = constant(4096);
  binding(0, 2).offset = constant(32);
  expectRefusal("binding 2: offset 32 + size 4 is not aligned");
}

TEST_F(Program, RefusesWeightsOutsideTheirSection) {
  toy.program.weights[0]->size_bytes = UINT64_MAX;
  toy.program.weights[0]->offset = 64;
  expectRefusal("weight w: offset 64 + size 18446744073709551615 is outside the weights section");
  toy.program.weights[0]->size_bytes = 4;
  toy.program.weights[0]->offset = 4;
  expectRefusal("weight w: offset 4 is not a multiple of 64");
}

TEST_F(Program, RefusesEntriesOutsideTheCode) {
  toy.code().kernels[1]->entry = 0;
  expectRefusal("image test: kernel reverse: entry 0x0 is not inside the code");
  toy.code().kernels[1]->entry = UINT64_MAX;
  expectRefusal("entry 0xffffffffffffffff is not inside the code");
}

TEST_F(Program, RefusesAnImageWithoutAllKernels) {
  toy.code().kernels.pop_back();
  expectRefusal("image test: expected 4 kernels, found 3");
}

TEST_F(Program, RefusesAnImageInNoCodeSection) {
  toy.code().section = 2;
  expectRefusal("image test: section 2 is not a code section");
  toy.code().section = UINT32_MAX;
  expectRefusal("section 4294967295 is not a code section");
}

TEST_F(Program, RefusesTwoFunctionsOfOneName) {
  toy.program.functions.push_back(std::make_unique<FunctionT>(toy.function()));
  expectRefusal("function main: a second one of that name");
}

TEST_F(Program, RefusesALanguageModelWithoutItsFunction) {
  toy.program.language_model = std::make_unique<LanguageModelT>();
  toy.program.language_model->function = "decode";
  expectRefusal("its function decode does not exist");
}

TEST_F(Program, RefusesIndexLimitsOnFloats) {
  toy.function().inputs[0]->index_limit = constant(4);
  expectRefusal("input x: an index limit needs elements of type i32 or i64");
}

TEST_F(Program, RefusesAFlatbufferOfAnotherKind) {
  Bytes program = toy.programBytes();
  program[4] = 'X';
  Opened opened(writeContainer({{KILN_SECTION_PROGRAM, program}}));
  EXPECT_EQ(opened.status, KILN_CORRUPT);
  EXPECT_NE(opened.text().find("expected a flatbuffer with identifier KLNP"), std::string::npos);
}

TEST_F(Program, RefusesASharedVectorOfStringsThatMultiplies) {
  // 40,000 kernels' refusals, all one vector of 40,000 strings: 1.6 billion checks if believed.
  flatbuffers::FlatBufferBuilder builder;
  auto string = builder.CreateString("no");
  auto refused =
      builder.CreateVector(std::vector<flatbuffers::Offset<flatbuffers::String>>(40000, string));
  auto zero = CreateExpr(builder, builder.CreateVector(std::vector<uint8_t>{0}),
                         builder.CreateVector(std::vector<int64_t>{0}));
  auto code = CreateKernelCode(builder, 0, zero, zero, string, refused);
  auto codes = builder.CreateVector(std::vector<flatbuffers::Offset<KernelCode>>(40000, code));
  auto features = builder.CreateVector(std::vector<flatbuffers::Offset<flatbuffers::String>>());
  std::vector<flatbuffers::Offset<Image>> images = {
      CreateImage(builder, string, 62, features, 1, codes)};
  auto program =
      CreateProgram(builder, 1, builder.CreateVector(std::vector<flatbuffers::Offset<Function>>()),
                    builder.CreateVector(std::vector<flatbuffers::Offset<Kernel>>()),
                    builder.CreateVector(images),
                    builder.CreateVector(std::vector<flatbuffers::Offset<Weight>>()),
                    builder.CreateVector(std::vector<flatbuffers::Offset<Fact>>()));
  FinishProgramBuffer(builder, program);
  Bytes bytes(builder.GetBufferPointer(), builder.GetBufferPointer() + builder.GetSize());
  Opened opened(writeContainer({{KILN_SECTION_PROGRAM, bytes}}));
  EXPECT_EQ(opened.status, KILN_CORRUPT);
  EXPECT_NE(opened.text().find("structure is invalid"), std::string::npos) << opened.text();
}

/* ---- Devices ---- */

TEST_F(Program, NamesTheFeaturesThatAreMissing) {
  toy.code().target = "future-v9";
  toy.code().features = {"quantum", "avx1024"};
  Opened opened(toy);
  EXPECT_EQ(opened.status, KILN_UNSUPPORTED_DEVICE);
  EXPECT_NE(opened.text().find("future-v9 needs quantum avx1024"), std::string::npos)
      << opened.text();
}

TEST_F(Program, NamesAnotherMachine) {
  toy.code().machine = 243; // RISC-V: its image is not even looked at
  toy.code().target = "riscv64";
  expectRefusal("riscv64 needs another machine", KILN_UNSUPPORTED_DEVICE);
}

TEST_F(Program, TakesTheFirstImageThatRuns) {
  auto better = std::make_unique<ImageT>(toy.code());
  better->target = "better";
  better->features = {"quantum"};
  toy.program.images.insert(toy.program.images.begin(), std::move(better));
  auto later = std::make_unique<ImageT>(toy.code());
  later->target = "later";
  toy.program.images.push_back(std::move(later));
  Opened opened(toy);
  ASSERT_EQ(opened.status, KILN_OK) << opened.text();
  EXPECT_STREQ(kiln_model_target(opened.model), "test");
}

TEST_F(Program, AcceptsFeaturesTheHostHas) {
  const char *names[128];
  size_t count = kiln_host_features(names, 128);
  ASSERT_GT(count, 0u);
  toy.code().features.assign(names, names + count);
  Opened opened(toy);
  EXPECT_EQ(opened.status, KILN_OK) << opened.text();
}

/* ---- Expressions ---- */

struct BadExpr {
  const char *what;
  std::vector<std::pair<ExprOp, int64_t>> ops;
};

class Expression : public testing::TestWithParam<BadExpr> {};

TEST_P(Expression, IsRefused) {
  Toy toy(imagePath());
  toy.function().arena_bytes = expr(GetParam().ops);
  Opened opened(toy);
  EXPECT_EQ(opened.status, KILN_CORRUPT);
  EXPECT_NE(opened.text().find(GetParam().what), std::string::npos) << opened.text();
}

const auto C = ExprOp_constant;
const auto D = ExprOp_dim;

INSTANTIATE_TEST_SUITE_P(
    Bad, Expression,
    testing::Values(
        BadExpr{"is empty", {}}, BadExpr{"takes from an empty stack", {{C, 1}, {ExprOp_add, 0}}},
        BadExpr{"takes from an empty stack", {{ExprOp_add, 0}}},
        BadExpr{"leaves more than one value", {{C, 1}, {C, 1}}},
        BadExpr{"names a dim that does not exist", {{D, 3}}},
        BadExpr{"names a dim that does not exist", {{D, -1}}},
        BadExpr{"names a dim that does not exist", {{D, INT64_MAX}}},
        BadExpr{"unknown operation", {{C, 1}, {C, 1}, {ExprOp(8), 0}}},
        BadExpr{"deeper than 16", std::vector<std::pair<ExprOp, int64_t>>(17, {C, 1})},
        BadExpr{"longer than 256", std::vector<std::pair<ExprOp, int64_t>>(257, {C, 1})},
        BadExpr{"overflows", {{C, INT64_MAX}, {C, 1}, {ExprOp_add, 0}}},
        BadExpr{"overflows", {{C, int64_t(1) << 62}, {D, 0}, {ExprOp_mul, 0}}},
        BadExpr{"divides by zero", {{C, 1}, {C, 0}, {ExprOp_ceil_div, 0}}},
        BadExpr{"divides by zero", {{C, 1}, {D, 1}, {ExprOp_floor_div, 0}}},
        BadExpr{"divides by zero or less", {{C, INT64_MIN}, {C, -1}, {ExprOp_floor_div, 0}}},
        BadExpr{"is negative", {{C, -1}}},
        BadExpr{"is negative", {{C, -3}, {C, 2}, {ExprOp_ceil_div, 0}}}));

TEST_F(Program, RefusesAnExpressionWhoseArgsAreMissing) {
  toy.function().arena_bytes->args.pop_back();
  expectRefusal("code and args differ in length");
}

TEST_F(Program, EvaluatesEveryOperation) {
  // max(min(ceil(n / 7), floor(n / 3)) * 64 + 64, 64), at n = 50: (8 * 64) + 64
  toy.function().arena_bytes = expr({{D, 0},
                                     {C, 7},
                                     {ExprOp_ceil_div, 0},
                                     {D, 0},
                                     {C, 3},
                                     {ExprOp_floor_div, 0},
                                     {ExprOp_min, 0},
                                     {C, 64},
                                     {ExprOp_mul, 0},
                                     {C, 64},
                                     {ExprOp_add, 0},
                                     {C, 64},
                                     {ExprOp_max, 0}});
  Opened opened(toy);
  ASSERT_EQ(opened.status, KILN_OK) << opened.text();
  kiln_memory_needs needs;
  int64_t dims[] = {50, 0, 1};
  ASSERT_EQ(
      kiln_function_memory(kiln_model_function(opened.model, "main"), dims, 1, &needs, nullptr),
      KILN_OK);
  EXPECT_EQ(needs.arena_bytes, 576u);
}

} // namespace
