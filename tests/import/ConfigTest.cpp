// config.json is read through the family's record; what is wrong or not supported is named by key.
#include "TinyModel.h"
#include "compiler/import/DecoderConfig.h"
#include <cmath>
#include <gtest/gtest.h>

using namespace kiln;
using namespace kiln::testing;
using nlohmann::json;

static std::optional<DecoderConfig> read(const json &config, std::string &text,
                                         std::optional<int64_t> context = std::nullopt) {
  Problems problems;
  auto object = ConfigObject::parse("config.json", config.dump(), problems);
  std::optional<DecoderConfig> result;
  if (object)
    result = readDecoderConfig(*object, context);
  text.clear();
  for (const std::string &line : problems.getLines())
    text += (text.empty() ? "" : "\n") + line;
  return result;
}

/// The problems of a tiny Llama's config with `patch` merged into it.
static std::string readPatched(const char *patch, std::optional<int64_t> context = std::nullopt) {
  json config = TinyModel::llama().config;
  config.merge_patch(json::parse(patch));
  std::string text;
  bool sound = read(config, text, context).has_value();
  EXPECT_EQ(sound, text.empty());
  return text;
}

TEST(Config, ReadsLlama) {
  std::string text;
  auto config = read(TinyModel::llama().config, text);
  ASSERT_TRUE(config) << text;
  EXPECT_EQ(config->headDim, 4);
  EXPECT_EQ(config->kvHeads, 2);
  EXPECT_EQ(config->contextLength, 100);
  EXPECT_FALSE(config->tied);
  EXPECT_FALSE(config->qkvBias);
  EXPECT_EQ(config->activation, Activation::Silu);
  EXPECT_EQ(config->rotary.rotaryDim, 4);
  EXPECT_EQ(config->rotary.theta, 10000);
}

TEST(Config, ReadsGpt2) {
  std::string text;
  auto config = read(TinyModel::gpt2().config, text);
  ASSERT_TRUE(config) << text;
  EXPECT_EQ(config->intermediate, 64); // n_inner is null: four times n_embd
  EXPECT_TRUE(config->tied);
  EXPECT_TRUE(config->qkvBias);
  EXPECT_EQ(config->activation, Activation::GeluTanh);
}

TEST(Config, UnknownFamilyListsTheKnownOnes) {
  EXPECT_EQ(
      readPatched(R"({"model_type":"mamba"})"),
      "config.json: model_type: expected one of bert, bloom, camembert, distilbert, gemma2, "
      "gemma3, "
      "gemma3_text, gpt2, gpt_neox, llama, mistral, mixtral, olmo2, phi3, qwen2, qwen3, qwen3_moe, "
      "roberta, smollm3, stablelm, starcoder2, xlm-roberta, found \"mamba\"");
  EXPECT_EQ(
      readPatched(R"({"model_type":null})"),
      "config.json: model_type: expected one of bert, bloom, camembert, distilbert, gemma2, "
      "gemma3, "
      "gemma3_text, gpt2, gpt_neox, llama, mistral, mixtral, olmo2, phi3, qwen2, qwen3, qwen3_moe, "
      "roberta, smollm3, stablelm, starcoder2, xlm-roberta, found nothing");
}

TEST(Config, NamesEveryProblemAtOnce) {
  EXPECT_EQ(readPatched(R"({"hidden_size":0,"vocab_size":"many","num_hidden_layers":null,
                            "hidden_act":"swiglu","attention_bias":1,"rms_norm_eps":2,
                            "quantization_config":{}})"),
            "config.json: hidden_size: expected an integer from 1 to 262144, found 0\n"
            "config.json: num_hidden_layers: expected an integer from 1 to 1024, found nothing\n"
            "config.json: vocab_size: expected an integer from 1 to 16777216, found \"many\"\n"
            "config.json: rms_norm_eps: expected a number from 0 to 1, found 2\n"
            "config.json: hidden_act: expected silu, relu, gelu or gelu_new, found \"swiglu\"\n"
            "config.json: attention_bias: expected true or false, found 1\n"
            "config.json: quantization_config: expected plain F32, F16 or BF16 weights, found "
            "quantized ones: compile the original model and let the compiler quantize it");
}

