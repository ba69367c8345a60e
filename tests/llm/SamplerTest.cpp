// The sampler: each option keeps what its definition says, draws follow the probabilities, the same
// seed gives the same ids everywhere, and broken logits do no harm.

#include "kiln/llm.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <vector>

namespace {

class Sampler {
public:
  Sampler(kiln_sampler_options options, size_t vocabulary) {
    EXPECT_EQ(kiln_sampler_create(&options, vocabulary, &sampler, &error), KILN_OK) << error.text;
  }
  ~Sampler() { kiln_sampler_destroy(sampler); }
  int32_t operator()(const std::vector<float> &logits) {
    int32_t id = -1;
    EXPECT_EQ(kiln_sampler_sample(sampler, logits.data(), &id, &error), KILN_OK) << error.text;
    return id;
  }
  kiln_sampler_t *sampler = nullptr;
  kiln_error error = {};
};

kiln_sampler_options random(float temperature) {
  kiln_sampler_options options = kiln_sampler_defaults();
  options.temperature = temperature;
  options.seed = 42;
  return options;
}

/// Ids that come up in many draws.
std::set<int32_t> support(const kiln_sampler_options &options, const std::vector<float> &logits) {
  Sampler sampler(options, logits.size());
  std::set<int32_t> ids;
  for (int i = 0; i < 2000; ++i)
    ids.insert(sampler(logits));
  return ids;
}

std::vector<float> logsOf(const std::vector<double> &probabilities) {
  std::vector<float> logits;
  for (double p : probabilities)
    logits.push_back(static_cast<float>(std::log(p)));
  return logits;
}

TEST(Sampler, GreedyTakesTheLargestAndTheLowerIdOfTwo) {
  Sampler sampler(kiln_sampler_defaults(), 5);
  EXPECT_EQ(sampler({1, 3, 2, 3, 0}), 1);
}

TEST(Sampler, DrawsFollowTheProbabilities) {
  std::vector<double> probabilities = {0.05, 0.4, 0.1, 0.25, 0.2};
  std::vector<float> logits = logsOf(probabilities);
  for (float temperature : {0.5f, 1.0f, 2.0f}) {
    double sum = 0;
    for (double p : probabilities)
      sum += std::pow(p, 1 / temperature);
    Sampler sampler(random(temperature), logits.size());
    constexpr int draws = 100000;
    std::vector<int> counts(logits.size());
    for (int i = 0; i < draws; ++i)
      ++counts[sampler(logits)];
    double chiSquared = 0;
    for (size_t i = 0; i < counts.size(); ++i) {
      double expected = draws * std::pow(probabilities[i], 1 / temperature) / sum;
      chiSquared += (counts[i] - expected) * (counts[i] - expected) / expected;
    }
    EXPECT_LT(chiSquared, 18.5) << temperature; // p = 0.001 with 4 degrees of freedom
  }
}

TEST(Sampler, TopKKeepsTheKLargest) {
  kiln_sampler_options options = random(5);
  options.top_k = 2;
  EXPECT_EQ(support(options, {1, 4, 2, 4, 3}), (std::set<int32_t>{1, 3}));
  options.top_k = 1;
  EXPECT_EQ(support(options, {1, 4, 2, 4, 3}), (std::set<int32_t>{1}));
  options.top_k = 100;
  EXPECT_EQ(support(options, {1, 4, 2, 4, 3}).size(), 5u);
}

TEST(Sampler, TopPKeepsTheFewestThatReachP) {
  kiln_sampler_options options = random(1);
  std::vector<float> logits = logsOf({0.1, 0.5, 0.3, 0.1});
  options.top_p = 0.49f;
  EXPECT_EQ(support(options, logits), (std::set<int32_t>{1}));
  options.top_p = 0.7f;
  EXPECT_EQ(support(options, logits), (std::set<int32_t>{1, 2}));
  options.top_p = 0.85f;
  EXPECT_EQ(support(options, logits), (std::set<int32_t>{0, 1, 2}));
  options.top_p = 0;
  EXPECT_EQ(support(options, logits), (std::set<int32_t>{1}));
  // After top-k the probabilities are 0.625 and 0.375.
  options.top_k = 2;
  options.top_p = 0.6f;
  EXPECT_EQ(support(options, logits), (std::set<int32_t>{1}));
}

TEST(Sampler, MinPKeepsAShareOfTheLargest) {
  kiln_sampler_options options = random(1);
  options.min_p = 0.49f;
  EXPECT_EQ(support(options, logsOf({0.1, 0.4, 0.3, 0.2})), (std::set<int32_t>{1, 2, 3}));
  options.min_p = 0.7f;
  EXPECT_EQ(support(options, logsOf({0.1, 0.4, 0.3, 0.2})), (std::set<int32_t>{1, 2}));
}

TEST(Sampler, TypicalKeepsWhatIsNearestToTheEntropy) {
  // Entropy 1.28; information 0.69, 1.20, 2.30, 2.30: the second is the most typical.
  kiln_sampler_options options = random(1);
  std::vector<float> logits = logsOf({0.5, 0.3, 0.1, 0.1});
  options.typical_p = 0.25f;
  EXPECT_EQ(support(options, logits), (std::set<int32_t>{1}));
  options.typical_p = 0.6f;
  EXPECT_EQ(support(options, logits), (std::set<int32_t>{0, 1}));
  options.typical_p = 0.95f;
  EXPECT_EQ(support(options, logits), (std::set<int32_t>{0, 1, 2, 3}));
}

TEST(Sampler, PenaltyDividesPositiveAndMultipliesNegativeLogits) {
  kiln_sampler_options options = kiln_sampler_defaults();
  options.repetition_penalty = 2;
  Sampler sampler(options, 3);
  kiln_sampler_accept(sampler.sampler, 0);
  EXPECT_EQ(sampler({3, 2, 1}), 1);
  EXPECT_EQ(sampler({-1, -1.5f, -3}), 1);
  EXPECT_EQ(sampler({5, 2, 1}), 0);
  kiln_sampler_accept(sampler.sampler, -1);
  kiln_sampler_accept(sampler.sampler, 1 << 30);
  kiln_sampler_reset(sampler.sampler);
  EXPECT_EQ(sampler({3, 2, 1}), 0);
}

TEST(Sampler, NotNumbersAndInfinitiesDoNoHarm) {
  const float inf = INFINITY, nan = NAN;
  for (float temperature : {0.0f, 1e-30f, 1.0f, 1e30f}) {
    Sampler sampler(random(temperature), 4);
    EXPECT_EQ(sampler({nan, -inf, 2, nan}), 2);
    EXPECT_NE(sampler({nan, inf, inf, 3}), 0);
    if (temperature <= 1) {
      EXPECT_EQ(sampler({-3e38f, -inf, 3e38f, nan}), 2);
    }
    int32_t id = 7;
    std::vector<float> nothing = {nan, -inf, nan, -inf};
    EXPECT_EQ(kiln_sampler_sample(sampler.sampler, nothing.data(), &id, &sampler.error),
              KILN_INVALID_ARGUMENT);
  }
}

TEST(Sampler, OptionsOutOfRangeAreNamed) {
  auto refused = [](auto change) {
    kiln_sampler_options options = kiln_sampler_defaults();
    change(options);
    kiln_sampler_t *sampler = nullptr;
    kiln_error error = {};
    EXPECT_EQ(kiln_sampler_create(&options, 10, &sampler, &error), KILN_INVALID_ARGUMENT);
    return std::string(error.text);
  };
  EXPECT_NE(refused([](auto &o) { o.temperature = -1; }).find("temperature"), std::string::npos);
  EXPECT_NE(refused([](auto &o) { o.top_p = NAN; }).find("top_p"), std::string::npos);
  EXPECT_NE(refused([](auto &o) { o.min_p = 2; }).find("min_p"), std::string::npos);
  EXPECT_NE(refused([](auto &o) { o.typical_p = -1; }).find("typical_p"), std::string::npos);
  EXPECT_NE(refused([](auto &o) { o.presence_penalty = NAN; }).find("presence"), std::string::npos);
  EXPECT_NE(refused([](auto &o) { o.repetition_penalty = 0; }).find("penalty"), std::string::npos);
}

struct ReferenceCase {
  std::vector<kiln_logit_bias> bias;
  float repetition, presence, frequency;
  uint32_t window;
  float temperature;
  uint32_t topK;
  float topP, minP, typicalP;
  uint64_t seed;
  std::vector<int32_t> ids;
};

/// The row of logits that sampler_reference.py makes for a step.
std::vector<float> referenceRow(int step) {
  std::vector<float> logits(3000);
  for (int i = 0; i < 3000; ++i) {
    double u = (i * 7919 + step * 104729) % 4093 / 4096.0;
    logits[i] = static_cast<float>(16 * u * u * u * u - 4);
  }
  return logits;
}

// The ids were computed by sampler_reference.py, which follows the description, not the code.
TEST(Sampler, TheSameSeedGivesTheSameIdsOnEveryMachine) {
  const ReferenceCase cases[] = {
#include "sampler_cases.inc"
  };
  int number = 0;
  for (const ReferenceCase &expected : cases) {
    kiln_sampler_options options = kiln_sampler_defaults();
    options.logit_bias = expected.bias.data();
    options.logit_bias_count = expected.bias.size();
    options.repetition_penalty = expected.repetition;
    options.presence_penalty = expected.presence;
    options.frequency_penalty = expected.frequency;
    options.penalty_window = expected.window;
    options.temperature = expected.temperature;
    options.top_k = expected.topK;
    options.top_p = expected.topP;
    options.min_p = expected.minP;
    options.typical_p = expected.typicalP;
    options.seed = expected.seed;
    Sampler sampler(options, 3000);
    std::vector<int32_t> ids;
    for (size_t step = 0; step < expected.ids.size(); ++step) {
      ids.push_back(sampler(referenceRow(static_cast<int>(step))));
      kiln_sampler_accept(sampler.sampler, ids.back());
    }
    EXPECT_EQ(ids, expected.ids) << "case " << number;
    ++number;
  }
}

TEST(Sampler, ItsStateIsWhatItWasTold) {
  kiln_sampler_options options = random(1);
  options.frequency_penalty = 0.5f;
  options.penalty_window = 5;
  Sampler one(options, 3000), other(options, 3000);
  std::vector<int32_t> text;
  for (int step = 0; step < 20; ++step) {
    text.push_back(one(referenceRow(step)));
    kiln_sampler_accept(one.sampler, text.back());
  }
  other(referenceRow(3));
  kiln_sampler_assign(other.sampler, text.data(), text.size());
  EXPECT_EQ(other(referenceRow(20)), one(referenceRow(20)));
}

TEST(Sampler, AnotherDrawTakesAnotherNumber) {
  Sampler sampler(random(1), 64);
  std::vector<float> logits(64, 1.0f);
  std::set<int32_t> ids;
  for (int i = 0; i < 200; ++i)
    ids.insert(sampler(logits));
  EXPECT_GT(ids.size(), 50u);
}

TEST(Sampler, BiasForbidsAndForces) {
  const kiln_logit_bias bias[] = {{1, -INFINITY}, {2, INFINITY}};
  kiln_sampler_options options = random(1);
  options.logit_bias = bias;
  options.logit_bias_count = 1;
  EXPECT_EQ(support(options, {1, 50, 1}), (std::set<int32_t>{0, 2}));
  options.logit_bias_count = 2;
  EXPECT_EQ(support(options, {1, 50, 1}), (std::set<int32_t>{2}));
}

/// Vocabularies around the sizes of lanes, blocks and runs: the last block is not read beyond.
TEST(Sampler, EverySizeOfVocabulary) {
  for (size_t size : {1, 2, 15, 16, 17, 63, 64, 65, 1023, 1024, 1025, 4099}) {
    std::vector<float> logits(size, -1.0f);
    logits[size - 1] = 3;
    for (uint32_t topK : {0u, 1u, 3u}) {
      kiln_sampler_options options = random(0.01f);
      options.top_k = topK;
      options.top_p = topK == 3 ? 0.9f : 1;
      Sampler sampler(options, size);
      EXPECT_EQ(sampler(logits), static_cast<int32_t>(size) - 1) << size;
    }
    Sampler greedy(kiln_sampler_defaults(), size);
    EXPECT_EQ(greedy(logits), static_cast<int32_t>(size) - 1);
  }
}

TEST(Logprobs, AreTheSoftmaxOfTheLogits) {
  std::vector<float> logits = referenceRow(1);
  double largest = *std::max_element(logits.begin(), logits.end()), sum = 0;
  for (float logit : logits)
    sum += std::exp(logit - largest);
  kiln_token_logprob top[5];
  kiln_logprobs logprobs = {0, 0, top, 5};
  kiln_error error;
  ASSERT_EQ(kiln_token_logprobs(logits.data(), logits.size(), 77, &logprobs, &error), KILN_OK);
  EXPECT_NEAR(logprobs.chosen, logits[77] - largest - std::log(sum), 1e-5);
  ASSERT_EQ(logprobs.top_count, 5u);
  std::vector<int32_t> order(logits.size());
  for (size_t i = 0; i < order.size(); ++i)
    order[i] = static_cast<int32_t>(i);
  std::stable_sort(order.begin(), order.end(),
                   [&](int32_t a, int32_t b) { return logits[a] > logits[b]; });
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(top[i].id, order[i]);
    EXPECT_NEAR(top[i].logprob, logits[order[i]] - largest - std::log(sum), 1e-5);
  }
  logprobs = {0, 0, nullptr, 0};
  EXPECT_EQ(kiln_token_logprobs(logits.data(), logits.size(), -1, &logprobs, &error),
            KILN_INVALID_ARGUMENT);
}

} // namespace
