// modules.json and the pooling's config.json of sentence-transformers: what is taken, and that
// everything else is refused with the place.
#include "compiler/import/SentenceConfig.h"
#include <gtest/gtest.h>

using namespace kiln;

static const std::string modules =
    R"([{"idx":0,"path":"","type":"sentence_transformers.models.Transformer"},
        {"idx":1,"path":"1_Pooling","type":"sentence_transformers.models.Pooling"},
        {"idx":2,"path":"2_Normalize","type":"sentence_transformers.models.Normalize"}])";

/// The first problem, or "".
static std::string refusal(const std::string &text) {
  Problems problems;
  bool taken = parseSentenceModules("modules.json", text, problems).has_value();
  EXPECT_NE(taken, !problems.empty());
  return problems.empty() ? "" : problems.getLines()[0];
}

static std::string replaced(const std::string &from, const std::string &to) {
  std::string text = modules;
  return text.replace(text.find(from), from.size(), to);
}

TEST(SentenceModules, AreATransformerAPoolingAndANorm) {
  Problems problems;
  std::optional<SentenceModules> read = parseSentenceModules("modules.json", modules, problems);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->pooling, "1_Pooling");
  EXPECT_TRUE(read->normalize);
}

TEST(SentenceModules, EveryTruncatedPrefixIsAnError) {
  for (size_t size = 0; size < modules.size(); ++size)
    EXPECT_NE(refusal(modules.substr(0, size)), "") << size;
}

TEST(SentenceModules, OthersAreRefused) {
  EXPECT_NE(refusal(replaced("models.Normalize", "models.Dense"))
                .find("modules.json: module 2: expected Normalize, found"),
            std::string::npos);
  EXPECT_NE(refusal(replaced("models.Transformer", "models.BoW")).find("expected a Transformer"),
            std::string::npos);
  EXPECT_NE(
      refusal(replaced("\"path\":\"\"", "\"path\":\"0_Transformer\"")).find("\"0_Transformer\""),
      std::string::npos);
  for (const char *path : {"../1_Pooling", "/etc", "..", "a/b", ""})
    EXPECT_NE(refusal(replaced("1_Pooling", path)).find("expected Pooling in a folder beside"),
              std::string::npos)
        << path;
  for (const char *text : {"[]", "{}", "[1]", "[null]", "3"})
    EXPECT_NE(refusal(text), "") << text;
}

/// The pooling, or the first problem.
static std::string poolingOf(const std::string &text) {
  Problems problems;
  std::optional<ConfigObject> config = ConfigObject::parse("1_Pooling/config.json", text, problems);
  std::optional<Pooling> pooling = config ? readPooling(*config, 16) : std::nullopt;
  EXPECT_NE(pooling.has_value(), !problems.empty());
  return pooling ? getName(*pooling).str() : problems.getLines()[0];
}

TEST(SentencePooling, OneModeIsSwitchedOn) {
  EXPECT_EQ(poolingOf(R"({"pooling_mode_mean_tokens":true,"pooling_mode_cls_token":false})"),
            "mean");
  EXPECT_EQ(poolingOf(R"({"word_embedding_dimension":16,"pooling_mode_cls_token":true})"), "cls");
  EXPECT_EQ(poolingOf(R"({"pooling_mode_max_tokens":true})"), "max");
  EXPECT_EQ(poolingOf(R"({"embedding_dimension":16,"pooling_mode":"mean"})"), "mean");
  EXPECT_EQ(
      poolingOf(R"({"pooling_mode_mean_tokens":true,"pooling_mode_cls_token":true})"),
      "1_Pooling/config.json: pooling_mode: expected one of mean, cls and max, found mean, cls");
  EXPECT_EQ(poolingOf("{}"),
            "1_Pooling/config.json: pooling_mode: expected one of mean, cls and max, found none");
  EXPECT_EQ(
      poolingOf(R"({"pooling_mode":"lasttoken"})"),
      "1_Pooling/config.json: pooling_mode: expected one of mean, cls and max, found lasttoken");
  EXPECT_EQ(poolingOf(R"({"word_embedding_dimension":8,"pooling_mode":"cls"})"),
            "1_Pooling/config.json: word_embedding_dimension: expected the model's hidden size 16, "
            "found 8");
}
