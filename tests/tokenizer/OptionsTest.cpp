// Every option of a tokenizer.json answers as in the Hugging Face library: small changes of the
// golden tokenizers, with vectors that make_options.py wrote.

#include "CompiledTokenizer.h"

#include <nlohmann/json.hpp>

#include <gtest/gtest.h>

#include <fstream>

using kiln::test::CompiledTokenizer;
using Ids = std::vector<int32_t>;
using nlohmann::json;

namespace {

json readJson(const std::string &path) {
  json value;
  std::ifstream(path) >> value;
  return value;
}

/// The tokenizer with the change's keys in place of its own; those of the model are merged.
json changed(json description, const json &change) {
  json model = description["model"];
  if (change.contains("model"))
    model.update(change["model"]);
  description.update(change);
  description["model"] = model;
  return description;
}

TEST(TokenizerOptions, AnswerAsTheLibrary) {
  std::string golden = KILN_TEST_GOLDEN_DIR;
  json entries = readJson(golden + "/options.json");
  ASSERT_GT(entries.size(), 100u);
  for (const json &entry : entries) {
    std::string name = entry["name"], base = entry["base"];
    SCOPED_TRACE(name);
    json description = changed(readJson(golden + "/" + base + "/tokenizer.json"), entry["change"]);
    auto tables = kiln::compileTokenizerJson(description.dump(), "");
    if (!tables) {
      ADD_FAILURE() << llvm::toString(tables.takeError());
      continue;
    }
    CompiledTokenizer tokenizer(std::move(*tables));
    ASSERT_EQ(tokenizer.error, "");
    for (const json &vector : entry["vectors"]) {
      std::string text = vector[0];
      Ids ids = vector[1];
      EXPECT_EQ(tokenizer.encode(text), ids) << "'" << text << "'";
      EXPECT_EQ(tokenizer.encode(text, KILN_ENCODE_TEMPLATE), vector[2].get<Ids>())
          << "'" << text << "'";
      EXPECT_EQ(tokenizer.decode(ids), vector[3].get<std::string>()) << "'" << text << "'";
    }
  }
}

} // namespace
