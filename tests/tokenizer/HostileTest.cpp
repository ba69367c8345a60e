// Files that nobody vouches for: truncated, damaged, or asking for what is not supported. Each
// gives an error that names the thing, or a tokenizer that works; never a crash.

#include "CompiledTokenizer.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>
#include <unistd.h>

using kiln::test::CompiledTokenizer;

namespace {

std::string readFile(const std::string &path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

std::string goldenJson(const char *name) {
  return readFile(std::string(KILN_TEST_GOLDEN_DIR) + "/" + name + "/tokenizer.json");
}

/// The error of compiling this text, or "".
std::string compileError(const std::string &json, const std::string &config = "") {
  auto tables = kiln::compileTokenizerJson(json, config);
  return tables ? "" : llvm::toString(tables.takeError());
}

std::string replaced(std::string text, const std::string &from, const std::string &to) {
  size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return at == std::string::npos ? text : text.replace(at, from.size(), to);
}

/// The size of the prefix to try after this one: all sizes near both ends; between them, of large
/// files, a share.
size_t nextPrefix(size_t size, size_t whole, size_t step) {
  constexpr size_t near = 4096;
  return size < near || size + near > whole ? size + 1 : size + step;
}

TEST(HostileTokenizer, EveryPrefixOfTheJsonIsAnError) {
  std::string json = goldenJson("llama2");
  while (!json.empty() && json.back() != '}')
    json.pop_back();
  for (size_t size = 0; size < json.size(); ++size)
    ASSERT_NE(compileError(json.substr(0, size)), "") << size;
  EXPECT_EQ(compileError(json), "");
}

/// A whole number of the first fields of a SentencePiece model is a model, too: most prefixes are
/// errors, and a tokenizer that comes of another one works.
TEST(HostileTokenizer, EveryPrefixOfASentencePieceModelIsAnErrorOrATokenizer) {
  for (const char *name : {"pieces_bpe", "pieces_unigram"}) {
    std::string model =
        readFile(std::string(KILN_TEST_GOLDEN_DIR) + "/" + name + "/tokenizer.model");
    ASSERT_GT(model.size(), 1000u);
    size_t errors = 0;
    for (size_t size = 0; size < model.size(); ++size) {
      std::vector<char> prefix(model.begin(), model.begin() + static_cast<ptrdiff_t>(size));
      auto tables = kiln::compileTokenizerSentencePiece({prefix.data(), size}, "");
      if (!tables) {
        ASSERT_NE(llvm::toString(tables.takeError()).find("tokenizer.model"), std::string::npos);
        ++errors;
        continue;
      }
      CompiledTokenizer tokenizer(std::move(*tables));
      ASSERT_EQ(tokenizer.error, "") << size;
      tokenizer.decode(tokenizer.encode("the kiln é日", KILN_ENCODE_TEMPLATE));
    }
    EXPECT_GT(errors, model.size() * 9 / 10) << name;
  }
}

TEST(HostileTokenizer, EveryPrefixOfAGgufFileIsAnError) {
  std::string path = testing::TempDir() + "/kiln_prefix_" + std::to_string(getpid()) + ".gguf";
  for (const char *name : {"pieces_unigram", "pieces_bpe", "smollm2", "bert"}) {
    std::string file = readFile(std::string(KILN_TEST_GOLDEN_DIR) + "/" + name + "/tokenizer.gguf");
    ASSERT_GT(file.size(), 1000u);
    while (!file.empty() && file.back() == '\0') // padding, which nothing misses
      file.pop_back();
    std::ofstream(path, std::ios::binary) << file;
    for (size_t size = file.size() - 1; size-- > 0;) {
      std::filesystem::resize_file(path, size);
      auto tables = kiln::compileTokenizerPath(path);
      ASSERT_FALSE(static_cast<bool>(tables)) << name << ", " << size << " bytes";
      ASSERT_NE(llvm::toString(tables.takeError()).find("kiln_prefix_"), std::string::npos);
    }
  }
  std::remove(path.c_str());
}

TEST(HostileTokenizer, EveryPrefixOfTheTablesIsAnError) {
  for (const char *name : {"gpt2", "llama2", "bert", "unigram", "pieces_unigram/tokenizer.model"}) {
    CompiledTokenizer tokenizer(std::string(KILN_TEST_GOLDEN_DIR) + "/" + name);
    ASSERT_EQ(tokenizer.error, "");
    size_t whole = tokenizer.tables.size(), step = whole < 100000 ? 1 : 61;
    // The last bytes may be padding, which nothing misses.
    for (size_t size = 0; size + 8 <= whole; size = nextPrefix(size, whole, step)) {
      // A buffer of its own, so that a read behind the end is seen by a sanitizer.
      std::vector<uint8_t> prefix(tokenizer.tables.begin(), tokenizer.tables.begin() + size);
      kiln_tokenizer_t *opened = nullptr;
      kiln_error error;
      prefix.reserve(1);
      ASSERT_NE(kiln_tokenizer_open_memory(prefix.data(), size, &opened, &error), KILN_OK) << size;
    }
  }
}

TEST(HostileTokenizer, DamagedTablesOpenOrFailCleanly) {
  CompiledTokenizer good(std::string(KILN_TEST_GOLDEN_DIR) + "/llama2");
  std::mt19937 random(3);
  int opened = 0;
  for (int round = 0; round < 20000; ++round) {
    std::vector<uint8_t> tables = good.tables;
    for (int flips = 1 + round % 3; flips > 0; --flips)
      tables[random() % tables.size()] ^= 1u << random() % 8;
    CompiledTokenizer damaged(std::move(tables));
    if (!damaged.tokenizer)
      continue;
    ++opened;
    damaged.decode(damaged.encode("the kiln <pad> é日 <|end|>", KILN_ENCODE_TEMPLATE));
    damaged.stream({0, 1, 2, 50, 300, 400, -1, 1 << 30});
  }
  EXPECT_GT(opened, 0);
}

TEST(HostileTokenizer, DeepNestingIsRefused) {
  EXPECT_NE(compileError(std::string(100000, '[')).find("nested deeper"), std::string::npos);
  EXPECT_NE(compileError("{\"a\":" + std::string(100000, '[') + std::string(100000, ']') + "}")
                .find("nested deeper"),
            std::string::npos);
}

/// Looking for a match from every place to the end of the text, in vain, would take minutes.
TEST(HostileTokenizer, NoTextMakesASearchQuadratic) {
  for (const char *pattern : {R"(\\s+$)", "a.*b", R"((?<=b)a+c|\\s+[xy])", "[^b]*?b"}) {
    const std::string level = R"("add_prefix_space":true,"trim_offsets":true,"use_regex":true})";
    std::string json = replaced(
        goldenJson("gpt2"), R"("pre_tokenizer":{"type":"ByteLevel",)" + level,
        R"("pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"Split","invert":false,)"
        R"("behavior":"Isolated","pattern":{"Regex":")" +
            std::string(pattern) +
            R"("}},{"type":"ByteLevel","add_prefix_space":false,"use_regex":false}]})");
    auto tables = kiln::compileTokenizerJson(json, "");
    ASSERT_TRUE(static_cast<bool>(tables)) << llvm::toString(tables.takeError());
    CompiledTokenizer tokenizer(std::move(*tables));
    ASSERT_EQ(tokenizer.error, "");
    constexpr size_t size = 1u << 20;
    for (char c : {'a', ' ', 'x'}) {
      std::string text = std::string(size, c) + "z";
      EXPECT_EQ(tokenizer.decode(tokenizer.encode(text)), text);
    }
  }
}