TEST(Config, HeadsMustDivide) {
  EXPECT_EQ(readPatched(R"({"num_key_value_heads":3})"),
            "config.json: num_key_value_heads: expected a divisor of num_attention_heads (4), "
            "found 3");
  EXPECT_EQ(readPatched(R"({"num_attention_heads":6})"),
            "config.json: num_attention_heads: expected a divisor of hidden_size (16), found 6");
  EXPECT_EQ(readPatched(R"({"head_dim":5})"),
            "config.json: head_dim: expected heads of an even number of rotated elements, found 5 "
            "of 5");
}

/// The windows of the layers of a tiny Llama's config with `patch` merged into it.
static std::vector<int64_t> readWindows(const char *patch,
                                        std::optional<int64_t> context = std::nullopt) {
  json config = TinyModel::llama(/*layers=*/4).config;
  config.merge_patch(json::parse(patch));
  std::string text;
  auto read = ::read(config, text, context);
  EXPECT_TRUE(read) << text;
  std::vector<int64_t> windows;
  for (const LayerConfig &layer : read ? read->layerConfigs : std::vector<LayerConfig>())
    windows.push_back(layer.window);
  return windows;
}

TEST(Config, Windows) {
  using Windows = std::vector<int64_t>;
  EXPECT_EQ(readWindows(R"({"model_type":"mistral","sliding_window":40})"),
            Windows({40, 40, 40, 40}));
  // A window as long as the context is none.
  EXPECT_EQ(readWindows(R"({"model_type":"mistral","sliding_window":100})"), Windows(4));
  EXPECT_EQ(readWindows(R"({"model_type":"mistral","sliding_window":40})", 40), Windows(4));
  EXPECT_EQ(readWindows(R"({"model_type":"mistral","sliding_window":null})"), Windows(4));
  EXPECT_EQ(readWindows(R"({"model_type":"qwen2","sliding_window":40})"), Windows(4));
  EXPECT_EQ(readWindows(R"({"model_type":"qwen2","sliding_window":40,"use_sliding_window":true,
                            "max_window_layers":3})"),
            Windows({0, 0, 0, 40}));
  EXPECT_EQ(readWindows(R"({"model_type":"gemma2","sliding_window":40})"), Windows({40, 0, 40, 0}));
  EXPECT_EQ(readWindows(R"({"model_type":"gemma3_text","sliding_window":40,
                            "sliding_window_pattern":3})"),
            Windows({40, 40, 0, 40}));
  EXPECT_EQ(readWindows(R"({"model_type":"gemma3_text","sliding_window":40,
                            "layer_types":["full_attention","sliding_attention",
                                           "full_attention","full_attention"]})"),
            Windows({0, 40, 0, 0}));
}

TEST(Config, LayerTypesMustFit) {
  EXPECT_EQ(readPatched(R"({"model_type":"gemma2","layer_types":["full_attention"]})"),
            "config.json: layer_types: expected one for each of 2 layers, found 1");
  EXPECT_EQ(readPatched(R"({"model_type":"gemma2","layer_types":["full_attention","chunked"]})"),
            "config.json: layer_types: expected sliding_attention or full_attention, found "
            "\"chunked\"");
  EXPECT_EQ(readPatched(R"({"model_type":"qwen2","use_sliding_window":true,
                            "layer_types":["full_attention","sliding_attention"]})"),
            "config.json: sliding_window: expected an integer, found nothing");
}

