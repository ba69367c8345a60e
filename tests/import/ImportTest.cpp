// Tiny models of every family become modules that verify and say what the model computes.
#include "ImportedModule.h"
#include "TinyModel.h"
#include <filesystem>

using namespace kiln;
using namespace kiln::testing;

static std::vector<std::string> printLimits(ImportedModule &imported) {
  std::vector<std::string> limits;
  graph::FuncOp decode = imported.getDecode();
  for (unsigned i = 0; i < decode.getNumArguments(); ++i) {
    auto name = decode.getArgAttrOfType<mlir::StringAttr>(i, "graph.name");
    auto limit = decode.getArgAttrOfType<mlir::AffineMapAttr>(i, "graph.index_limit");
    limits.push_back(name.str() + ": " + (limit ? imported.print(limit) : "none"));
  }
  return limits;
}

TEST(Import, LlamaHasOneOpPerOpOfTheModel) {
  TemporaryFolder folder;
  TinyModel::llama(2).write(folder);
  ImportedModule imported(folder.get());
  ASSERT_TRUE(imported.module) << imported.error;
  EXPECT_EQ(imported.countOps(), (std::map<std::string, int>{{"func", 1},
                                                             {"return", 1},
                                                             {"use", 2 * 9 + 3},
                                                             {"embed", 1},
                                                             {"rms_norm", 5},
                                                             {"matmul", 2 * 7 + 1},
                                                             {"rope", 4},
                                                             {"attention", 2},
                                                             {"add", 4},
                                                             {"silu", 2},
                                                             {"mul", 2},
                                                             {"gather", 1}}));
}

TEST(Import, Gpt2HasOneOpPerOpOfTheModel) {
  TemporaryFolder folder;
  TinyModel::gpt2(2).write(folder);
  ImportedModule imported(folder.get());
  ASSERT_TRUE(imported.module) << imported.error;
  EXPECT_EQ(imported.countOps(), (std::map<std::string, int>{{"func", 1},
                                                             {"return", 1},
                                                             {"use", 2 * 12 + 5},
                                                             {"embed", 2},
                                                             {"layer_norm", 5},
                                                             {"matmul", 2 * 4 + 1},
                                                             {"slice", 6},
                                                             {"attention", 2},
                                                             {"add", 2 * 6 + 1},
                                                             {"gelu_tanh", 2},
                                                             {"gather", 1}}));
}

TEST(Import, DeclaresDimsAndInputsInTheAgreedOrder) {
  TemporaryFolder folder;
  TinyModel::llama().write(folder);
  ImportedModule imported(folder.get());
  ASSERT_TRUE(imported.module) << imported.error;
  std::string dims;
  for (graph::DimOp dim : graph::getDeclaredDims(*imported.module))
    dims += dim.getSymName().str() + "[" + std::to_string(dim.getMin()) + "," +
            std::to_string(dim.getMax()) + "] ";
  EXPECT_EQ(dims, "n[1,100] m[0,100] s[1,256] b[1,2] p[1,1048576] ");
  EXPECT_EQ(imported.printType(imported.getDecode().getFunctionType()),
            "(tensor<?xi32, #graph.dims<@n>>, tensor<?xi32, #graph.dims<@n>>, "
            "tensor<?xi32, #graph.dims<@n>>, tensor<?x?xi32, #graph.dims<@s, @b>>, "
            "tensor<?xi32, #graph.dims<@m>>, !graph.cache<layers = 2, kv_heads = 2, head_dim = 4, "
            "page_size = 64, pages = @p, f32>) -> tensor<?x32xf32, #graph.dims<@m>>");
}

TEST(Import, PositionsStayBelowTheContext) {
  TemporaryFolder folder;
  TinyModel::llama().write(folder); // a context of 100 positions in pages of 64
  ImportedModule imported(folder.get());
  ASSERT_TRUE(imported.module) << imported.error;
  EXPECT_EQ(printLimits(imported),
            (std::vector<std::string>{
                "tokens: affine_map<()[s0, s1, s2, s3, s4] -> (32)>",
                "positions: affine_map<()[s0, s1, s2, s3, s4] -> (s3 * 64 - (s3 floordiv 2) * 28)>",
                "slots: affine_map<()[s0, s1, s2, s3, s4] -> (s2)>",
                "block_table: affine_map<()[s0, s1, s2, s3, s4] -> (s4)>",
                "out_rows: affine_map<()[s0, s1, s2, s3, s4] -> (s0)>", "kv_cache: none"}));
}

