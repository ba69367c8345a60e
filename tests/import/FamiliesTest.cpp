// What families vary reaches the graph: which ops there are, what their attributes say, and which
// bytes of which tensors make a weight. The values are compared with transformers by
// compare_with_transformers.py.
#include "ImportedModule.h"
#include "TinyModel.h"
#include "mlir/IR/Diagnostics.h"
#include <filesystem>

using namespace kiln;
using namespace kiln::testing;
using nlohmann::json;

/// hidden 16, 4 heads on 2 kv heads, MLP 24, vocabulary 32, context 100, `layers` layers.
static json configOf(const char *modelType, int layers, const char *patch = "{}") {
  json config = TinyModel::llama(layers).config;
  config["model_type"] = modelType;
  config.merge_patch(json::parse(patch));
  return config;
}

namespace {
struct Imported {
  explicit Imported(const json &config) {
    TinyModel::fromConfig(config).write(folder);
    imported.emplace(folder.get());
    EXPECT_TRUE(imported->module) << imported->error;
  }
  template <typename Op> std::vector<Op> all() {
    std::vector<Op> ops;
    imported->getDecode().walk([&](Op op) { ops.push_back(op); });
    return ops;
  }
  std::map<std::string, int> counts() { return imported->countOps(); }

  TemporaryFolder folder;
  std::optional<ImportedModule> imported;
};
} // namespace

/// The rows of the file that make the weight, as "first+count" each; the tensor has rows of
/// `columns` f32.
static std::string printRows(graph::WeightOp weight, int64_t base, int64_t columns) {
  std::string text;
  for (auto source : weight.getSources().getAsRange<graph::SourceAttr>())
    text += (text.empty() ? "" : " ") +
            std::to_string((source.getOffset() - base) / (4 * columns)) + "+" +
            std::to_string(source.getShape()[0]);
  return text;
}

static int64_t firstOffset(graph::WeightOp weight) {
  return mlir::cast<graph::SourceAttr>(weight.getSources()[0]).getOffset();
}

TEST(Families, MistralAttendsThroughAWindow) {
  Imported model(configOf("mistral", 2, R"({"sliding_window":40})"));
  for (graph::AttentionOp op : model.all<graph::AttentionOp>())
    EXPECT_EQ(op.getWindow(), 40u);
}

TEST(Families, Gemma3VariesByLayer) {
  Imported model(configOf("gemma3_text", 6, R"({"sliding_window":8,"head_dim":8,
      "query_pre_attn_scalar":4,"final_logit_softcapping":30})"));
  std::vector<graph::AttentionOp> attentions = model.all<graph::AttentionOp>();
  std::vector<graph::RopeOp> ropes = model.all<graph::RopeOp>();
  ASSERT_EQ(attentions.size(), 6u);
  ASSERT_EQ(ropes.size(), 12u);
  for (size_t i = 0; i < 6; ++i) {
    EXPECT_EQ(attentions[i].getWindow().value_or(0), i == 5 ? 0u : 8u);
    EXPECT_EQ(attentions[i].getScale().convertToDouble(), 0.5);
    EXPECT_FALSE(attentions[i].getSoftcap());
    EXPECT_EQ(ropes[2 * i].getTheta().convertToDouble(), i == 5 ? 1e6 : 1e4);
  }
  std::map<std::string, int> counts = model.counts();
  EXPECT_EQ(counts["rms_norm"], 6 * 6 + 1);
  EXPECT_EQ(counts["gelu_tanh"], 6);
  EXPECT_EQ(counts["scale"], 1);
  EXPECT_EQ(counts["softcap"], 1);
  for (graph::RmsNormOp norm : model.all<graph::RmsNormOp>()) {
    auto use = norm.getWeight().getDefiningOp<graph::WeightRefOp>();
    graph::WeightOp weight = model.imported->getWeight(use.getWeight().str());
    ASSERT_EQ(weight.getTransforms().size(), 1u);
    EXPECT_TRUE(mlir::isa<graph::OffsetAttr>(weight.getTransforms()[0]));
  }
}

TEST(Families, Phi3GateAndUpArePartsOfOneTensor) {
  Imported model(configOf("phi3", 1));
  graph::WeightOp gate = model.imported->getWeight("model.layers.0.mlp.gate_up_proj.gate.weight");
  graph::WeightOp up = model.imported->getWeight("model.layers.0.mlp.gate_up_proj.up.weight");
  EXPECT_EQ(printRows(gate, firstOffset(gate), 16), "0+24");
  EXPECT_EQ(printRows(up, firstOffset(gate), 16), "24+24");
  EXPECT_EQ(model.counts()["slice"], 3); // query, key, value
}