TEST(Config, Gemma3RotatesByKindOfLayer) {
  json config = TinyModel::llama(/*layers=*/6).config;
  config.merge_patch(json::parse(R"({"model_type":"gemma3_text","sliding_window":8,"head_dim":8,
      "rope_theta":1e6,"rope_local_base_freq":5e3,"rope_scaling":{"rope_type":"linear","factor":8}})"));
  std::string text;
  auto old = read(config, text);
  ASSERT_TRUE(old) << text;
  // Newer files have an object for each kind.
  for (const char *key : {"rope_theta", "rope_local_base_freq", "rope_scaling"})
    config.erase(key);
  config["rope_parameters"] = json::parse(R"({
      "full_attention":{"rope_type":"linear","rope_theta":1e6,"factor":8},
      "sliding_attention":{"rope_type":"default","rope_theta":5e3}})");
  auto recent = read(config, text);
  ASSERT_TRUE(recent) << text;
  for (const DecoderConfig &found : {*old, *recent}) {
    EXPECT_EQ(found.rotary.theta, 1e6);
    ASSERT_EQ(found.rotary.frequencies.size(), 4u);
    EXPECT_DOUBLE_EQ(found.rotary.frequencies[0], 0.125);
    EXPECT_EQ(found.localRotary.theta, 5e3);
    EXPECT_TRUE(found.localRotary.frequencies.empty());
    for (size_t i = 0; i < 6; ++i)
      EXPECT_EQ(found.layerConfigs[i].rotation,
                i == 5 ? LayerConfig::Rotation::Global : LayerConfig::Rotation::Local);
    EXPECT_DOUBLE_EQ(found.scoreScale, 1.0 / 16); // query_pre_attn_scalar is 256
    EXPECT_EQ(found.embeddingScale, 4);
    EXPECT_EQ(found.attentionSoftcap, 0);
  }
}

TEST(Config, LayersWithoutRotation) {
  json config = TinyModel::llama(/*layers=*/5).config;
  config["model_type"] = "smollm3";
  auto rotates = [&](json list) {
    config["no_rope_layers"] = std::move(list);
    std::string text, found;
    auto read = ::read(config, text);
    for (size_t i = 0; read && i < 5; ++i)
      found += read->layerConfigs[i].rotation == LayerConfig::Rotation::Global ? '1' : '0';
    return read ? found : text;
  };
  EXPECT_EQ(rotates(nullptr), "11101");
  EXPECT_EQ(rotates({0, 1, 1, 1, 0}), "01110");
  EXPECT_EQ(rotates({0, 1}),
            "config.json: no_rope_layers: expected one for each of 5 layers, found 2");
}

TEST(Config, SlopesOfALinearBias) {
  auto slopes = [](int64_t heads) {
    std::string text;
    auto read = ::read(json{{"model_type", "bloom"},
                            {"hidden_size", 12 * heads},
                            {"n_layer", 1},
                            {"n_head", heads},
                            {"vocab_size", 8}},
                       text);
    EXPECT_TRUE(read) << text;
    return read ? read->slopes : std::vector<double>();
  };
  EXPECT_EQ(slopes(4), std::vector<double>({1.0 / 4, 1.0 / 16, 1.0 / 64, 1.0 / 256}));
  EXPECT_EQ(slopes(6), std::vector<double>({1.0 / 4, 1.0 / 16, 1.0 / 64, 1.0 / 256, 0.5, 1.0 / 8}));
}

TEST(Config, RequestedContextMustFitTheModel) {
  EXPECT_EQ(readPatched("{}", 100), "");
  EXPECT_EQ(readPatched("{}", 101),
            "config.json: max_position_embeddings: expected a requested context of 1 to 100, found "
            "101");
}

TEST(Config, RopeScaling) {
  json config = TinyModel::llama().config;
  config["head_dim"] = 64;
  config["rope_theta"] = 500000.0;
  config["rope_scaling"] = {{"rope_type", "llama3"},
                            {"factor", 8.0},
                            {"low_freq_factor", 1.0},
                            {"high_freq_factor", 4.0},
                            {"original_max_position_embeddings", 8192}};
  std::string text;
  auto scaled = read(config, text);
  ASSERT_TRUE(scaled) << text;
  const std::vector<double> &got = scaled->rotary.frequencies;
  ASSERT_EQ(got.size(), 32u);
  for (size_t i = 0; i < got.size(); ++i) {
    // Written as transformers' _compute_llama3_parameters does, by wavelength.
    double plain = std::pow(500000.0, -double(i) / 32), wavelength = 2 * M_PI / plain, want = plain;
    if (wavelength > 8192 / 1.0)
      want = plain / 8;
    else if (wavelength >= 8192 / 4.0) {
      double smooth = (8192 / wavelength - 1.0) / (4.0 - 1.0);
      want = (1 - smooth) * plain / 8 + smooth * plain;
    }
    EXPECT_NEAR(got[i], want, 1e-12 * plain) << i;
  }

  config["rope_scaling"] = {{"type", "linear"}, {"factor", 4}};
  scaled = read(config, text);
  ASSERT_TRUE(scaled) << text;
  EXPECT_DOUBLE_EQ(scaled->rotary.frequencies[0], 0.25);

  // transformers 5 writes one object for theta and scaling.
  config.erase("rope_scaling");
  config["rope_parameters"] = {{"rope_type", "default"}, {"rope_theta", 1000.0}};
  scaled = read(config, text);
  ASSERT_TRUE(scaled) << text;
  EXPECT_EQ(scaled->rotary.theta, 1000);
  EXPECT_TRUE(scaled->rotary.frequencies.empty());
}

