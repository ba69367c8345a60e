// The artifact says what the module says, is the same every time, and a failed write leaves
// nothing.
#include "SmallProgram.h"
#include "compiler/artifact/ExprFromAffine.h"
#include "kiln/artifact.h"
#include "mlir/AsmParser/AsmParser.h"
#include <csignal>
#include <sys/resource.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

using namespace kiln;

namespace {

/// The value of a postfix program, without checks.
int64_t evaluate(const schema::ExprT &expr, std::vector<int64_t> dims) {
  std::vector<int64_t> stack;
  for (size_t i = 0; i < expr.code.size(); ++i) {
    if (expr.code[i] <= schema::ExprOp_dim) {
      stack.push_back(expr.code[i] == schema::ExprOp_dim ? dims[expr.args[i]] : expr.args[i]);
      continue;
    }
    int64_t b = stack.back(), a = stack[stack.size() - 2];
    stack.pop_back();
    switch (expr.code[i]) {
    case schema::ExprOp_add:
      stack.back() = a + b;
      break;
    case schema::ExprOp_mul:
      stack.back() = a * b;
      break;
    case schema::ExprOp_ceil_div:
      stack.back() = (a + b - 1) / b;
      break;
    case schema::ExprOp_floor_div:
      stack.back() = a / b;
      break;
    case schema::ExprOp_max:
      stack.back() = std::max(a, b);
      break;
    default:
      stack.back() = std::min(a, b);
    }
  }
  EXPECT_EQ(stack.size(), 1u);
  return stack.back();
}

int64_t evaluateMap(const char *text, std::vector<int64_t> dims) {
  mlir::MLIRContext context(mlir::MLIRContext::Threading::DISABLED);
  auto map = llvm::cast<mlir::AffineMapAttr>(
      mlir::parseAttribute(std::string("affine_map<") + text + ">", &context));
  auto expr = exprFromAffine(map.getValue());
  if (!expr) {
    llvm::consumeError(expr.takeError());
    return -1;
  }
  return evaluate(**expr, dims);
}

struct Written {
  TestFolder folder;
  TestModule module{smallProgramText};
  WriteReport report;
  std::string path = folder.file("out.kiln");

  Written() { writeSmallSources(folder); }

  std::string write(unsigned threads = 2) {
    WriteOptions options;
    options.threads = threads;
    std::vector<uint8_t> tokenizer = {1, 2, 3};
    KernelImage image = smallImage(module.get().getContext());
    if (llvm::Error error =
            writeArtifact(module.get(), folder.path, image, tokenizer, path, options, report))
      return llvm::toString(std::move(error));
    return "";
  }
};

std::unique_ptr<schema::ProgramT> programOf(const std::string &bytes) {
  kiln_section section;
  std::memcpy(&section, bytes.data() + sizeof(kiln_artifact_header), sizeof section);
  auto *data = reinterpret_cast<const uint8_t *>(bytes.data() + section.offset);
  flatbuffers::Verifier verifier(data, section.size);
  if (!schema::VerifyProgramBuffer(verifier))
    return nullptr;
  return std::unique_ptr<schema::ProgramT>(schema::GetProgram(data)->UnPack());
}

} // namespace

TEST(ExprFromAffine, EvaluatesAlike) {
  EXPECT_EQ(evaluateMap("()[n, m] -> (n * 64 + m * 4 + 7)", {3, 5}), 219);
  EXPECT_EQ(evaluateMap("()[n, m] -> (n ceildiv 32 + m floordiv 3)", {33, 11}), 5);
  EXPECT_EQ(evaluateMap("()[n] -> (n mod 32)", {75}), 11);
  EXPECT_EQ(evaluateMap("()[n, m] -> (n * 2, m, 9)", {3, 5}), 9);
  EXPECT_EQ(evaluateMap("()[n, m] -> (n * 2 - m)", {8, 5}), 11);
  EXPECT_EQ(evaluateMap("(d0)[n] -> (d0 + n)", {3}), -1);
}

