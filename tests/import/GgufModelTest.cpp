// A GGUF model imports to the graph that the same model's Hugging Face folder gives, whatever the
// converter has done to names, rows and norms; and what cannot be imported is named.
#include "compiler/import/gguf/GgufModel.h"
#include "ImportedModule.h"
#include "TinyGguf.h"
#include <regex>

using namespace kiln;
using namespace kiln::testing;

static std::string importError(const std::string &path) {
  ImportedModule imported(path);
  EXPECT_FALSE(imported.module);
  std::string start = "cannot import " + path + ": ";
  EXPECT_EQ(imported.error.rfind(start, 0), 0u) << imported.error;
  return imported.error.substr(std::min(start.size(), imported.error.size()));
}

static std::string importError(const TinyGguf &file) {
  TemporaryFolder folder;
  folder.write("m.gguf", file.build());
  return importError(folder.path("m.gguf"));
}

/// The module without what says where it comes from.
static std::string printGraph(ImportedModule &imported) {
  (*imported.module)->removeAttr("graph.facts");
  (*imported.module)->removeAttr("graph.language_model");
  std::string text = imported.print();
  text = std::regex_replace(text, std::regex("#graph\\.source<[^>]*>"), "source");
  return std::regex_replace(text, std::regex("#[a-z_]*[0-9]*( = )source"), "source$1source");
}

TEST(GgufModel, GivesTheGraphOfTheSameFolder) {
  TemporaryFolder files, gguf;
  TinyModel::llama().write(files);
  gguf.write("m.gguf", TinyGguf::llama().build());
  ImportedModule expected(files.get()), found(gguf.path("m.gguf"));
  ASSERT_TRUE(expected.module) << expected.error;
  ASSERT_TRUE(found.module) << found.error;
  EXPECT_EQ(found.countOps(), expected.countOps());
  EXPECT_EQ(printGraph(found), printGraph(expected));
}

TEST(GgufModel, SourcesAreTheFilesTensors) {
  TemporaryFolder folder;
  TinyGguf file = TinyGguf::llama(1);
  folder.write("m.gguf", file.build());
  ImportedModule imported(folder.get()); // the only model in its folder
  ASSERT_TRUE(imported.module) << imported.error;
  auto source = [&](llvm::StringRef weight) {
    auto sources = imported.getWeight(weight).getSources().getAsRange<graph::SourceAttr>();
    return *sources.begin();
  };
  graph::SourceAttr query = source("model.layers.0.self_attn.q_proj.weight");
  EXPECT_EQ(query.getName(), "blk.0.attn_q.weight");
  EXPECT_EQ(query.getFile(), "m.gguf");
  EXPECT_EQ(query.getDtype(), "f32");
  EXPECT_EQ(query.getInterleaved(), 4);
  EXPECT_EQ(source("model.layers.0.self_attn.k_proj.weight").getInterleaved(), 4);
  EXPECT_EQ(source("model.layers.0.self_attn.v_proj.weight").getInterleaved(), 0);
  EXPECT_EQ(source("lm_head.weight").getName(), "output.weight");
  EXPECT_EQ(imported.print(
                (*imported.module)->getAttrOfType<mlir::DictionaryAttr>("graph.facts").get("name")),
            "\"Tiny\"");
}

TEST(GgufModel, WithoutAnOutputTheHeadIsTheEmbedding) {
  TemporaryFolder folder;
  TinyGguf file = TinyGguf::llama(1);
  file.remove("output.weight");
  folder.write("m.gguf", file.build());
  ImportedModule imported(folder.get());
  ASSERT_TRUE(imported.module) << imported.error;
  EXPECT_FALSE(imported.getWeight("lm_head.weight"));
}

TEST(GgufModel, BlocksStayInTheirFile) {
  TemporaryFolder folder;
  TinyGguf file = TinyGguf::llama(1);
  for (TinyGguf::Tensor &tensor : file.tensors)
    if (tensor.name == "output.weight" || tensor.name == "token_embd.weight") {
      tensor.type = 30; // BF16
      tensor.bytes.resize(32 * 16 * 2);
    }
  folder.write("m.gguf", file.build());
  ImportedModule imported(folder.get());
  ASSERT_TRUE(imported.module) << imported.error;
  EXPECT_EQ(imported.getWeight("lm_head.weight").getFormat(), "bf16");
}