TEST(Import, OptionsReachTheModule) {
  TemporaryFolder folder;
  TinyModel::llama().write(folder);
  ImportOptions options;
  options.maxTokens = 8, options.pageSize = 16, options.contextLength = 48,
  options.cache = CacheElement::F16;
  ImportedModule imported(folder.get(), options);
  ASSERT_TRUE(imported.module) << imported.error;
  EXPECT_EQ(
      imported.printType(imported.getDecode().getArgumentTypes().back()),
      "!graph.cache<layers = 2, kv_heads = 2, head_dim = 4, page_size = 16, pages = @p, f16>");
  EXPECT_EQ(printLimits(imported)[1], "positions: affine_map<()[s0, s1, s2, s3, s4] -> (s3 * 16)>");
  auto dims = graph::getDeclaredDims(*imported.module);
  EXPECT_EQ(int64_t(dims[0].getMax()), 8);
  EXPECT_EQ(int64_t(dims[3].getMax()), 3);
}

TEST(Import, WeightsKeepTheFormatOfTheirSource) {
  for (auto [dtype, format] : {std::pair("F32", "f32"), {"F16", "f16"}, {"BF16", "bf16"}}) {
    TemporaryFolder folder;
    TinyModel::llama(1, dtype).write(folder);
    ImportedModule imported(folder.get());
    ASSERT_TRUE(imported.module) << imported.error;
    graph::WeightOp weight = imported.getWeight("model.layers.0.mlp.down_proj.weight");
    EXPECT_EQ(weight.getFormat(), format);
    EXPECT_EQ(weight.getLayout(), "rows");
    EXPECT_EQ(imported.printType(weight.getType()), "tensor<16x24xf32>");
    auto source = mlir::cast<graph::SourceAttr>(weight.getSources()[0]);
    EXPECT_EQ(source.getFile(), "model.safetensors");
    EXPECT_EQ(source.getDtype(), format);
  }
}

TEST(Import, SourceOffsetsPointAtTheTensorsBytes) {
  TemporaryFolder folder;
  TinyModel::llama(1).write(folder);
  ImportedModule imported(folder.get());
  ASSERT_TRUE(imported.module) << imported.error;
  auto offset = [&](llvm::StringRef name) {
    return mlir::cast<graph::SourceAttr>(imported.getWeight(name).getSources()[0]).getOffset();
  };
  // The writer lays tensors out in the order of its list; the last one ends the file.
  EXPECT_EQ(uint64_t(offset("lm_head.weight")) + 32 * 16 * 4,
            std::filesystem::file_size(folder.path("model.safetensors")));
  EXPECT_EQ(offset("model.layers.0.input_layernorm.weight"),
            offset("model.embed_tokens.weight") + 32 * 16 * 4);
}

TEST(Import, ShardsGiveTheSameGraph) {
  TemporaryFolder whole, sharded;
  TinyModel::llama().write(whole);
  TinyModel::llama().write(sharded, 3);
  ImportedModule one(whole.get()), many(sharded.get());
  ASSERT_TRUE(one.module) << one.error;
  ASSERT_TRUE(many.module) << many.error;
  EXPECT_EQ(one.countOps(), many.countOps());
  auto source = [&](llvm::StringRef name) {
    return mlir::cast<graph::SourceAttr>(many.getWeight(name).getSources()[0]).getFile().str();
  };
  EXPECT_EQ(source("model.embed_tokens.weight"), "model-1.safetensors");
  EXPECT_EQ(source("model.layers.0.input_layernorm.weight"), "model-2.safetensors");
}

TEST(Import, Gpt2WeightsAreTransposedAndTheHeadIsTied) {
  TemporaryFolder folder;
  TinyModel::gpt2(1).write(folder);
  ImportedModule imported(folder.get());
  ASSERT_TRUE(imported.module) << imported.error;
  graph::WeightOp qkv = imported.getWeight("transformer.h.0.attn.c_attn.weight");
  EXPECT_EQ(imported.printType(qkv.getType()), "tensor<48x16xf32>");
  EXPECT_EQ(imported.print(qkv.getTransforms()), "[#graph.transpose]");
  EXPECT_FALSE(imported.getWeight("lm_head.weight"));
  auto logits = imported.getDecode().getBody().front().getTerminator()->getOperand(0);
  auto head = logits.getDefiningOp<graph::MatmulOp>();
  ASSERT_TRUE(head);
  EXPECT_EQ(head.getWeight().getDefiningOp<graph::WeightRefOp>().getWeight(),
            "transformer.wte.weight");
}

TEST(Import, NamesWithoutTheFamilysPrefixAreTaken) {
  TemporaryFolder folder;
  TinyModel::gpt2(1, "").write(folder);
  ImportedModule imported(folder.get());
  ASSERT_TRUE(imported.module) << imported.error;
  EXPECT_TRUE(imported.getWeight("h.0.attn.c_attn.weight"));
}

TEST(Import, ATiedHeadThatWasSavedAllTheSameIsLeftOut) {
  TemporaryFolder folder;
  TinyModel model = TinyModel::llama(1);
  model.config["tie_word_embeddings"] = true;
  model.write(folder);
  ImportedModule imported(folder.get());
  ASSERT_TRUE(imported.module) << imported.error;
  EXPECT_FALSE(imported.getWeight("lm_head.weight"));
}

