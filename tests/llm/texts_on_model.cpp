// The promises of TextTest.cpp on a compiled model: tokens after fork, rewind, save and restore,
// cancel and overflow equal those of a fresh sequence that is given the same text, greedy and
// sampled. Keys and values may have been computed in other batches; the tokens must not tell.
//   kiln_texts_on_model ARTIFACT [threads]

#include "kiln/llm.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <thread>
#include <vector>

using Tokens = std::vector<int32_t>;

static const char *artifact = nullptr;
static uint32_t workers = 2;

namespace {

class OnModel : public testing::TestWithParam<float> { // temperature
protected:
  kiln_llm_t *llm = nullptr;
  kiln_sampler_t *sampler = nullptr;
  kiln_error error = {};
  kiln_llm_stats stats = {};

  void SetUp() override { open({4, 96, 0, 0}); }
  void TearDown() override {
    kiln_sampler_destroy(sampler);
    kiln_llm_destroy(llm);
  }
  void open(kiln_llm_options options) {
    TearDown();
    llm = nullptr;
    ASSERT_EQ(kiln_llm_open(artifact, workers, &options, &llm, &error), KILN_OK) << error.text;
    kiln_llm_info info;
    kiln_llm_get_info(llm, &info);
    kiln_sampler_options sampling = kiln_sampler_defaults();
    sampling.temperature = GetParam();
    sampling.top_p = 0.9f;
    sampling.frequency_penalty = 0.1f;
    sampling.seed = 11;
    ASSERT_EQ(kiln_sampler_create(&sampling, info.vocab_size, &sampler, &error), KILN_OK);
  }
  uint32_t sequence() {
    uint32_t result = 0;
    EXPECT_EQ(kiln_sequence_open(llm, &result, &error), KILN_OK) << error.text;
    return result;
  }
  void close(uint32_t sequence) { EXPECT_EQ(kiln_sequence_close(llm, sequence, &error), KILN_OK); }
  kiln_status_t generate(uint32_t sequence, size_t count, const Tokens &prompt = {}) {
    kiln_generate_options options = {};
    options.max_tokens = count;
    options.ignore_end_tokens = 1;
    options.sampler = sampler;
    return kiln_sequence_generate(llm, sequence, prompt.data(), prompt.size(), &options, &stats,
                                  &error);
  }
  void appendText(uint32_t sequence, const std::string &text) {
    ASSERT_EQ(kiln_sequence_append_text(llm, sequence, text.data(), text.size(),
                                        KILN_ENCODE_TEMPLATE, &error),
              KILN_OK)
        << error.text;
  }
  Tokens text(uint32_t sequence) {
    uint32_t count = 0;
    const int32_t *tokens = kiln_sequence_tokens(llm, sequence, &count);
    return Tokens(tokens, tokens + count);
  }
  /// The sequence goes on as a fresh one does that is given its text.
  void goesOn(uint32_t sequence, size_t count = 12) {
    Tokens given = text(sequence);
    uint32_t fresh = this->sequence();
    ASSERT_EQ(generate(fresh, count, given), KILN_OK) << error.text;
    ASSERT_EQ(generate(sequence, count), KILN_OK) << error.text;
    EXPECT_EQ(text(sequence), text(fresh));
    close(fresh);
  }
};

TEST_P(OnModel, Fork) {
  uint32_t a = sequence();
  appendText(a, "Once upon a time there was a little girl");
  ASSERT_EQ(generate(a, 7), KILN_OK);
  uint32_t b = 0, c = 0;
  ASSERT_EQ(kiln_sequence_fork(llm, a, &b, &error), KILN_OK) << error.text;
  goesOn(b);
  goesOn(a);
  ASSERT_EQ(kiln_sequence_fork(llm, b, &c, &error), KILN_OK) << error.text;
  appendText(c, " and a dog");
  goesOn(c);
  goesOn(b);
}

TEST_P(OnModel, Rewind) {
  uint32_t a = sequence();
  appendText(a, "Tom had a big red ball. He liked to");
  ASSERT_EQ(generate(a, 20), KILN_OK);
  for (uint32_t length : {20u, 16u, 15u, 6u, 1u}) {
    ASSERT_EQ(kiln_sequence_truncate(llm, a, length, &error), KILN_OK) << error.text;
    goesOn(a);
  }
}

TEST_P(OnModel, SaveAndRestore) {
  uint32_t a = sequence();
  appendText(a, "Lily went to the park");
  ASSERT_EQ(generate(a, 9), KILN_OK);
  uint64_t size = 0;
  ASSERT_EQ(kiln_sequence_save_bytes(llm, a, &size, &error), KILN_OK) << error.text;
  std::vector<uint8_t> bytes(size);
  ASSERT_EQ(kiln_sequence_save(llm, a, bytes.data(), size, &error), KILN_OK);
  Tokens saved = text(a);
  open({2, 0, 0, 0}); // another process, say
  uint32_t b = sequence();
  ASSERT_EQ(kiln_sequence_restore(llm, b, bytes.data(), size, &error), KILN_OK) << error.text;
  EXPECT_EQ(text(b), saved);
  goesOn(b);
}

TEST_P(OnModel, Cancel) {
  uint32_t a = sequence();
  appendText(a, "The sun was");
  ASSERT_EQ(kiln_sequence_set_overflow(llm, a, KILN_OVERFLOW_SLIDE, 1, &error), KILN_OK);
  for (int round = 0; round < 5; ++round) {
    std::thread other([&] {
      std::this_thread::sleep_for(std::chrono::microseconds(3000 + round * 1700));
      kiln_llm_cancel(llm);
    });
    EXPECT_EQ(generate(a, 0), KILN_CANCELLED);
    EXPECT_EQ(stats.stop, KILN_STOP_CANCELLED);
    other.join();
    kiln_llm_uncancel(llm);
    if (text(a).size() > 80) {
      ASSERT_EQ(kiln_sequence_truncate(llm, a, 40, &error), KILN_OK);
    }
    goesOn(a, 6);
  }
}

TEST_P(OnModel, Overflow) {
  uint32_t a = sequence();
  appendText(a, "Ben and Mia");
  ASSERT_EQ(kiln_sequence_set_overflow(llm, a, KILN_OVERFLOW_SLIDE, 4, &error), KILN_OK);
  Tokens first = text(a);
  first.resize(4);
  for (int round = 0; round < 6; ++round) {
    ASSERT_EQ(generate(a, 37), KILN_OK) << error.text;
    EXPECT_EQ(stats.generated_tokens, 37u);
    Tokens now = text(a);
    EXPECT_LE(now.size(), 97u);
    now.resize(4);
    EXPECT_EQ(now, first);
    if (text(a).size() < 80)
      goesOn(a);
  }
}

INSTANTIATE_TEST_SUITE_P(Temperatures, OnModel, testing::Values(0.0f, 0.8f), [](const auto &info) {
  return info.param > 0 ? std::string("sampled") : std::string("greedy");
});

} // namespace

int main(int argc, char **argv) {
  testing::InitGoogleTest(&argc, argv);
  if (argc < 2) {
    std::fprintf(stderr, "usage: kiln_texts_on_model ARTIFACT [threads]\n");
    return 2;
  }
  artifact = argv[1];
  if (argc > 2)
    workers = static_cast<uint32_t>(std::atoi(argv[2]));
  return RUN_ALL_TESTS();
}