TEST(ExprFromAffine, LongSumsNeedLittleStack) {
  std::string sum = "n";
  for (int i = 1; i < 20; ++i)
    sum = "(" + std::to_string(i) + " + m * " + std::to_string(i) + ") floordiv 2 + (" + sum + ")";
  EXPECT_GT(evaluateMap(("()[n, m] -> (" + sum + ")").c_str(), {1, 2}), 0);
  for (int i = 0; i < 60; ++i)
    sum += ", n * " + std::to_string(i + 2) + " + m * " + std::to_string(100 - i);
  EXPECT_EQ(evaluateMap(("()[n, m] -> (" + sum + ")").c_str(), {1, 2}), -1);
}

TEST(ArtifactWriter, DescribesTheModule) {
  Written written;
  ASSERT_TRUE(bool(written.module));
  ASSERT_EQ(written.write(), "");
  auto program = programOf(readFile(written.path));
  ASSERT_TRUE(program);

  ASSERT_EQ(program->functions.size(), 1u);
  const schema::FunctionT &function = *program->functions[0];
  EXPECT_EQ(function.name, "decode");
  ASSERT_EQ(function.dims.size(), 2u);
  EXPECT_EQ(function.dims[1]->max, 4096);
  EXPECT_EQ(function.inputs[0]->shape[0].dim(), 0);
  EXPECT_EQ(function.inputs[0]->shape[1].dim(), -1);
  EXPECT_EQ(function.inputs[0]->shape[1].extent(), 64);
  EXPECT_EQ(evaluate(*function.inputs[1]->index_limit, {1, 10}), 640);
  EXPECT_EQ(function.inputs[1]->dtype, schema::DType_i32);
  EXPECT_EQ(evaluate(*function.arena_bytes, {1, 1}), 1024);
  EXPECT_EQ(evaluate(*function.arena_bytes, {100, 1}), 44800);
  EXPECT_EQ(evaluate(*function.states[0]->size_bytes, {1, 10}), 3 * 10 * 8192);

  ASSERT_EQ(function.steps.size(), 4u);
  EXPECT_EQ(function.steps[0]->name, "model.first");
  EXPECT_EQ(function.steps[1]->kind, schema::StepKind_barrier);
  const schema::StepT &matmul = *function.steps[2];
  EXPECT_EQ(matmul.name, "model.layers.2");
  ASSERT_EQ(matmul.bindings.size(), 4u);
  EXPECT_EQ(matmul.bindings[0]->space, schema::Space_arena);
  EXPECT_EQ(matmul.bindings[1]->space, schema::Space_weight);
  EXPECT_EQ(matmul.bindings[2]->space, schema::Space_state);
  EXPECT_EQ(evaluate(*matmul.bindings[2]->offset, {1, 10}), 2 * 10 * 8192);
  EXPECT_EQ(evaluate(*matmul.bindings[2]->size_bytes, {1, 10}), 10 * 8192);
  EXPECT_EQ(evaluate(*matmul.bindings[3]->offset, {7, 10}), 7 * 256);
  EXPECT_EQ(evaluate(*matmul.bindings[3]->size_bytes, {7, 10}), 7 * 192);
  EXPECT_EQ(function.steps[3]->bindings[2]->space, schema::Space_output);

  ASSERT_EQ(program->kernels.size(), 2u);
  EXPECT_EQ(program->kernels[0]->description, "mul");
  EXPECT_EQ(evaluate(*program->kernels[1]->macs, {3, 1}), 3 * 40 * 64);
  EXPECT_EQ(program->images[0]->kernels[0]->refused[0], "fast: not for rows of 64");

  // @same holds the bytes of @w; @unused is not read.
  ASSERT_EQ(program->weights.size(), 2u);
  EXPECT_EQ(function.steps[3]->bindings[1]->index, function.steps[0]->bindings[1]->index);
  EXPECT_EQ(program->weights[0]->relative_rms_error, 0);
  EXPECT_GT(program->weights[1]->relative_rms_error, 0);
  EXPECT_EQ(program->weights[1]->offset, 256u);
  EXPECT_EQ(program->facts[0]->key, "architecture");
  EXPECT_EQ(program->language_model->eos_tokens, (std::vector<int32_t>{2, 3}));
  EXPECT_EQ(program->language_model->temperature, 0.5f);
  EXPECT_EQ(program->language_model->repetition_penalty, 1.0f);
}

