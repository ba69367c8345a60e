// What comes next depends on a sequence's text alone: after forking, rewinding, sliding, saving and
// restoring, assigning and cancelling, tokens equal those of a fresh sequence with the same text.

#include "FakeRuntime.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <thread>

using namespace kiln::test;
using Tokens = std::vector<int32_t>;

namespace {

class Texts : public testing::Test {
protected:
  FakeRuntime runtime;
  kiln_llm_t *llm = nullptr;
  kiln_error error = {};
  kiln_llm_stats stats = {};

  void SetUp() override { create({4, 0, 0, 0}); }
  void TearDown() override { kiln_llm_destroy(llm); }
  void create(kiln_llm_options options) {
    kiln_llm_destroy(llm);
    ASSERT_EQ(kiln_llm_create(runtime.model(), runtime.pool(), &options, &llm, &error), KILN_OK)
        << error.text;
  }
  uint32_t open() {
    uint32_t sequence = 99;
    EXPECT_EQ(kiln_sequence_open(llm, &sequence, &error), KILN_OK) << error.text;
    return sequence;
  }
  uint32_t fork(uint32_t sequence) {
    uint32_t copy = 99;
    EXPECT_EQ(kiln_sequence_fork(llm, sequence, &copy, &error), KILN_OK) << error.text;
    return copy;
  }
  uint32_t freePages() {
    kiln_llm_info info;
    kiln_llm_get_info(llm, &info);
    return info.cache_pages_free;
  }
  kiln_status_t append(uint32_t sequence, const Tokens &tokens) {
    return kiln_sequence_append(llm, sequence, tokens.data(), tokens.size(), nullptr, nullptr,
                                &error);
  }
  kiln_status_t assign(uint32_t sequence, const Tokens &tokens, size_t *reused = nullptr) {
    return kiln_sequence_assign(llm, sequence, tokens.data(), tokens.size(), reused, &error);
  }
  kiln_status_t generate(uint32_t sequence, size_t count, const Tokens &prompt = {}) {
    kiln_generate_options options = {};
    options.max_tokens = count;
    return kiln_sequence_generate(llm, sequence, prompt.data(), prompt.size(), &options, &stats,
                                  &error);
  }
  Tokens text(uint32_t sequence) {
    uint32_t count = 0;
    const int32_t *tokens = kiln_sequence_tokens(llm, sequence, &count);
    return Tokens(tokens, tokens + count);
  }
  /// The sequence goes on as a fresh one with the same text does.
  void goesOn(uint32_t sequence, size_t count = 5) {
    Tokens expected = text(sequence);
    for (size_t i = 0; i < count; ++i)
      expected.push_back(fakeNext(expected));
    ASSERT_EQ(generate(sequence, count), KILN_OK) << error.text;
    EXPECT_EQ(text(sequence), expected);
  }
  static Tokens some(int count, int from = 1) {
    Tokens tokens;
    for (int i = 0; i < count; ++i)
      tokens.push_back((i * 7 + from) % 256);
    return tokens;
  }
  std::vector<uint8_t> save(uint32_t sequence) {
    uint64_t size = 0;
    EXPECT_EQ(kiln_sequence_save_bytes(llm, sequence, &size, &error), KILN_OK) << error.text;
    std::vector<uint8_t> bytes(size);
    EXPECT_EQ(kiln_sequence_save(llm, sequence, bytes.data(), size, &error), KILN_OK);
    return bytes;
  }
  kiln_status_t restore(uint32_t sequence, const std::vector<uint8_t> &bytes) {
    return kiln_sequence_restore(llm, sequence, bytes.data(), bytes.size(), &error);
  }
};

// ---- Fork ---------------------------------------------------------------------------------------

TEST_F(Texts, ForksShareTheirPagesAndGoOnAlone) {
  for (int length : {1, 3, 4, 5, 8, 11}) {
    uint32_t a = open();
    ASSERT_EQ(append(a, some(length)), KILN_OK);
    uint32_t before = freePages();
    uint32_t b = fork(a), c = fork(b);
    EXPECT_EQ(freePages(), before);
    EXPECT_EQ(text(c), some(length));
    ASSERT_EQ(append(b, {201}), KILN_OK);
    EXPECT_EQ(freePages(), before - 1); // the last page, copied or new
    ASSERT_EQ(append(c, {202, 203, 204}), KILN_OK);
    goesOn(a);
    goesOn(b);
    goesOn(c);
    for (uint32_t sequence : {b, a, c})
      EXPECT_EQ(kiln_sequence_close(llm, sequence, &error), KILN_OK);
    EXPECT_EQ(freePages(), 32u);
  }
}

TEST_F(Texts, AForkKeepsTheTokenThatWaits) {
  uint32_t a = open();
  ASSERT_EQ(generate(a, 3, some(4)), KILN_OK);
  uint32_t b = fork(a);
  EXPECT_EQ(text(b), text(a));
  goesOn(b);
  goesOn(a);
}

TEST_F(Texts, RewindingIntoASharedPageLeavesTheOtherAlone) {
  uint32_t a = open();
  ASSERT_EQ(append(a, some(11)), KILN_OK);
  uint32_t b = fork(a);
  ASSERT_EQ(kiln_sequence_truncate(llm, b, 6, &error), KILN_OK);
  ASSERT_EQ(append(b, {99, 98, 97}), KILN_OK);
  goesOn(b);
  goesOn(a);
  Tokens first = text(a);
  first.resize(11);
  EXPECT_EQ(first, some(11));
}

TEST_F(Texts, ForksInOneBatchEachGetTheirPage) {
  uint32_t a = open();
  ASSERT_EQ(append(a, some(6)), KILN_OK);
  uint32_t b = fork(a);
  int32_t tokens[] = {50, 60, 51};
  uint32_t sequences[] = {a, b, a}, rows[] = {1, 2};
  kiln_llm_batch batch = {tokens, sequences, 3, rows, 2};
  ASSERT_EQ(kiln_llm_step(llm, &batch, nullptr, &error), KILN_OK) << error.text;
  goesOn(a);
  goesOn(b);
}

TEST_F(Texts, ACopyNeedsAFreePage) {
  create({2, 0, 2, 0});
  uint32_t a = open();
  ASSERT_EQ(append(a, some(7)), KILN_OK);
  uint32_t b = fork(a);
  EXPECT_EQ(append(b, {9}), KILN_CONTEXT_FULL);
  EXPECT_EQ(kiln_sequence_close(llm, a, &error), KILN_OK);
  EXPECT_EQ(append(b, {9}), KILN_OK);
  EXPECT_EQ(text(b).size(), 8u);
}

TEST_F(Texts, AFailedCallLeavesForksWhole) {
  uint32_t a = open();
  ASSERT_EQ(append(a, some(6)), KILN_OK);
  uint32_t b = fork(a);
  runtime.failAtCall = runtime.calls;
  EXPECT_EQ(append(b, {9, 9, 9}), KILN_CANCELLED);
  goesOn(b);
  goesOn(a);
}

// ---- Rewind -------------------------------------------------------------------------------------

TEST_F(Texts, RewoundSequencesGoOnWithoutAPrompt) {
  for (uint32_t length : {1u, 3u, 4u, 5u, 8u, 9u}) {
    uint32_t a = open();
    ASSERT_EQ(generate(a, 6, some(9)), KILN_OK);
    ASSERT_EQ(kiln_sequence_truncate(llm, a, length, &error), KILN_OK);
    EXPECT_EQ(text(a), some(static_cast<int>(length)));
    goesOn(a);
    EXPECT_EQ(kiln_sequence_close(llm, a, &error), KILN_OK);
  }
}

TEST_F(Texts, RewindingToTheWholeTextKeepsTheTokenThatWaits) {
  uint32_t a = open();
  ASSERT_EQ(generate(a, 3, some(4)), KILN_OK);
  Tokens whole = text(a);
  ASSERT_EQ(whole.size(), 7u);
  ASSERT_EQ(kiln_sequence_truncate(llm, a, 7, &error), KILN_OK);
  EXPECT_EQ(text(a), whole);
  EXPECT_EQ(kiln_sequence_truncate(llm, a, 8, &error), KILN_INVALID_ARGUMENT);
  ASSERT_EQ(kiln_sequence_truncate(llm, a, 6, &error), KILN_OK);
  EXPECT_EQ(text(a), Tokens(whole.begin(), whole.end() - 1));
  goesOn(a);
}

// ---- Assign -------------------------------------------------------------------------------------

TEST_F(Texts, AssigningEvaluatesOnlyWhatIsNew) {
  uint32_t a = open();
  size_t reused = 9;
  ASSERT_EQ(assign(a, some(10), &reused), KILN_OK);
  EXPECT_EQ(reused, 0u);
  ASSERT_EQ(generate(a, 4), KILN_OK);
  Tokens conversation = text(a);
  conversation.insert(conversation.end(), {1, 2, 3});
  runtime.tokens = 0;
  ASSERT_EQ(assign(a, conversation, &reused), KILN_OK);
  EXPECT_EQ(runtime.tokens, 4); // the one that waited, and three
  EXPECT_EQ(text(a), conversation);
  goesOn(a);
  conversation[5] = 77;
  ASSERT_EQ(assign(a, conversation, &reused), KILN_OK);
  EXPECT_EQ(reused, 5u);
  EXPECT_EQ(text(a), conversation);
  goesOn(a);
  ASSERT_EQ(assign(a, some(3), &reused), KILN_OK);
  EXPECT_EQ(reused, 3u);
  goesOn(a);
  ASSERT_EQ(assign(a, {}), KILN_OK);
  EXPECT_EQ(text(a), Tokens());
  EXPECT_EQ(assign(a, some(31)), KILN_CONTEXT_FULL);
}

// ---- Overflow -----------------------------------------------------------------------------------

TEST_F(Texts, SlidingKeepsTheFirstAndTheLast) {
  uint32_t a = open();
  ASSERT_EQ(kiln_sequence_set_overflow(llm, a, KILN_OVERFLOW_SLIDE, 6, &error), KILN_OK);
  Tokens all = some(26);
  ASSERT_EQ(append(a, all), KILN_OK);
  Tokens more = some(9, 200);
  all.insert(all.end(), more.begin(), more.end());
  ASSERT_EQ(append(a, more), KILN_OK) << error.text;
  // 35 tokens where 30 fit: half of the 24 behind the first 6 is dropped.
  Tokens expected(all.begin(), all.begin() + 6);
  expected.insert(expected.end(), all.begin() + 18, all.end());
  EXPECT_EQ(text(a), expected);
  goesOn(a, 3);
  // A sequence that is assigned the whole text drops the same tokens.
  uint32_t b = open();
  ASSERT_EQ(kiln_sequence_set_overflow(llm, b, KILN_OVERFLOW_SLIDE, 6, &error), KILN_OK);
  ASSERT_EQ(assign(b, all), KILN_OK) << error.text;
  EXPECT_EQ(text(b), expected);
  goesOn(b, 3);
}

TEST_F(Texts, GeneratingSlidesAsOftenAsNeeded) {
  for (uint32_t keep : {0u, 3u, 4u, 13u, 28u, 29u}) {
    uint32_t a = open(), b = open();
    ASSERT_EQ(kiln_sequence_set_overflow(llm, a, KILN_OVERFLOW_SLIDE, keep, &error), KILN_OK);
    ASSERT_EQ(append(a, some(20)), KILN_OK);
    for (int i = 0; i < 100; ++i) {
      ASSERT_EQ(generate(a, 1), KILN_OK) << error.text;
      Tokens now = text(a);
      int32_t sampled = now.back();
      now.pop_back();
      EXPECT_EQ(sampled, fakeNext(now));
      for (uint32_t k = 0; k < keep && k < 20; ++k)
        EXPECT_EQ(now[k], some(20)[k]);
    }
    ASSERT_EQ(generate(a, 100), KILN_OK);
    EXPECT_EQ(stats.generated_tokens, 100u);
    EXPECT_EQ(stats.stop, KILN_STOP_MAX_TOKENS);
    // The same as a fresh sequence with this text, sampled with the same seed.
    kiln_sampler_options sampling = kiln_sampler_defaults();
    sampling.temperature = 30;
    sampling.presence_penalty = 1;
    sampling.seed = 5;
    kiln_generate_options options = {};
    ASSERT_EQ(kiln_sampler_create(&sampling, fakeVocabulary, &options.sampler, &error), KILN_OK);
    options.max_tokens = 40;
    options.ignore_end_tokens = 1;
    ASSERT_EQ(kiln_sequence_generate(llm, a, nullptr, 0, &options, &stats, &error), KILN_OK);
    Tokens now = text(a);
    int32_t sampled = now.back();
    now.pop_back();
    options.max_tokens = 1;
    ASSERT_EQ(kiln_sequence_generate(llm, b, now.data(), now.size(), &options, &stats, &error),
              KILN_OK);
    EXPECT_EQ(text(b).back(), sampled);
    kiln_sampler_destroy(options.sampler);
    EXPECT_EQ(kiln_sequence_close(llm, a, &error), KILN_OK);
    EXPECT_EQ(kiln_sequence_close(llm, b, &error), KILN_OK);
  }
}

TEST_F(Texts, WhatCannotSlideIsRefused) {
  uint32_t a = open();
  ASSERT_EQ(kiln_sequence_set_overflow(llm, a, KILN_OVERFLOW_SLIDE, 10, &error), KILN_OK);
  ASSERT_EQ(append(a, some(15)), KILN_OK);
  EXPECT_EQ(append(a, some(21)), KILN_CONTEXT_FULL);
  EXPECT_EQ(text(a), some(15));
  EXPECT_EQ(kiln_sequence_set_overflow(llm, a, KILN_OVERFLOW_SLIDE, 30, &error),
            KILN_INVALID_ARGUMENT);
  EXPECT_EQ(kiln_sequence_set_overflow(llm, a, static_cast<kiln_overflow_t>(7), 0, &error),
            KILN_INVALID_ARGUMENT);
}

// ---- Save and restore ---------------------------------------------------------------------------

TEST_F(Texts, RestoredSequencesGoOn) {
  for (int length : {0, 1, 4, 7, 30})
    for (size_t generated : {0, 1, 2}) {
      uint32_t a = open(), b = open();
      ASSERT_EQ(append(a, some(length)), KILN_OK);
      if (generated && length > 0 && length < 30) {
        ASSERT_EQ(generate(a, generated), KILN_OK);
      }
      std::vector<uint8_t> bytes = save(a);
      ASSERT_EQ(append(b, some(9, 3)), KILN_OK);
      ASSERT_EQ(restore(b, bytes), KILN_OK) << error.text;
      EXPECT_EQ(text(b), text(a));
      EXPECT_EQ(save(b), bytes);
      if (length > 0 && length < 30)
        goesOn(b);
      EXPECT_EQ(kiln_sequence_close(llm, a, &error), KILN_OK);
      EXPECT_EQ(kiln_sequence_close(llm, b, &error), KILN_OK);
      EXPECT_EQ(freePages(), 32u);
    }
}

TEST_F(Texts, ASessionMovesToAnotherPoolOfPages) {
  uint32_t a = open();
  ASSERT_EQ(generate(a, 5, some(14)), KILN_OK);
  std::vector<uint8_t> bytes = save(a);
  Tokens saved = text(a);
  create({1, 24, 6, 3});
  uint32_t b = open();
  ASSERT_EQ(restore(b, bytes), KILN_OK) << error.text;
  EXPECT_EQ(text(b), saved);
  goesOn(b, 3);
  create({1, 17, 0, 0});
  b = open();
  EXPECT_EQ(restore(b, bytes), KILN_CONTEXT_FULL);
  create({2, 0, 4, 0});
  EXPECT_EQ(restore(open(), bytes), KILN_CONTEXT_FULL);
}

TEST_F(Texts, RestoringOverForkedPagesLeavesTheOtherAlone) {
  uint32_t a = open();
  ASSERT_EQ(append(a, some(10)), KILN_OK);
  std::vector<uint8_t> bytes = save(a);
  uint32_t b = fork(a);
  ASSERT_EQ(append(b, some(5, 9)), KILN_OK);
  Tokens longer = text(b);
  ASSERT_EQ(restore(a, bytes), KILN_OK);
  goesOn(a);
  EXPECT_EQ(text(b), longer);
  goesOn(b);
}

TEST_F(Texts, EveryCutAndEveryChangedByteIsNoticed) {
  uint32_t a = open(), b = open();
  ASSERT_EQ(generate(a, 2, some(6)), KILN_OK);
  ASSERT_EQ(append(b, some(3)), KILN_OK);
  std::vector<uint8_t> bytes = save(a);
  for (size_t size = 0; size < bytes.size(); ++size)
    EXPECT_EQ(restore(b, {bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(size)}),
              KILN_BAD_SESSION)
        << size;
  for (size_t i = 0; i < bytes.size(); ++i) {
    std::vector<uint8_t> changed = bytes;
    changed[i] ^= 0x40;
    EXPECT_NE(restore(b, changed), KILN_OK) << i;
  }
  EXPECT_EQ(text(b), some(3));
  runtime.fingerprint ^= 1;
  EXPECT_EQ(restore(b, bytes), KILN_OTHER_ARTIFACT);
  goesOn(b);
}

TEST_F(Texts, FilesAreWrittenWholeAndNamedInErrors) {
  uint32_t a = open(), b = open();
  ASSERT_EQ(append(a, some(6)), KILN_OK);
  std::string path = testing::TempDir() + "kiln_text_test.session";
  ASSERT_EQ(kiln_sequence_save_path(llm, a, path.c_str(), &error), KILN_OK) << error.text;
  ASSERT_EQ(kiln_sequence_restore_path(llm, b, path.c_str(), &error), KILN_OK) << error.text;
  EXPECT_EQ(text(b), some(6));
  goesOn(b);
  std::remove(path.c_str());
  EXPECT_EQ(kiln_sequence_restore_path(llm, b, path.c_str(), &error), KILN_IO);
  EXPECT_NE(std::strstr(error.text, "kiln_text_test.session"), nullptr) << error.text;
  EXPECT_EQ(kiln_sequence_save_path(llm, a, "/nowhere/at/all", &error), KILN_IO);
  EXPECT_NE(std::strstr(error.text, "/nowhere/at/all"), nullptr) << error.text;
}

// ---- Cancel -------------------------------------------------------------------------------------

TEST_F(Texts, ACancelledGenerationGoesOnLater) {
  uint32_t a = open();
  runtime.onCall = [&](int call) {
    if (call == 4)
      kiln_llm_cancel(llm);
  };
  EXPECT_EQ(generate(a, 20, some(5)), KILN_CANCELLED);
  EXPECT_EQ(stats.stop, KILN_STOP_CANCELLED);
  EXPECT_EQ(text(a).size(), 5 + stats.generated_tokens);
  goesOn(a);
}

TEST_F(Texts, ACancelledPromptKeepsWhatWasAppended) {
  uint32_t a = open();
  runtime.onCall = [&](int call) {
    if (call == 2)
      kiln_llm_cancel(llm);
  };
  EXPECT_EQ(append(a, some(27)), KILN_CANCELLED);
  EXPECT_EQ(text(a), some(16));
  goesOn(a);
}

TEST_F(Texts, ARequestToCancelWaitsAndCanBeTakenBack) {
  uint32_t a = open();
  ASSERT_EQ(append(a, some(5)), KILN_OK);
  kiln_llm_cancel(llm);
  EXPECT_EQ(generate(a, 3), KILN_CANCELLED);
  EXPECT_EQ(stats.generated_tokens, 0u);
  goesOn(a, 3);
  kiln_llm_cancel(llm);
  kiln_llm_uncancel(llm);
  goesOn(a, 3);
}

TEST_F(Texts, AnotherThreadCancels) {
  uint32_t a = open();
  ASSERT_EQ(kiln_sequence_set_overflow(llm, a, KILN_OVERFLOW_SLIDE, 2, &error), KILN_OK);
  ASSERT_EQ(append(a, some(3)), KILN_OK);
  for (int round = 0; round < 20; ++round) {
    std::thread other([&] { kiln_llm_cancel(llm); });
    EXPECT_EQ(generate(a, 0, some(2)), KILN_CANCELLED); // without end but for the other thread
    other.join();
    kiln_llm_uncancel(llm);
    goesOn(a, 1);
  }
}

} // namespace