TEST(Config, UnknownRopeScalingIsRefused) {
  EXPECT_EQ(
      readPatched(R"({"rope_scaling":{"rope_type":"spiral","factor":4}})"),
      "config.json: rope_scaling: rope_type: expected default, linear, dynamic, llama3, yarn or "
      "longrope, found \"spiral\"");
  EXPECT_EQ(readPatched(R"({"rope_scaling":{"rope_type":"longrope","short_factor":[1,2,3],
                                            "long_factor":[1,2]}})"),
            "config.json: rope_scaling: short_factor: expected 2 numbers, found 3");
  EXPECT_EQ(readPatched(R"({"rope_scaling":{"type":"linear"}})"),
            "config.json: rope_scaling: factor: expected a number, found nothing");
}

TEST(Config, Gpt2VariantsThatTheGraphDoesNotComputeAreRefused) {
  json config = TinyModel::gpt2().config;
  config["scale_attn_by_inverse_layer_idx"] = true;
  std::string text;
  EXPECT_FALSE(read(config, text));
  EXPECT_EQ(text,
            "config.json: scale_attn_by_inverse_layer_idx: expected false, found true: scores "
            "are not scaled by layer");
}

TEST(Config, DeepJsonIsRefused) {
  Problems problems;
  std::string deep = R"({"a":)" + std::string(1000000, '[') + std::string(1000000, ']') + "}";
  EXPECT_FALSE(ConfigObject::parse("config.json", deep, problems));
  EXPECT_EQ(problems.getLines()[0], "config.json: not sound JSON: nested deeper than 32");
}

static GenerationConfig readGeneration(const json &generation, const json &tokenizer,
                                       Problems &problems) {
  auto parse = [&](const char *file, const json &value) {
    return *ConfigObject::parse(file, value.dump(), problems);
  };
  return readGenerationConfig(parse("config.json", {{"bos_token_id", 1}, {"eos_token_id", 2}}),
                              parse("generation_config.json", generation),
                              parse("tokenizer_config.json", tokenizer), 32);
}

TEST(Generation, WinsOverConfigAndSamplesOnlyWhenAsked) {
  Problems problems;
  GenerationConfig got = readGeneration({{"eos_token_id", {3, 4}},
                                         {"do_sample", true},
                                         {"temperature", 0.6},
                                         {"top_k", 40},
                                         {"top_p", 0.9}},
                                        {{"add_bos_token", false}}, problems);
  EXPECT_TRUE(problems.empty());
  EXPECT_EQ(got.bosToken, 1);
  EXPECT_EQ(got.eosTokens, (std::vector<int64_t>{3, 4}));
  EXPECT_EQ(got.temperature, 0.6);
  EXPECT_EQ(got.topK, 40);
  EXPECT_EQ(got.topP, 0.9);
  EXPECT_EQ(got.addBos, false);
  got = readGeneration({{"do_sample", false}, {"temperature", 0.6}},
                       {{"tokenizer_class", "LlamaTokenizer"}}, problems);
  EXPECT_EQ(got.temperature, 0.0);
  EXPECT_EQ(got.addBos, true);
}

TEST(Generation, TokensOutsideTheVocabularyAreLeftOutWithAWarning) {
  Problems problems;
  GenerationConfig got = readGeneration({{"bos_token_id", 50256}}, json::object(), problems);
  EXPECT_FALSE(got.bosToken);
  ASSERT_EQ(got.warnings.size(), 1u);
  EXPECT_EQ(got.warnings[0], "bos_token_id: 50256 is outside the vocabulary of 32 and is left out");
}
