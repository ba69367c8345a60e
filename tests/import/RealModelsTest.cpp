// Trained models made elsewhere import as they are.
#include "ImportedModule.h"
#include "llvm/Support/FileSystem.h"

using namespace kiln;
using namespace kiln::testing;

#define KILN_NEED_MODEL(folder)                                                                    \
  if (!llvm::sys::fs::exists(folder))                                                              \
  GTEST_SKIP() << folder << " is absent"

TEST(RealModels, Stories260K) {
  std::string folder = KILN_SHARED_DIR "/models/stories260K";
  KILN_NEED_MODEL(folder);
  ImportedModule imported(folder);
  ASSERT_TRUE(imported.module) << imported.error;
  auto counts = imported.countOps();
  EXPECT_EQ(counts["attention"], 5);
  EXPECT_EQ(counts["matmul"], 5 * 7 + 1);
  EXPECT_EQ(counts["rms_norm"], 11);
  EXPECT_EQ(
      imported.printType(imported.getDecode().getArgumentTypes().back()),
      "!graph.cache<layers = 5, kv_heads = 4, head_dim = 8, page_size = 64, pages = @p, f32>");
  EXPECT_EQ(
      imported.print((*imported.module)->getAttr("graph.language_model")),
      "{add_bos = true, bos_token = 1 : i64, cache_layers = 5 : i64, context_length = 512 : i64, "
      "eos_tokens = [2], function = \"decode\", page_size = 64 : i64, temperature = 0.000000e+00 : "
      "f64, "
      "vocab_size = 512 : i64}");
}

TEST(RealModels, CappGpt) {
  std::string folder = KILN_SHARED_DIR "/models/capp-gpt";
  KILN_NEED_MODEL(folder);
  ImportedModule imported(folder);
  ASSERT_TRUE(imported.module) << imported.error;
  auto counts = imported.countOps();
  EXPECT_EQ(counts["attention"], 4);
  EXPECT_EQ(counts["layer_norm"], 9);
  EXPECT_EQ(counts["gelu_tanh"], 4);
  // Its begin token, 50256, lies outside its vocabulary of 53.
  EXPECT_EQ(imported.print((*imported.module)->getAttr("graph.language_model")),
            "{cache_layers = 4 : i64, context_length = 512 : i64, eos_tokens = [51], function = "
            "\"decode\", page_size = 64 : "
            "i64, vocab_size = 53 : i64}");
}