TEST(GgufModel, DivisorsOfFrequenciesScaleTheRotation) {
  TemporaryFolder folder;
  TinyGguf file = TinyGguf::llama(1);
  file.tensors.push_back({"rope_freqs.weight", 0, {2}, little(1.0f) + little(8.0f), {}});
  folder.write("m.gguf", file.build());
  ImportedModule imported(folder.get());
  ASSERT_TRUE(imported.module) << imported.error;
  imported.getDecode().walk([&](graph::RopeOp rope) {
    auto frequencies = rope.getFrequencies();
    ASSERT_EQ(frequencies.size(), 2u);
    EXPECT_EQ(frequencies[0], 1.0);
    EXPECT_NEAR(frequencies[1], 0.01 / 8, 1e-9);
  });
  file.tensors.back().bytes = little(1.0f) + little(0.0f);
  EXPECT_EQ(importError(file), "1 problem\n  m.gguf: rope_freqs.weight: expected numbers above 0, "
                               "found one that is not");
}

TEST(GgufModel, UnknownArchitecturesAreRefusedWithTheList) {
  TinyGguf file = TinyGguf::llama(1);
  file.values.erase(file.values.begin());
  EXPECT_EQ(importError(file), "1 problem\n  m.gguf: general.architecture: expected one of " +
                                   listGgufArchitectures() + ", found nothing");
  file.addString("general.architecture", "mamba");
  EXPECT_EQ(importError(file), "1 problem\n  m.gguf: general.architecture: expected one of " +
                                   listGgufArchitectures() + ", found \"mamba\"");
}

TEST(GgufModel, HyperparametersHaveBounds) {
  for (const char *key :
       {"llama.block_count", "llama.embedding_length", "llama.context_length",
        "llama.attention.head_count", "llama.attention.head_count_kv", "llama.feed_forward_length"})
    for (uint32_t value : {0u, ~0u}) {
      TinyGguf file = TinyGguf::llama(1);
      std::string start = ggufString(key);
      for (std::string &entry : file.values)
        if (entry.rfind(start, 0) == 0)
          entry = start + little(uint32_t(4)) + little(value);
      EXPECT_NE(importError(file), "") << key;
    }
}

TEST(GgufModel, TensorsThatAreMissingOrTooManyAreNamed) {
  TinyGguf file = TinyGguf::llama(1);
  file.remove("blk.0.attn_norm.weight");
  file.addTensor("blk.0.attn_q.scale", {16});
  file.addTensor("blk.1.ffn_up.weight", {24, 16});
  EXPECT_EQ(importError(file),
            "3 problems\n"
            "  model.layers.0.input_layernorm.weight: expected a tensor of shape [16], found none\n"
            "  m.gguf: model.layers.0.self_attn.q_proj.scale: is no tensor of a llama model of 1 "
            "layers\n"
            "  m.gguf: model.layers.1.mlp.up_proj.weight: is no tensor of a llama model of 1 "
            "layers");
}

TEST(GgufModel, HeadsOfInterleavedRowsAreWhole) {
  TinyGguf file = TinyGguf::llama(1);
  file.find("blk.0.attn_q.weight").shape = {10, 16};
  EXPECT_EQ(importError(file),
            "1 problem\n  m.gguf: blk.0.attn_q.weight: expected heads of an even "
            "number of rows, found [10, 16] for heads of 4");
}

// ---- Several files ---------------------------------------------------------------------------

