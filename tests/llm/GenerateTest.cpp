// Generation: streaming, the reasons to stop, going on afterwards, and cancelling.

#include "FakeRuntime.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>

using namespace kiln::test;
using Tokens = std::vector<int32_t>;

namespace {

struct Heard {
  Tokens ids;
  std::string text;
  size_t stopAfter = SIZE_MAX;

  static int hear(void *user, int32_t id, const char *text, size_t size) {
    auto &heard = *static_cast<Heard *>(user);
    if (id >= 0)
      heard.ids.push_back(id);
    heard.text.append(text, size);
    return heard.ids.size() >= heard.stopAfter;
  }
};

class Generation : public testing::Test {
protected:
  FakeRuntime runtime;
  kiln_llm_t *llm = nullptr;
  uint32_t sequence = 0;
  kiln_error error = {};
  Heard heard;
  kiln_llm_stats stats = {};
  kiln_generate_options options = {};

  void SetUp() override {
    ASSERT_EQ(kiln_llm_create(runtime.model(), runtime.pool(), nullptr, &llm, &error), KILN_OK)
        << error.text;
    ASSERT_EQ(kiln_sequence_open(llm, &sequence, &error), KILN_OK);
    options.on_token = Heard::hear;
    options.user = &heard;
  }
  void TearDown() override { kiln_llm_destroy(llm); }

  kiln_status_t generate(const Tokens &prompt) {
    return kiln_sequence_generate(llm, sequence, prompt.data(), prompt.size(), &options, &stats,
                                  &error);
  }
  static Tokens expected(Tokens history, size_t count) {
    Tokens result;
    for (size_t i = 0; i < count; ++i) {
      result.push_back(fakeNext(history));
      history.push_back(result.back());
    }
    return result;
  }
};

TEST_F(Generation, StreamsUntilMaxTokens) {
  options.max_tokens = 6;
  ASSERT_EQ(generate({1, 2, 3}), KILN_OK) << error.text;
  EXPECT_EQ(heard.ids, expected({1, 2, 3}, 6));
  EXPECT_EQ(heard.text, std::string(heard.ids.begin(), heard.ids.end()));
  EXPECT_EQ(stats.stop, KILN_STOP_MAX_TOKENS);
  EXPECT_EQ(stats.prompt_tokens, 3u);
  EXPECT_EQ(stats.generated_tokens, 6u);
  EXPECT_EQ(runtime.calls, 6); // the last token costs no call
}

TEST_F(Generation, GoesOnWhereItStopped) {
  options.max_tokens = 4;
  ASSERT_EQ(generate({1, 2, 3}), KILN_OK);
  ASSERT_EQ(generate({}), KILN_OK) << error.text;
  EXPECT_EQ(heard.ids, expected({1, 2, 3}, 8));
  Tokens history = {1, 2, 3};
  history.insert(history.end(), heard.ids.begin(), heard.ids.end());
  history.push_back(5);
  heard.ids.clear();
  ASSERT_EQ(generate({5}), KILN_OK);
  EXPECT_EQ(heard.ids, expected(history, 4));
}

TEST_F(Generation, StopsAtTheEndToken) {
  runtime.endAfter = 7;
  ASSERT_EQ(generate({1, 2, 3}), KILN_OK);
  EXPECT_EQ(stats.stop, KILN_STOP_END_TOKEN);
  EXPECT_EQ(heard.ids.size(), 4u);
  options.ignore_end_tokens = 1;
  options.max_tokens = 3;
  ASSERT_EQ(generate({}), KILN_OK);
  EXPECT_EQ(stats.stop, KILN_STOP_MAX_TOKENS);
  EXPECT_EQ(heard.ids[4], fakeEnd);
}

TEST_F(Generation, StopsAtTheCallersTokens) {
  int32_t stop = expected({1}, 3)[2];
  options.stop_tokens = &stop;
  options.stop_token_count = 1;
  ASSERT_EQ(generate({1}), KILN_OK);
  EXPECT_EQ(stats.stop, KILN_STOP_END_TOKEN);
  EXPECT_LE(heard.ids.size(), 2u);
}

TEST_F(Generation, StopsWhereTheContextIsFull) {
  ASSERT_EQ(generate({1, 2, 3}), KILN_OK) << error.text;
  EXPECT_EQ(stats.stop, KILN_STOP_CONTEXT_FULL);
  EXPECT_EQ(heard.ids, expected({1, 2, 3}, fakeContext - 3 + 1));
  EXPECT_EQ(kiln_sequence_length(llm, sequence), fakeContext);
}

TEST_F(Generation, StopsWhereTheCallbackSaysSo) {
  heard.stopAfter = 2;
  ASSERT_EQ(generate({1}), KILN_OK);
  EXPECT_EQ(stats.stop, KILN_STOP_CALLBACK);
  EXPECT_EQ(heard.ids.size(), 2u);
}

TEST_F(Generation, CancelsDuringACall) {
  runtime.failAtCall = 2;
  EXPECT_EQ(generate({1}), KILN_CANCELLED);
  EXPECT_EQ(stats.generated_tokens, 2u);
}

TEST_F(Generation, TakesTextAndTheBeginTokenForNone) {
  options.max_tokens = 2;
  ASSERT_EQ(kiln_sequence_generate_text(llm, sequence, "hey", 3, KILN_ENCODE_TEMPLATE, &options,
                                        &stats, &error),
            KILN_OK)
      << error.text;
  EXPECT_EQ(heard.ids, expected({fakeBegin, 'h', 'e', 'y'}, 2));
  ASSERT_EQ(kiln_sequence_truncate(llm, sequence, 0, &error), KILN_OK);
  heard.ids.clear();
  ASSERT_EQ(kiln_sequence_generate_text(llm, sequence, "", 0, 0, &options, &stats, &error),
            KILN_OK);
  EXPECT_EQ(heard.ids, expected({fakeBegin}, 2));
}

TEST_F(Generation, ALongTextNamesItsLengthAndTheContext) {
  std::string text(100, 'x');
  EXPECT_EQ(kiln_sequence_generate_text(llm, sequence, text.data(), text.size(), 0, &options,
                                        &stats, &error),
            KILN_CONTEXT_FULL);
  EXPECT_NE(std::strstr(error.text, "100 tokens"), nullptr) << error.text;
  EXPECT_NE(std::strstr(error.text, "holds 30"), nullptr) << error.text;
}

TEST_F(Generation, AnEmptyPromptNeedsAHistory) { EXPECT_EQ(generate({}), KILN_INVALID_ARGUMENT); }

TEST_F(Generation, SamplesWithASampler) {
  kiln_sampler_options sampling = kiln_sampler_defaults();
  sampling.repetition_penalty = 1e9f; // what was seen loses against any other token
  ASSERT_EQ(kiln_sampler_create(&sampling, fakeVocabulary, &options.sampler, &error), KILN_OK);
  options.max_tokens = 20;
  ASSERT_EQ(generate({1, 2, 3}), KILN_OK);
  std::vector<bool> seen(fakeVocabulary);
  seen[1] = seen[2] = seen[3] = true;
  for (int32_t id : heard.ids) {
    if (id >= 'a') {
      EXPECT_FALSE(seen[id]);
    }
    seen[id] = true;
  }
  kiln_sampler_destroy(options.sampler);
}

/// Stop strings against the text that would have come without them, for every way that tokens may
/// spell them: the fake model's tokens are single bytes, so strings of two and more span tokens.
class StopStrings : public Generation {
protected:
  std::string without;
  std::vector<const char *> strings;

