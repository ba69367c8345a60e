// What families vary reaches the graph: which ops there are, what their attributes say, and which
// bytes of which tensors make a weight. The values are compared with transformers by
// compare_with_transformers.py.
#include "ImportedModule.h"
#include "TinyModel.h"

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