TEST(HostileTokenizer, WhatIsNotSupportedIsListedAtOnce) {
  std::string error = compileError(R"({
    "normalizer": {"type": "ByteLevel"},
    "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
      {"type": "UnicodeScripts"},
      {"type": "Split", "pattern": {"Regex": "(?>a)b"}, "behavior": "Isolated"}]},
    "decoder": {"type": "CTC"},
    "post_processor": {"type": "Unheard"},
    "added_tokens": [{"id": 1, "content": "x", "single_word": true}],
    "model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}})");
  for (const char *name : {"'ByteLevel'", "'UnicodeScripts'", "(?>", "'CTC'", "'Unheard'"})
    EXPECT_NE(error.find(name), std::string::npos) << name << " in " << error;
}

TEST(HostileTokenizer, WrongContentsAreNamed) {
  std::string json = goldenJson("gpt2");
  EXPECT_NE(
      compileError(replaced(json, "\"type\":\"BPE\"", "\"type\":\"WordLevel\"")).find("WordLevel"),
      std::string::npos);
  EXPECT_NE(compileError(replaced(json, "\"dropout\":null", "\"dropout\":0.5")).find("dropout"),
            std::string::npos);
  EXPECT_NE(compileError(replaced(json, "\"!\":0", "\"!\":4000000000")).find("above the limit"),
            std::string::npos);
  EXPECT_NE(compileError(replaced(json, "\"!\":0", "\"!\":-1")).find("'!'"), std::string::npos);
  EXPECT_NE(compileError(replaced(json, "\"!\":0", "\"!\":1")).find("belongs to"),
            std::string::npos);
  EXPECT_NE(compileError(replaced(json, "\"merges\":[", "\"merges\":[[\"qq\",\"zz\"],"))
                .find("'qq' is not in the vocabulary"),
            std::string::npos);
}

TEST(HostileTokenizer, ConfigGivesTheBeginTokenWithoutATemplate) {
  auto tables = kiln::compileTokenizerJson(
      goldenJson("smollm2"), R"({"add_bos_token": true, "bos_token": {"content": "<|end|>"}})");
  ASSERT_TRUE(static_cast<bool>(tables)) << llvm::toString(tables.takeError());
  CompiledTokenizer tokenizer(*tables);
  int32_t end = kiln_tokenizer_find(tokenizer.tokenizer, "<|end|>", 7);
  EXPECT_EQ(tokenizer.encode("", KILN_ENCODE_TEMPLATE), std::vector<int32_t>{end});
}

} // namespace