static void writeSplits(const TemporaryFolder &folder, TinyGguf file, uint32_t secondNumber = 1,
                        int32_t tensorCount = 0) {
  TinyGguf second;
  while (second.tensors.size() < 5) {
    second.tensors.push_back(file.tensors.back());
    file.tensors.pop_back();
  }
  int32_t count = tensorCount ? tensorCount : int32_t(file.tensors.size()) + 5;
  for (TinyGguf *part : {&file, &second}) {
    part->add("split.no", GgufValueType::UInt16,
              little(uint16_t(part == &file ? 0 : secondNumber)));
    part->add("split.count", GgufValueType::UInt16, little(uint16_t(2)));
    part->add("split.tensors.count", GgufValueType::Int32, little(count));
  }
  folder.write("m-00001-of-00002.gguf", file.build());
  folder.write("m-00002-of-00002.gguf", second.build());
}

TEST(GgufModel, ReadsSplitModels) {
  TemporaryFolder folder;
  writeSplits(folder, TinyGguf::llama(1));
  ImportedModule imported(folder.get());
  ASSERT_TRUE(imported.module) << imported.error;
  auto source = llvm::cast<graph::SourceAttr>(imported.getWeight("lm_head.weight").getSources()[0]);
  EXPECT_EQ(source.getFile(), "m-00002-of-00002.gguf");
}

TEST(GgufModel, SplitModelsAreWhole) {
  TemporaryFolder folder;
  writeSplits(folder, TinyGguf::llama(1), 2);
  EXPECT_EQ(importError(folder.get()),
            "1 problem\n  m-00002-of-00002.gguf: split.no: expected 1 of 2, found 2 of 2");
  writeSplits(folder, TinyGguf::llama(1), 1, 99);
  EXPECT_EQ(importError(folder.get()), "1 problem\n  m-00001-of-00002.gguf: split.tensors.count: "
                                       "expected 12, which all files have together, found 99");
  writeSplits(folder, TinyGguf::llama(1));
  EXPECT_EQ(importError(folder.path("m-00002-of-00002.gguf")),
            "1 problem\n  m-00002-of-00002.gguf: split.no: expected the first file of a split "
            "model, which brings the others, found number 2");
  ASSERT_EQ(remove(folder.path("m-00002-of-00002.gguf").c_str()), 0);
  EXPECT_EQ(importError(folder.get()),
            "1 problem\n  m-00002-of-00002.gguf: cannot be read: No such file or directory");
}

TEST(GgufModel, SplitModelsNameNoTensorTwice) {
  TemporaryFolder folder;
  TinyGguf file = TinyGguf::llama(1);
  file.tensors.insert(file.tensors.begin(), TinyGguf::Tensor(file.find("output_norm.weight")));
  writeSplits(folder, file);
  EXPECT_NE(importError(folder.get()).find("is also in m-00001-of-00002.gguf"), std::string::npos);
}

TEST(GgufModel, AFolderOfSeveralModelsAsksForOne) {
  TemporaryFolder folder;
  folder.write("a.gguf", TinyGguf::llama(1).build());
  folder.write("b.gguf", TinyGguf::llama(1).build());
  EXPECT_EQ(importError(folder.get()), "1 problem\n  expected one model, found several files: "
                                       "name one of a.gguf, b.gguf");
}

TEST(GgufModel, TokensAndTemplatesComeFromTheMetadata) {
  TinyGguf file = TinyGguf::llama(1);
  file.addStrings("tokenizer.ggml.tokens", {"<unk>", "<s>", "</s>", "<|im_end|>"});
  file.addString("tokenizer.ggml.model", "llama");
  file.addString("tokenizer.chat_template", "{{ messages }}");
  TemporaryFolder folder;
  folder.write("m.gguf", file.build());
  Problems problems;
  auto model = readGgufModel(folder.get(), "m.gguf", problems);
  ASSERT_TRUE(model);
  auto decoder = translateGguf(*model, problems);
  ASSERT_TRUE(decoder);
  EXPECT_EQ(decoder->tokenizer.getString("chat_template"), "{{ messages }}");
  EXPECT_EQ(decoder->tokenizer.getBool("add_bos_token"), true);
  EXPECT_EQ(decoder->generation.getIntegers("eos_token_id", 0, 99), (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(decoder->generation.getIntegers("bos_token_id", 0, 99), (std::vector<int64_t>{1}));
}