TEST(Import, BiasesFollowTheConfig) {
  TemporaryFolder folder;
  TinyModel model = TinyModel::llama(1);
  model.config["attention_bias"] = true;
  for (auto [module, size] :
       {std::pair("q_proj", 16), {"k_proj", 8}, {"v_proj", 8}, {"o_proj", 16}})
    model.tensors.push_back(
        {std::string("model.layers.0.self_attn.") + module + ".bias", "F32", {size}});
  model.write(folder);
  ImportedModule imported(folder.get());
  ASSERT_TRUE(imported.module) << imported.error;
  EXPECT_EQ(imported.countOps()["add"], 2 + 4);
}

TEST(Import, ScaledRopeCarriesItsFrequencies) {
  TemporaryFolder folder;
  TinyModel model = TinyModel::llama(1);
  model.config["rope_scaling"] = {{"rope_type", "linear"}, {"factor", 2.0}};
  model.write(folder);
  ImportedModule imported(folder.get());
  ASSERT_TRUE(imported.module) << imported.error;
  imported.getDecode().walk([](graph::RopeOp rope) {
    EXPECT_EQ(rope.getFrequencies(), (llvm::SmallVector<double>{0.5, 0.005}));
  });
}

TEST(Import, LocationsNameTheModelsModules) {
  TemporaryFolder folder;
  TinyModel::llama(4).write(folder);
  ImportedModule imported(folder.get());
  ASSERT_TRUE(imported.module) << imported.error;
  std::vector<std::string> names;
  imported.getDecode().walk([&](mlir::Operation *op) {
    auto name = llvm::dyn_cast<mlir::NameLoc>(op->getLoc());
    ASSERT_TRUE(name) << op->getName().getStringRef().str();
    if (llvm::isa<graph::MatmulOp>(op))
      names.push_back(name.getName().str());
  });
  ASSERT_EQ(names.size(), 29u);
  EXPECT_EQ(names[21], "model.layers.3.self_attn.q_proj");
  EXPECT_EQ(names[27], "model.layers.3.mlp.down_proj");
  EXPECT_EQ(names[28], "lm_head");
}

TEST(Import, SaysHowToGenerate) {
  TemporaryFolder folder;
  TinyModel model = TinyModel::llama(1);
  model.generation = {
      {"eos_token_id", {2, 3}}, {"do_sample", true}, {"temperature", 0.5}, {"top_k", 20}};
  model.tokenizer = {{"add_bos_token", true}};
  model.write(folder);
  ImportedModule imported(folder.get());
  ASSERT_TRUE(imported.module) << imported.error;
  EXPECT_EQ(
      imported.print((*imported.module)->getAttr("graph.language_model")),
      "{add_bos = true, bos_token = 1 : i64, cache_layers = 1 : i64, context_length = 100 : i64, "
      "eos_tokens = [2, 3], function = \"decode\", page_size = 64 : i64, temperature = "
      "5.000000e-01 : f64, top_k = "
      "20 : i64, vocab_size = 32 : i64}");
}

TEST(Import, FactsNameTheModelAndItsSource) {
  TemporaryFolder folder;
  TinyModel model = TinyModel::llama(1);
  model.config["_name_or_path"] = "someone/tiny-llama";
  model.write(folder);
  folder.write("README.md", "---\nlanguage: en\nlicense: apache-2.0\n---\n# Tiny\n");
  ImportedModule first(folder.get());
  ASSERT_TRUE(first.module) << first.error;
  auto facts = (*first.module)->getAttrOfType<mlir::DictionaryAttr>("graph.facts");
  auto get = [&](llvm::StringRef key) { return facts.getAs<mlir::StringAttr>(key).str(); };
  EXPECT_EQ(get("architecture"), "llama");
  EXPECT_EQ(get("name"), "tiny-llama");
  EXPECT_EQ(get("license"), "apache-2.0");
  EXPECT_EQ(get("context_length"), "100");
  std::string hash = get("source_hash");
  // Another config or another header is another hash; the same import is the same module.
  EXPECT_EQ(ImportedModule(folder.get()).print(), first.print());
  model.config["rms_norm_eps"] = 1e-6;
  model.write(folder);
  ImportedModule second(folder.get());
  ASSERT_TRUE(second.module) << second.error;
  facts = (*second.module)->getAttrOfType<mlir::DictionaryAttr>("graph.facts");
  EXPECT_NE(get("source_hash"), hash);
}

TEST(Import, TheModuleRoundTripsThroughText) {
  TemporaryFolder folder;
  TinyModel::gpt2(1).write(folder);
  ImportedModule imported(folder.get());
  ASSERT_TRUE(imported.module) << imported.error;
  auto parsed = mlir::parseSourceString<mlir::ModuleOp>(imported.print(), &imported.context);
  ASSERT_TRUE(parsed);
  std::string text;
  llvm::raw_string_ostream stream(text);
  parsed->print(stream);
  EXPECT_EQ(text, imported.print());
}
