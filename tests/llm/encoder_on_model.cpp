// The promises of kiln_encoder_… and of its C++ face on a compiled encoder: texts and their tokens
// give the same, batches do not mix, long texts are cut, what is wrong is refused by name, and a
// request to cancel is spent once. usage: kiln_encoder_on_model ARTIFACT OTHER_ARTIFACT
#include "kiln/kiln.hpp"

#include <gtest/gtest.h>

#include <cmath>

static const char *path, *otherPath; // of an encoder, of a language model

namespace {

class Encoders : public testing::Test {
protected:
  void SetUp() override {
    ASSERT_EQ(kiln_encoder_open(path, 2, &encoder, &error), KILN_OK) << error.text;
    kiln_encoder_get_info(encoder, &info);
  }
  void TearDown() override { kiln_encoder_destroy(encoder); }

  std::vector<int32_t> encode(const std::string &text) {
    std::vector<int32_t> ids(text.size() + 16);
    size_t count = 0;
    EXPECT_EQ(kiln_tokenizer_encode(kiln_encoder_tokenizer(encoder), text.data(), text.size(),
                                    KILN_ENCODE_TEMPLATE, ids.data(), ids.size(), &count, nullptr),
              KILN_OK);
    ids.resize(count);
    return ids;
  }
  std::vector<float> embed(const std::vector<std::string> &texts, size_t *truncated = nullptr) {
    std::vector<kiln_text> views;
    for (const std::string &text : texts)
      views.push_back({text.data(), text.size()});
    std::vector<float> values(texts.size() * info.dimensions);
    EXPECT_EQ(
        kiln_encoder_embed(encoder, views.data(), views.size(), values.data(), truncated, &error),
        KILN_OK)
        << error.text;
    return values;
  }
  static float largest(const float *a, const float *b, size_t count) {
    float most = 0;
    for (size_t i = 0; i < count; ++i)
      most = std::max(most, std::fabs(a[i] - b[i]));
    return most;
  }