TEST(ArtifactWriter, WritesASoundContainer) {
  Written written;
  ASSERT_EQ(written.write(), "");
  std::string bytes = readFile(written.path);
  kiln_artifact_header header;
  std::memcpy(&header, bytes.data(), sizeof header);
  EXPECT_EQ(header.total_size, bytes.size());
  EXPECT_EQ(written.report.totalBytes, bytes.size());
  ASSERT_EQ(header.section_count, 4u);
  const char *table = bytes.data() + sizeof header;
  EXPECT_EQ(header.table_checksum, XXH64(table, 4 * sizeof(kiln_section), 0));
  for (uint32_t i = 0; i < 4; ++i) {
    kiln_section section;
    std::memcpy(&section, table + i * sizeof section, sizeof section);
    EXPECT_EQ(section.offset % KILN_SECTION_ALIGNMENT, 0u);
    EXPECT_EQ(section.checksum, XXH64(bytes.data() + section.offset, section.size, 0));
  }
  EXPECT_EQ(llvm::StringRef(bytes).substr(0, 8), KILN_ARTIFACT_MAGIC);
  EXPECT_EQ(written.folder.names().size(), 3u); // two sources and the artifact
}

TEST(ArtifactWriter, WritesTheSameBytes) {
  Written first, second;
  ASSERT_EQ(first.write(1), "");
  ASSERT_EQ(second.write(4), "");
  EXPECT_EQ(readFile(first.path), readFile(second.path));
}

TEST(ArtifactWriter, LeavesNothingBehindOnFailure) {
  Written written;
  llvm::sys::fs::remove(written.folder.file("q.bin"));
  EXPECT_NE(written.write().find("q.bin: cannot open"), std::string::npos);
  EXPECT_EQ(written.folder.names(), std::vector<std::string>{"w.bin"});
}

TEST(ArtifactWriter, KeepsTheOldFileOnFailure) {
  Written written;
  written.folder.write("out.kiln", std::vector<char>{'o', 'l', 'd'});
  llvm::sys::fs::remove(written.folder.file("q.bin"));
  EXPECT_NE(written.write(), "");
  EXPECT_EQ(readFile(written.path), "old");
}

TEST(ArtifactWriter, ReportsAFullDisk) {
  Written written;
  struct rlimit old, limit;
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &old), 0);
  auto handler = std::signal(SIGXFSZ, SIG_IGN); // writing fails instead
  limit = old;
  limit.rlim_cur = 40000;
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
  std::string message = written.write();
  setrlimit(RLIMIT_FSIZE, &old);
  std::signal(SIGXFSZ, handler);
  EXPECT_NE(message.find(written.path + ": cannot write the artifact"), std::string::npos)
      << message;
  EXPECT_NE(message.find("it needs " + std::to_string(written.report.totalBytes) + " bytes"),
            std::string::npos)
      << message;
  EXPECT_EQ(written.folder.names(), (std::vector<std::string>{"q.bin", "w.bin"}));
}

TEST(ArtifactWriter, NamesAnUnwritablePlace) {
  Written written;
  written.path = written.folder.file("no/such/folder.kiln");
  EXPECT_NE(written.write().find("folder.kiln: cannot create the artifact"), std::string::npos);
  written.path = written.folder.path.str().str();
  EXPECT_NE(written.write().find("it is a directory"), std::string::npos);
}

TEST(ArtifactWriter, NamesAMissingKernel) {
  Written written;
  KernelImage image = smallImage(written.module.get().getContext());
  image.kernels.pop_back();
  llvm::Error error = writeArtifact(written.module.get(), written.folder.path, image, std::nullopt,
                                    written.path, {}, written.report);
  EXPECT_EQ(llvm::toString(std::move(error)), "the image for test has no kernel 'matmul'");
}