TEST(Families, NeoxHeadsLieInOrderOfTheirUse) {
  json config = configOf("gpt_neox", 1, R"({"layer_norm_eps":1e-5,"hidden_act":"gelu",
      "rotary_pct":0.5})");
  config["num_attention_heads"] = 2; // of 8 elements
  Imported model(config);
  graph::WeightOp weight =
      model.imported->getWeight("gpt_neox.layers.0.attention.query_key_value.weight");
  EXPECT_EQ(printRows(weight, firstOffset(weight), 16), "0+8 24+8 8+8 32+8 16+8 40+8");
  graph::WeightOp bias =
      model.imported->getWeight("gpt_neox.layers.0.attention.query_key_value.bias");
  EXPECT_EQ(printRows(bias, firstOffset(bias), 1), "0+8 24+8 8+8 32+8 16+8 40+8");
  for (graph::RopeOp rope : model.all<graph::RopeOp>())
    EXPECT_EQ(rope.getRotaryDim(), 4u);
}

TEST(Families, ParallelResidualsReadTheSameInput) {
  for (bool parallel : {false, true}) {
    json config = configOf("stablelm", 1);
    config["use_parallel_residual"] = parallel;
    config["head_dim"] = nullptr;
    config["hidden_size"] = 32;
    Imported model(config);
    EXPECT_EQ(model.counts()["layer_norm"], parallel ? 2 : 3);
  }
}

TEST(Families, BloomHasSlopesAndNoRotation) {
  Imported model(json{{"model_type", "bloom"},
                      {"hidden_size", 16},
                      {"n_layer", 1},
                      {"n_head", 4},
                      {"vocab_size", 32}});
  ASSERT_EQ(model.all<graph::AttentionOp>().size(), 1u);
  EXPECT_EQ(model.all<graph::AttentionOp>()[0].getSlopes()->size(), 4u);
  EXPECT_EQ(model.counts()["rope"], 0);
  EXPECT_EQ(model.counts()["layer_norm"], 1 + 2 + 1);
}

TEST(Families, ExpertsAreOneWeightOfEachKind) {
  Imported model(configOf("mixtral", 1, R"({"num_local_experts":3,"num_experts_per_tok":2})"));
  EXPECT_EQ(model.counts()["experts_matmul"], 3);
  ASSERT_EQ(model.all<graph::RouteOp>().size(), 1u);
  EXPECT_EQ(model.all<graph::RouteOp>()[0].getUsed(), 2u);
  EXPECT_TRUE(model.all<graph::RouteOp>()[0].getNormalize());
  graph::WeightOp down =
      model.imported->getWeight("model.layers.0.block_sparse_moe.experts.w2.weight");
  EXPECT_EQ(model.imported->printType(down.getType()), "tensor<48x24xf32>");
  EXPECT_EQ(down.getSources().size(), 3u);
}

// ---- Encoders ---------------------------------------------------------------------------------

/// hidden 16, 4 heads, MLP 24, vocabulary 32, 64 positions, one layer.
static json encoderOf(const char *modelType, const char *patch = "{}") {
  json config = {{"model_type", modelType}, {"hidden_size", 16},
                 {"num_hidden_layers", 1},  {"num_attention_heads", 4},
                 {"intermediate_size", 24}, {"vocab_size", 32},
                 {"type_vocab_size", 2},    {"max_position_embeddings", 64},
                 {"layer_norm_eps", 1e-12}};
  config.merge_patch(json::parse(patch));
  return config;
}

TEST(Encoders, BertSeesAllAndNormalisesSums) {
  Imported model(encoderOf("bert"));
  std::map<std::string, int> counts = model.counts();
  EXPECT_EQ(counts["embed"], 3);
  EXPECT_EQ(counts["layer_norm"], 1 + 2);
  EXPECT_EQ(counts["gelu"], 1);
  EXPECT_EQ(counts["rope"], 0);
  ASSERT_EQ(model.all<graph::AttentionOp>().size(), 1u);
  EXPECT_TRUE(model.all<graph::AttentionOp>()[0].getLengths());
  // The sum of the residual goes through the norm, whose result is the next residual.
  auto norm = model.all<graph::LayerNormOp>().back();
  EXPECT_TRUE(norm.getInput().getDefiningOp<graph::AddOp>());
  EXPECT_TRUE(mlir::isa<graph::ReturnOp>(*norm.getResult().user_begin()));
  EXPECT_FALSE((*model.imported->module)->hasAttr("graph.language_model"));
  EXPECT_EQ(model.imported->print((*model.imported->module)->getAttr("graph.encoder")),
            "{context_length = 64 : i64, function = \"encode\", hidden_size = 16 : i64, "
            "normalize = false, page_size = 64 : i64, pooling = \"mean\", vocab_size = 32 : i64}");
}

TEST(Encoders, LayersShareThePagesOfOne) {
  Imported model(encoderOf("bert", R"({"num_hidden_layers":3})"));
  for (graph::AttentionOp op : model.all<graph::AttentionOp>()) {
    EXPECT_EQ(op.getLayer(), 0u);
    EXPECT_EQ(op.getCache().getType().getLayers(), 1);
  }
}