  kiln_encoder_t *encoder = nullptr;
  kiln_encoder_info info = {};
  kiln_error error = {};
};

TEST_F(Encoders, TokensGiveWhatTheirTextGives) {
  std::vector<std::string> texts = {"the cat sat", "a", "", "the dog, the cat"};
  std::vector<float> expected = embed(texts), found(expected.size());
  std::vector<int32_t> tokens;
  std::vector<size_t> lengths;
  for (const std::string &text : texts) {
    std::vector<int32_t> ids = encode(text);
    tokens.insert(tokens.end(), ids.begin(), ids.end());
    lengths.push_back(ids.size());
  }
  std::vector<int32_t> types(tokens.size(), 0);
  for (const int32_t *given : std::vector<const int32_t *>{nullptr, types.data()}) {
    ASSERT_EQ(kiln_encoder_embed_tokens(encoder, tokens.data(), given, lengths.data(),
                                        lengths.size(), found.data(), &error),
              KILN_OK)
        << error.text;
    EXPECT_EQ(found, expected);
  }
  types.assign(types.size(), 1);
  ASSERT_EQ(kiln_encoder_embed_tokens(encoder, tokens.data(), types.data(), lengths.data(),
                                      lengths.size(), found.data(), &error),
            KILN_OK);
  EXPECT_GT(largest(found.data(), expected.data(), found.size()), 1e-3f);
}

TEST_F(Encoders, PoolsHiddenStates) {
  std::vector<int32_t> ids = encode("the cat sat on the mat");
  std::vector<float> states(ids.size() * info.dimensions), mean(info.dimensions);
  ASSERT_EQ(
      kiln_encoder_hidden_states(encoder, ids.data(), nullptr, ids.size(), states.data(), &error),
      KILN_OK);
  double length = 0;
  for (size_t i = 0; i < info.dimensions; ++i) {
    for (size_t token = 0; token < ids.size(); ++token)
      mean[i] += states[token * info.dimensions + i] / float(ids.size());
    length += double(mean[i]) * mean[i];
  }
  for (float &value : mean)
    value /= float(std::sqrt(length));
  EXPECT_EQ(info.pooling, KILN_POOLING_MEAN);
  EXPECT_TRUE(info.normalized);
  EXPECT_LT(largest(embed({"the cat sat on the mat"}).data(), mean.data(), mean.size()), 1e-6f);
}

TEST_F(Encoders, CutsLongTextsBeforeTheEndToken) {
  std::string text;
  for (int i = 0; i < 100; ++i)
    text += "cat ";
  size_t truncated = 9;
  std::vector<float> found = embed({"a", text, "b", text}, &truncated);
  EXPECT_EQ(truncated, 2u);
  std::vector<int32_t> ids = encode(text);
  ASSERT_GT(ids.size(), info.context_length);
  ids[info.context_length - 1] = ids.back();
  size_t length = info.context_length;
  std::vector<float> expected(info.dimensions);
  ASSERT_EQ(
      kiln_encoder_embed_tokens(encoder, ids.data(), nullptr, &length, 1, expected.data(), &error),
      KILN_OK);
  EXPECT_LT(largest(found.data() + info.dimensions, expected.data(), expected.size()), 1e-6f);
}

TEST_F(Encoders, FillsCallsToTheBrim) {
  std::vector<std::string> texts;
  for (int i = 0; i < 700; ++i)
    texts.push_back(std::string(size_t(i % 23), 'a') + (i % 3 ? " cat" : " the dog sat"));
  std::vector<float> all = embed(texts);
  for (size_t i = 0; i < texts.size(); i += 37)
    EXPECT_LT(largest(all.data() + i * info.dimensions, embed({texts[i]}).data(), info.dimensions),
              2e-6f)
        << i;
}

TEST_F(Encoders, RefusesWhatIsWrongByName) {
  std::vector<float> values(4 * info.dimensions);
  int32_t tokens[] = {1, 2, 1, int32_t(info.vocab_size), 2};
  size_t lengths[] = {2, 3};
  EXPECT_EQ(kiln_encoder_embed_tokens(encoder, tokens, nullptr, lengths, 2, values.data(), &error),
            KILN_INDEX_OUT_OF_RANGE);
  EXPECT_EQ(std::string(error.text).rfind("text 1: token 1: expected an id below", 0), 0u)
      << error.text;
  size_t none = 0, many = info.context_length + 1;
  EXPECT_EQ(kiln_encoder_embed_tokens(encoder, tokens, nullptr, &none, 1, values.data(), &error),
            KILN_INVALID_ARGUMENT);
  std::vector<int32_t> long_text(many, 1);
  EXPECT_EQ(kiln_encoder_embed_tokens(encoder, long_text.data(), nullptr, &many, 1, values.data(),
                                      &error),
            KILN_INVALID_ARGUMENT);
  int32_t types[] = {0, 7};
  EXPECT_EQ(kiln_encoder_embed_tokens(encoder, tokens, types, lengths, 1, values.data(), &error),
            KILN_INDEX_OUT_OF_RANGE);
  EXPECT_NE(std::string(error.text).find("token_types"), std::string::npos) << error.text;
  EXPECT_EQ(kiln_encoder_embed(nullptr, nullptr, 0, nullptr, nullptr, &error),
            KILN_INVALID_ARGUMENT);
  embed({}); // nothing is fine
  embed({"a"});
  kiln_encoder_t *other = nullptr;
  EXPECT_EQ(kiln_encoder_open(otherPath, 1, &other, &error), KILN_NOT_AN_ENCODER);
  EXPECT_EQ(kiln_encoder_open("absent.kiln", 1, &other, &error), KILN_IO);
  kiln_llm_t *llm = nullptr;
  EXPECT_EQ(kiln_llm_open(path, 1, nullptr, &llm, &error), KILN_NOT_A_LANGUAGE_MODEL);
}

TEST_F(Encoders, CancelsOnce) {
  kiln_text text = {"a", 1};
  std::vector<float> values(info.dimensions);
  kiln_encoder_cancel(encoder);
  EXPECT_EQ(kiln_encoder_embed(encoder, &text, 1, values.data(), nullptr, &error), KILN_CANCELLED);
  EXPECT_EQ(kiln_encoder_embed(encoder, &text, 1, values.data(), nullptr, &error), KILN_OK);
}

TEST_F(Encoders, HaveACxxFace) {
  auto opened = kiln::Encoder::open(path, 1);
  ASSERT_TRUE(opened) << opened.error().text;
  kiln::Encoder copy = *opened;
  EXPECT_EQ(copy.info().dimensions, info.dimensions);
  auto both = copy.embed(std::vector<std::string>{"the cat", "the dog"});
  ASSERT_TRUE(both) << both.error().text;
  ASSERT_EQ(both->size(), 2u);
  auto one = copy.embed("the dog");
  ASSERT_TRUE(one);
  EXPECT_LT(largest((*both)[1].data(), one->data(), info.dimensions), 1e-6f);
  copy.cancel();
  auto cancelled = copy.embed("a");
  ASSERT_FALSE(cancelled);
  EXPECT_EQ(cancelled.error().status, KILN_CANCELLED);
  EXPECT_EQ(kiln::Encoder::open(otherPath).error().status, KILN_NOT_AN_ENCODER);
}

} // namespace

int main(int argc, char **argv) {
  testing::InitGoogleTest(&argc, argv);
  if (argc != 3) {
    std::fprintf(stderr, "usage: kiln_encoder_on_model ARTIFACT OTHER_ARTIFACT\n");
    return 2;
  }
  path = argv[1];
  otherPath = argv[2];
  return RUN_ALL_TESTS();
}
