// Writes tiny models: config files and safetensors, whole or sharded.
#include "TinyModel.h"
#include "compiler/import/DecoderPlan.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <map>

using namespace kiln;
using namespace kiln::testing;
using nlohmann::json;

TemporaryFolder::TemporaryFolder() {
  std::string pattern = ::testing::TempDir() + "kiln-import-XXXXXX";
  EXPECT_NE(mkdtemp(pattern.data()), nullptr);
  folder = pattern;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code failed;
  std::filesystem::remove_all(folder, failed);
  EXPECT_FALSE(failed) << failed.message();
}

void TemporaryFolder::write(const std::string &file, const std::string &bytes) const {
  std::ofstream stream(path(file), std::ios::binary);
  stream << bytes;
  EXPECT_TRUE(stream.good()) << file;
}

std::string kiln::testing::joinSafetensors(const std::string &header, const std::string &data) {
  uint64_t length = header.size();
  std::string bytes(8, 0);
  memcpy(bytes.data(), &length, 8);
  return bytes + header + data;
}

static int64_t countElements(const TinyTensor &tensor) {
  int64_t count = 1;
  for (int64_t extent : tensor.shape)
    count *= extent;
  return count;
}

static void appendValue(std::string &data, const std::string &dtype, float value) {
  uint32_t bits;
  memcpy(&bits, &value, 4);
  if (dtype == "F32") {
    data.append(reinterpret_cast<const char *>(&bits), 4);
  } else if (dtype == "BF16") {
    data.append(reinterpret_cast<const char *>(&bits) + 2, 2);
  } else if (dtype == "F16") { // values are normal numbers in f16 too
    uint16_t half = uint16_t((bits >> 16 & 0x8000) | (((bits >> 23 & 0xff) - 112) << 10) |
                             (bits >> 13 & 0x3ff));
    data.append(reinterpret_cast<const char *>(&half), 2);
  } else { // a dtype that only tests of refusal use
    data.append(dtype == "I64" ? 8 : 1, 0);
  }
}

std::string kiln::testing::packSafetensors(const std::vector<TinyTensor> &tensors) {
  json header = json::object();
  std::string data;
  uint32_t state = 12345;
  for (const TinyTensor &tensor : tensors) {
    size_t begin = data.size();
    for (int64_t i = 0, count = countElements(tensor); i < count; ++i) {
      state = state * 1664525 + 1013904223;
      float value = 0.01f + float(state >> 8) / float(1 << 24) / 4; // in [0.01, 0.26)
      appendValue(data, tensor.dtype, state & 1 ? value : -value);
    }
    header[tensor.name] = {
        {"dtype", tensor.dtype}, {"shape", tensor.shape}, {"data_offsets", {begin, data.size()}}};
  }
  return joinSafetensors(header.dump(), data);
}

TinyModel TinyModel::llama(int layers, const std::string &dtype) {
  TinyModel model;
  model.config = {{"model_type", "llama"},
                  {"hidden_size", 16},
                  {"num_hidden_layers", layers},
                  {"num_attention_heads", 4},
                  {"num_key_value_heads", 2},
                  {"intermediate_size", 24},
                  {"vocab_size", 32},
                  {"max_position_embeddings", 100},
                  {"rms_norm_eps", 1e-5},
                  {"hidden_act", "silu"},
                  {"bos_token_id", 1},
                  {"eos_token_id", 2}};
  model.tensors = {{"model.embed_tokens.weight", dtype, {32, 16}}};
  for (int i = 0; i < layers; ++i) {
    std::string layer = "model.layers." + std::to_string(i) + ".";
    auto add = [&](const std::string &module, std::vector<int64_t> shape) {
      model.tensors.push_back({layer + module + ".weight", dtype, std::move(shape)});
    };
    add("input_layernorm", {16});
    add("self_attn.q_proj", {16, 16});
    add("self_attn.k_proj", {8, 16});
    add("self_attn.v_proj", {8, 16});
    add("self_attn.o_proj", {16, 16});
    add("post_attention_layernorm", {16});
    add("mlp.gate_proj", {24, 16});
    add("mlp.up_proj", {24, 16});
    add("mlp.down_proj", {16, 24});
  }
  model.tensors.push_back({"model.norm.weight", dtype, {16}});
  model.tensors.push_back({"lm_head.weight", dtype, {32, 16}});
  return model;
}

TinyModel TinyModel::gpt2(int layers, const std::string &prefix) {
  TinyModel model;
  model.config = {{"model_type", "gpt2"}, {"n_embd", 16},
                  {"n_layer", layers},    {"n_head", 4},
                  {"n_inner", nullptr},   {"n_positions", 64},
                  {"vocab_size", 32},     {"layer_norm_epsilon", 1e-5}};
  auto add = [&](const std::string &name, std::vector<int64_t> shape) {
    model.tensors.push_back({prefix + name, "F32", std::move(shape)});
  };
  add("wte.weight", {32, 16});
  add("wpe.weight", {64, 16});
  for (int i = 0; i < layers; ++i) {
    std::string layer = "h." + std::to_string(i) + ".";
    auto addMap = [&](const std::string &module, std::vector<int64_t> shape) {
      add(layer + module + ".bias", {shape.back()});
      add(layer + module + ".weight", std::move(shape));
    };
    addMap("ln_1", {16});
    addMap("attn.c_attn", {16, 48});
    addMap("attn.c_proj", {16, 16});
    addMap("ln_2", {16});
    addMap("mlp.c_fc", {16, 64});
    addMap("mlp.c_proj", {64, 16});
    add(layer + "attn.bias", {1, 1, 64, 64}); // the mask that old files carry
  }
  add("ln_f.weight", {16});
  add("ln_f.bias", {16});
  return model;
}

TinyModel TinyModel::fromConfig(const nlohmann::json &config) {
  TinyModel model;
  model.config = config;
  Problems problems;
  auto object = ConfigObject::parse("config.json", config.dump(), problems);
  auto read = object ? readDecoderConfig(*object, std::nullopt) : std::nullopt;
  EXPECT_TRUE(read) << (problems.empty() ? "" : problems.getLines()[0]);
  if (read)
    for (const auto &[name, shape] : planDecoder(*read, /*withPrefix=*/true).tensors)
      model.tensors.push_back({name, "F32", shape});
  return model;
}

TinyTensor &TinyModel::find(const std::string &name) {
  return *std::find_if(tensors.begin(), tensors.end(),
                       [&](const TinyTensor &tensor) { return tensor.name == name; });
}

void TinyModel::remove(const std::string &name) {
  tensors.erase(tensors.begin() + (&find(name) - tensors.data()));
}

void TinyModel::write(const TemporaryFolder &folder, int shards) const {
  folder.write("config.json", config.dump());
  if (!generation.is_null())
    folder.write("generation_config.json", generation.dump());
  if (!tokenizer.is_null())
    folder.write("tokenizer_config.json", tokenizer.dump());
  if (shards == 1)
    return folder.write("model.safetensors", packSafetensors(tensors));
  json map = json::object();
  for (int shard = 0; shard < shards; ++shard) {
    std::string file = "model-" + std::to_string(shard + 1) + ".safetensors";
    std::vector<TinyTensor> part;
    for (size_t i = size_t(shard); i < tensors.size(); i += size_t(shards)) {
      part.push_back(tensors[i]);
      map[tensors[i].name] = file;
    }
    folder.write(file, packSafetensors(part));
  }
  folder.write("model.safetensors.index.json", json{{"weight_map", map}}.dump());
}
