// A folder that cannot be imported gives one report that names everything that is wrong with it.
#include "ImportedModule.h"
#include "TinyModel.h"
#include <filesystem>
#include <fstream>

using namespace kiln;
using namespace kiln::testing;
using nlohmann::json;

/// The report without its first line's folder: "N problems\n  …".
static std::string importError(const TemporaryFolder &folder, const ImportOptions &options = {}) {
  ImportedModule imported(folder.get(), options);
  EXPECT_FALSE(imported.module);
  std::string start = "cannot import " + folder.get() + ": ";
  EXPECT_EQ(imported.error.rfind(start, 0), 0u) << imported.error;
  return imported.error.substr(std::min(start.size(), imported.error.size()));
}

TEST(BadFolder, MissingFolderAndFiles) {
  TemporaryFolder folder;
  EXPECT_EQ(importError(folder),
            "2 problems\n"
            "  config.json: cannot be read: No such file or directory\n"
            "  expected model.safetensors or model.safetensors.index.json, found neither");
  ImportedModule absent(folder.path("absent"));
  EXPECT_EQ(absent.error,
            "cannot import " + folder.path("absent") +
                ": 1 problem\n  expected a folder, a GGUF file or an ONNX file, found nothing");
}

TEST(BadFolder, UnknownFamily) {
  TemporaryFolder folder;
  TinyModel model = TinyModel::llama();
  model.config["model_type"] = "mamba";
  model.write(folder);
  EXPECT_EQ(
      importError(folder),
      "1 problem\n  config.json: model_type: expected one of bert, bloom, camembert, distilbert, "
      "gemma2, gemma3, gemma3_text, gpt2, gpt_neox, llama, mistral, mixtral, olmo2, phi3, qwen2, "
      "qwen3, qwen3_moe, roberta, smollm3, stablelm, starcoder2, xlm-roberta, found \"mamba\"");
}

TEST(BadFolder, OneReportNamesEveryTensorProblem) {
  TemporaryFolder folder;
  TinyModel model = TinyModel::llama(1);
  model.remove("model.layers.0.input_layernorm.weight");
  model.find("model.layers.0.mlp.down_proj.weight").shape = {16, 23};
  model.find("model.layers.0.self_attn.q_proj.weight").dtype = "I64";
  model.tensors.push_back({"model.layers.1.mlp.up_proj.weight", "F32", {24, 16}});
  model.write(folder);
  EXPECT_EQ(
      importError(folder),
      "4 problems\n"
      "  model.layers.0.input_layernorm.weight: expected a tensor of shape [16], found none\n"
      "  model.safetensors: model.layers.0.mlp.down_proj.weight: expected [16, 24], found [16, "
      "23]\n"
      "  model.safetensors: model.layers.0.self_attn.q_proj.weight: expected F32, F16 or BF16, "
      "found "
      "I64\n"
      "  model.safetensors: model.layers.1.mlp.up_proj.weight: is no tensor of a llama model of 1 "
      "layers");
}

TEST(BadFolder, ConfigAndFileProblemsComeTogether) {
  TemporaryFolder folder;
  TinyModel model = TinyModel::llama(1);
  model.config["hidden_act"] = "sine";
  model.write(folder);
  std::ofstream(folder.path("model.safetensors"), std::ios::trunc) << "abc";
  EXPECT_EQ(importError(folder),
            "2 problems\n"
            "  model.safetensors: expected 8 bytes of header length, found a file of 3 bytes\n"
            "  config.json: hidden_act: expected silu, relu, gelu or gelu_new, found \"sine\"");
}

TEST(BadFolder, MissingShard) {
  TemporaryFolder folder;
  TinyModel::llama(1).write(folder, 2);
  std::filesystem::remove(folder.path("model-2.safetensors"));
  EXPECT_EQ(importError(folder),
            "1 problem\n  model-2.safetensors: cannot be read: No such file or directory");
}

TEST(BadFolder, IndexAndShardsMustAgree) {
  TemporaryFolder folder;
  TinyModel model = TinyModel::llama(1);
  model.write(folder, 2);
  json index;
  std::ifstream(folder.path("model.safetensors.index.json")) >> index;
  index["weight_map"]["model.norm.weight"] = "model-2.safetensors"; // it is in the other
  index["weight_map"]["more"] = "model-1.safetensors";
  index["weight_map"].erase("lm_head.weight");
  folder.write("model.safetensors.index.json", index.dump());
  EXPECT_EQ(
      importError(folder),
      "3 problems\n"
      "  model-2.safetensors: model.norm.weight: expected here by model.safetensors.index.json, "
      "found in model-1.safetensors\n"
      "  model-1.safetensors: more: expected here by model.safetensors.index.json, found "
      "nowhere\n"
      "  model-2.safetensors: lm_head.weight: is not in model.safetensors.index.json");
}

TEST(BadFolder, ShardsOutsideTheFolderAreRefused) {
  TemporaryFolder folder;
  TinyModel::llama(1).write(folder, 2);
  folder.write("model.safetensors.index.json", R"({"weight_map":{"x":"../../etc/passwd"}})");
  EXPECT_EQ(importError(folder),
            "1 problem\n  model.safetensors.index.json: x: expected the name of a file beside the "
            "index, found \"../../etc/passwd\"");
}

TEST(BadFolder, AFolderInPlaceOfAFileIsRefused) {
  TemporaryFolder folder;
  TinyModel::llama(1).write(folder);
  std::filesystem::remove(folder.path("model.safetensors"));
  std::filesystem::create_directory(folder.path("model.safetensors"));
  EXPECT_EQ(importError(folder),
            "1 problem\n  model.safetensors: expected a regular file, found a folder or a device");
}

TEST(BadFolder, OptionsAreChecked) {
  TemporaryFolder folder;
  TinyModel::llama(1).write(folder);
  ImportOptions options;
  options.maxTokens = 0, options.pageSize = 5000, options.contextLength = 0;
  EXPECT_EQ(
      importError(folder, options),
      "3 problems\n"
      "  max tokens: expected at least 1, found 0\n"
      "  page size: expected 1 to 4096, found 5000\n"
      "  config.json: max_position_embeddings: expected a requested context of 1 to 100, found "
      "0");
}

TEST(BadFolder, EveryTruncatedPrefixOfTheWeightsIsAnError) {
  TemporaryFolder folder;
  TinyModel::llama(1).write(folder);
  auto size = std::filesystem::file_size(folder.path("model.safetensors"));
  // From the end on, in steps that grow, so that header and data are both cut often.
  for (uintmax_t cut = 1; cut < size; cut += 1 + cut / 16) {
    std::filesystem::resize_file(folder.path("model.safetensors"), size - cut);
    EXPECT_NE(importError(folder).find("model.safetensors: "), std::string::npos);
  }
}