  void expect(std::vector<const char *> stops) {
    strings = stops;
    options.max_tokens = 20;
    options.stop_string_count = 0;
    heard = {};
    ASSERT_EQ(kiln_sequence_truncate(llm, sequence, 0, &error), KILN_OK);
    ASSERT_EQ(generate({1, 2, 3}), KILN_OK);
    without = heard.text;
    heard = {};
    ASSERT_EQ(kiln_sequence_truncate(llm, sequence, 0, &error), KILN_OK);
    options.stop_strings = strings.data();
    options.stop_string_count = strings.size();
    ASSERT_EQ(generate({1, 2, 3}), KILN_OK) << error.text;
    size_t first = std::string::npos;
    for (const char *stop : stops)
      first = std::min(first, without.find(stop));
    EXPECT_EQ(heard.text, without.substr(0, first));
    EXPECT_EQ(stats.stop, first == std::string::npos ? KILN_STOP_MAX_TOKENS : KILN_STOP_STRING);
    if (first != std::string::npos) {
      EXPECT_EQ(
          without.compare(first, std::strlen(stops[stats.stop_index]), stops[stats.stop_index]), 0);
    }
  }
};

TEST_F(StopStrings, EndTheTextBeforeThem) {
  expect({"no such text"});
  std::string text = without;
  for (size_t begin = 0; begin < text.size(); ++begin)
    for (size_t size : {1, 2, 3, 5}) {
      std::string stop = text.substr(begin, size), near = stop + "?", other = "?" + stop;
      expect({stop.c_str()});
      expect({near.c_str()});
      expect({other.c_str(), stop.c_str()});
      expect({near.c_str(), stop.c_str() + (stop.size() > 1)}); // one held, one found inside it
    }
}

TEST_F(StopStrings, AreCheckedBeforeTheFirstToken) {
  const char *empty = "";
  options.stop_strings = &empty;
  options.stop_string_count = 1;
  EXPECT_EQ(generate({1}), KILN_INVALID_ARGUMENT);
}

TEST_F(Generation, GivesLogprobsWithEachToken) {
  kiln_token_logprob top[3];
  struct Seen {
    kiln_logprobs logprobs;
    int calls = 0;
  } seen;
  seen.logprobs = {0, 0, top, 3};
  options.logprobs = &seen.logprobs;
  options.user = &seen;
  options.max_tokens = 4;
  options.on_token = [](void *user, int32_t id, const char *, size_t) {
    auto &seen = *static_cast<Seen *>(user);
    ++seen.calls;
    EXPECT_EQ(seen.logprobs.top_count, 3u);
    EXPECT_EQ(seen.logprobs.top[0].id, id);
    EXPECT_EQ(seen.logprobs.top[0].logprob, seen.logprobs.chosen);
    EXPECT_NEAR(seen.logprobs.chosen, -std::log(1 + 259 * std::exp(-9.0)), 1e-5);
    return 0;
  };
  ASSERT_EQ(generate({1}), KILN_OK);
  EXPECT_EQ(seen.calls, 4);
}

} // namespace
