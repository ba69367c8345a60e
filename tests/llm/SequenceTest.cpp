// Sequences over the page pool: whichever way tokens are batched, the decoder sees each sequence's
// own history; pages come back; what does not fit is refused and changes nothing.

#include "FakeRuntime.h"

#include <gtest/gtest.h>

#include <cstring>

using namespace kiln::test;
using Tokens = std::vector<int32_t>;

namespace {

class Sequences : public testing::Test {
protected:
  FakeRuntime runtime;
  kiln_llm_t *llm = nullptr;
  kiln_error error = {};

  void create(kiln_llm_options options = {}) {
    ASSERT_EQ(kiln_llm_create(runtime.model(), runtime.pool(), &options, &llm, &error), KILN_OK)
        << error.text;
  }
  void TearDown() override { kiln_llm_destroy(llm); }

  uint32_t open() {
    uint32_t sequence = 99;
    EXPECT_EQ(kiln_sequence_open(llm, &sequence, &error), KILN_OK);
    return sequence;
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
  static int32_t largest(const float *logits) {
    int32_t best = 0;
    for (int32_t i = 1; i < fakeVocabulary; ++i)
      if (logits[i] > logits[best])
        best = i;
    return best;
  }
  static Tokens some(int count, int from = 1) {
    Tokens tokens;
    for (int i = 0; i < count; ++i)
      tokens.push_back((i * 7 + from) % 256);
    return tokens;
  }
};

TEST_F(Sequences, AppendingWholeOrChunkedGivesTheSameLogits) {
  for (uint32_t chunk : {1u, 2u, 3u, 5u, 8u}) {
    create({1, 0, 0, chunk});
    for (int count : {1, 3, 4, 5, 8, 9, 17, 30}) {
      uint32_t sequence = open();
      Tokens tokens = some(count);
      ASSERT_EQ(append(sequence, tokens), KILN_OK) << error.text;
      EXPECT_EQ(largest(kiln_sequence_logits(llm, sequence)), fakeNext(tokens));
      EXPECT_EQ(kiln_sequence_length(llm, sequence), (uint32_t)count);
      EXPECT_EQ(kiln_sequence_close(llm, sequence, &error), KILN_OK);
    }
    kiln_llm_destroy(llm);
    llm = nullptr;
  }
}

TEST_F(Sequences, EveryPromptTokensLogitsAreThereOnRequest) {
  create();
  uint32_t sequence = open();
  Tokens tokens = some(20);
  std::vector<int32_t> found;
  auto collect = [](void *user, size_t first, size_t count, const float *logits) {
    auto &found = *static_cast<std::vector<int32_t> *>(user);
    EXPECT_EQ(first, found.size());
    for (size_t i = 0; i < count; ++i)
      found.push_back(largest(logits + i * fakeVocabulary));
    return 0;
  };
  ASSERT_EQ(
      kiln_sequence_append(llm, sequence, tokens.data(), tokens.size(), collect, &found, &error),
      KILN_OK);
  ASSERT_EQ(found.size(), tokens.size());
  for (size_t i = 0; i < tokens.size(); ++i)
    EXPECT_EQ(found[i], fakeNext(Tokens(tokens.begin(), tokens.begin() + i + 1)));
}

TEST_F(Sequences, RaggedBatchesKeepSequencesApart) {
  create({3, 0, 0, 0});
  uint32_t a = open(), b = open(), c = open();
  Tokens histories[3];
  uint32_t state = 5;
  for (int round = 0; round < 12; ++round) {
    Tokens tokens;
    std::vector<uint32_t> sequences, rows;
    for (int i = 0; i < 5; ++i) {
      state = state * 1664525u + 1013904223u;
      uint32_t which = (state >> 20) % 3;
      if (histories[which].size() == fakeContext)
        continue;
      tokens.push_back(static_cast<int32_t>(state >> 24));
      sequences.push_back(which == 0 ? a : which == 1 ? b : c);
      histories[which].push_back(tokens.back());
      rows.insert(rows.begin(), static_cast<uint32_t>(tokens.size() - 1)); // in reverse
    }
    kiln_llm_batch batch = {tokens.data(), sequences.data(), tokens.size(), rows.data(),
                            rows.size()};
    const float *logits = nullptr;
    ASSERT_EQ(kiln_llm_step(llm, &batch, &logits, &error), KILN_OK) << error.text;
    Tokens seen[3];
    EXPECT_EQ(largest(logits),
              fakeNext(histories[sequences.back()])); // row 0 is the last token of the batch
    for (uint32_t which = 0; which < 3; ++which) {
      if (kiln_sequence_logits(llm, which)) {
        EXPECT_EQ(largest(kiln_sequence_logits(llm, which)), fakeNext(histories[which]));
      }
    }
  }
}

TEST_F(Sequences, PagesComeBack) {
  create({2, 0, 10, 0});
  EXPECT_EQ(freePages(), 10u);
  uint32_t a = open(), b = open();
  ASSERT_EQ(append(a, some(9)), KILN_OK);
  EXPECT_EQ(freePages(), 7u);
  ASSERT_EQ(append(b, some(28)), KILN_OK);
  EXPECT_EQ(freePages(), 0u);
  EXPECT_EQ(kiln_sequence_truncate(llm, a, 4, &error), KILN_OK);
  EXPECT_EQ(freePages(), 2u);
  EXPECT_EQ(kiln_sequence_logits(llm, a), nullptr);
  Tokens again = some(4);
  again.push_back(77);
  ASSERT_EQ(append(a, {77}), KILN_OK);
  EXPECT_EQ(largest(kiln_sequence_logits(llm, a)), fakeNext(again));
  EXPECT_EQ(kiln_sequence_close(llm, a, &error), KILN_OK);
  EXPECT_EQ(kiln_sequence_close(llm, b, &error), KILN_OK);
  EXPECT_EQ(freePages(), 10u);
  EXPECT_EQ(kiln_sequence_close(llm, b, &error), KILN_INVALID_ARGUMENT);
}

TEST_F(Sequences, APromptLongerThanTheContextIsRefusedAsAWhole) {
  create();
  uint32_t sequence = open();
  EXPECT_EQ(append(sequence, some(31)), KILN_CONTEXT_FULL);
  EXPECT_NE(std::strstr(error.text, "31 tokens"), nullptr) << error.text;
  EXPECT_NE(std::strstr(error.text, "holds 30"), nullptr) << error.text;
  EXPECT_EQ(kiln_sequence_length(llm, sequence), 0u);
  EXPECT_EQ(runtime.calls, 0);
  EXPECT_EQ(append(sequence, some(30)), KILN_OK);
  EXPECT_EQ(append(sequence, {1}), KILN_CONTEXT_FULL);
}

TEST_F(Sequences, AFailedCallChangesNothing) {
  create();
  uint32_t sequence = open();
  ASSERT_EQ(append(sequence, some(3)), KILN_OK);
  uint32_t pages = freePages();
  runtime.failAtCall = runtime.calls;
  EXPECT_EQ(append(sequence, some(6)), KILN_CANCELLED);
  EXPECT_EQ(kiln_sequence_length(llm, sequence), 3u);
  EXPECT_EQ(freePages(), pages);
  Tokens all = some(3);
  all.push_back(9);
  ASSERT_EQ(append(sequence, {9}), KILN_OK);
  EXPECT_EQ(largest(kiln_sequence_logits(llm, sequence)), fakeNext(all));
}

TEST_F(Sequences, BadBatchesAreRefused) {
  create();
  uint32_t sequence = open(), other = 7, row = 3;
  EXPECT_EQ(append(sequence, {fakeVocabulary}), KILN_INDEX_OUT_OF_RANGE);
  EXPECT_EQ(append(sequence, {-1}), KILN_INDEX_OUT_OF_RANGE);
  EXPECT_EQ(append(other, {1}), KILN_INVALID_ARGUMENT);
  Tokens tokens = some(9);
  std::vector<uint32_t> sequences(9, sequence);
  kiln_llm_batch batch = {tokens.data(), sequences.data(), 9, nullptr, 0};
  EXPECT_EQ(kiln_llm_step(llm, &batch, nullptr, &error), KILN_DIM_OUT_OF_BOUNDS);
  batch = {tokens.data(), sequences.data(), 2, &row, 1};
  EXPECT_EQ(kiln_llm_step(llm, &batch, nullptr, &error), KILN_INVALID_ARGUMENT);
}

TEST_F(Sequences, AFunctionOfAnotherFormIsNoLanguageModel) {
  auto refused = [&](const char *word) {
    EXPECT_EQ(kiln_llm_create(runtime.model(), runtime.pool(), nullptr, &llm, &error),
              KILN_NOT_A_LANGUAGE_MODEL);
    EXPECT_NE(std::strstr(error.text, word), nullptr) << error.text;
    runtime = FakeRuntime();
    currentRuntime = &runtime;
  };
  runtime.dims[1] = "q";
  refused("'m'");
  runtime.inputs[3] = "table";
  refused("'block_table'");
  runtime.inputType = KILN_I64;
  refused("'tokens'");
  runtime.vocabulary = 12;
  refused("'logits'");
  runtime.states = 0;
  refused("1 state");
  runtime.hasFunction = false;
  refused("'decode'");
  runtime.program.clear();
  refused("no program");
}

TEST_F(Sequences, OptionsOutOfBoundsAreNamed) {
  kiln_llm_options options = {5, 0, 0, 0};
  EXPECT_EQ(kiln_llm_create(runtime.model(), runtime.pool(), &options, &llm, &error),
            KILN_INVALID_ARGUMENT);
  EXPECT_NE(std::strstr(error.text, "max_sequences"), nullptr);
  options = {1, 31, 0, 0};
  EXPECT_EQ(kiln_llm_create(runtime.model(), runtime.pool(), &options, &llm, &error),
            KILN_INVALID_ARGUMENT);
  options = {1, 0, 65, 0};
  EXPECT_EQ(kiln_llm_create(runtime.model(), runtime.pool(), &options, &llm, &error),
            KILN_INVALID_ARGUMENT);
  EXPECT_NE(std::strstr(error.text, "cache_pages"), nullptr);
}

} // namespace