TEST(Encoders, RobertaPositionsBeginBehindPadding) {
  Imported model(encoderOf("roberta", R"({"pad_token_id":1,"type_vocab_size":1})"));
  graph::WeightOp table =
      model.imported->getWeight("roberta.embeddings.position_embeddings.weight");
  EXPECT_EQ(model.imported->printType(table.getType()), "tensor<62x16xf32>");
  auto facts = (*model.imported->module)->getAttrOfType<mlir::DictionaryAttr>("graph.encoder");
  EXPECT_EQ(model.imported->print(facts.get("context_length")), "62 : i64");
}

TEST(Encoders, HeadsOfOtherTasksAreLeftOut) {
  TinyModel model = TinyModel::fromConfig(encoderOf("bert"));
  for (const char *name : {"cls.predictions.bias", "bert.pooler.dense.weight", "pooler.dense.bias"})
    model.tensors.push_back({name, "F32", {4}});
  model.tensors.push_back({"bert.embeddings.position_ids", "I64", {1, 64}});
  TemporaryFolder folder;
  model.write(folder);
  EXPECT_TRUE(ImportedModule(folder.get()).module);
  model.tensors.push_back({"classifier.weight", "F32", {2, 16}});
  model.write(folder);
  ImportedModule refused(folder.get());
  EXPECT_FALSE(refused.module);
  EXPECT_NE(refused.error.find("classifier.weight: is no tensor of a bert model"),
            std::string::npos)
      << refused.error;
}

TEST(Encoders, OtherPositionsAreRefused) {
  TemporaryFolder folder;
  TinyModel model = TinyModel::fromConfig(encoderOf("bert"));
  model.config["position_embedding_type"] = "relative_key";
  model.write(folder);
  ImportedModule refused(folder.get());
  EXPECT_NE(
      refused.error.find("position_embedding_type: expected absolute, found \"relative_key\""),
      std::string::npos)
      << refused.error;
}

TEST(Encoders, SentenceFilesSayPoolingAndLength) {
  TemporaryFolder folder;
  TinyModel::fromConfig(encoderOf("bert")).write(folder);
  folder.write("modules.json",
               R"([{"idx":0,"path":"","type":"sentence_transformers.models.Transformer"},
                   {"idx":1,"path":"1_Pooling","type":"sentence_transformers.models.Pooling"},
                   {"idx":2,"path":"2_Normalize","type":"sentence_transformers.models.Normalize"}])");
  folder.write("sentence_bert_config.json", R"({"max_seq_length":40})");
  ImportedModule missing(folder.get());
  EXPECT_NE(missing.error.find("1_Pooling/config.json: expected the pooling"), std::string::npos)
      << missing.error;
  std::filesystem::create_directory(folder.path("1_Pooling"));
  folder.write("1_Pooling/config.json",
               R"({"word_embedding_dimension":16,"pooling_mode_cls_token":true})");
  ImportedModule model(folder.get());
  ASSERT_TRUE(model.module) << model.error;
  auto facts = (*model.module)->getAttrOfType<mlir::DictionaryAttr>("graph.encoder");
  EXPECT_EQ(model.print(facts.get("pooling")), "\"cls\"");
  EXPECT_EQ(model.print(facts.get("normalize")), "true");
  EXPECT_EQ(model.print(facts.get("context_length")), "40 : i64");
}

// ---- Text parts of multimodal models ----------------------------------------------------------

TEST(TextParts, Gemma3IsImportedWithoutItsVision) {
  json text = configOf("gemma3_text", 1, R"({"head_dim":8,"sliding_window":8})");
  for (const char *prefix : {"language_model.model.", "model.language_model."}) {
    TinyModel model = TinyModel::fromConfig(text);
    size_t before = model.tensors.size();
    for (TinyTensor &tensor : model.tensors)
      tensor.name = prefix + tensor.name.substr(std::string("model.").size());
    model.tensors.push_back({"vision_tower.vision_model.post_layernorm.weight", "F32", {4}});
    model.tensors.push_back({"model.multi_modal_projector.mm_input_projection_weight", "F32", {4}});
    ASSERT_EQ(model.tensors.size(), before + 2);
    model.config = {{"model_type", "gemma3"}, {"text_config", text}, {"eos_token_id", 3}};
    model.config["text_config"].erase("eos_token_id");
    TemporaryFolder folder;
    model.write(folder);
    std::string warning;
    ImportedModule imported("nowhere");
    mlir::ScopedDiagnosticHandler handler(
        &imported.context, [&](mlir::Diagnostic &diagnostic) { warning += diagnostic.str(); });
    auto module = importModel(folder.get(), {}, imported.context);
    ASSERT_TRUE(bool(module)) << llvm::toString(module.takeError());
    EXPECT_NE(warning.find("2 tensors of other parts are left out"), std::string::npos) << warning;
    auto facts = (**module)->getAttrOfType<mlir::DictionaryAttr>("graph.language_model");
    EXPECT_EQ(imported.print(facts.get("eos_tokens")), "[3]");
  }
}
