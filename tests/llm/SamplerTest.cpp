// The sampler: each option keeps what its definition says, draws follow the probabilities, the same
// seed gives the same ids everywhere, and broken logits do no harm.

#include "kiln/llm.h"

#include <gtest/gtest.h>

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
  EXPECT_NE(refused([](auto &o) { o.repetition_penalty = 0; }).find("penalty"), std::string::npos);
}

// The sequence was computed by sampler_reference.py, which follows the description, not the code.
TEST(Sampler, TheSameSeedGivesTheSameIdsOnEveryMachine) {
  std::vector<float> logits(1000);
  for (int i = 0; i < 1000; ++i)
    logits[i] = static_cast<float>((i * 7919) % 1000) / 125.0f;
  auto run = [&](kiln_sampler_options options) {
    Sampler sampler(options, logits.size());
    std::vector<int32_t> ids;
    for (int i = 0; i < 12; ++i)
      ids.push_back(sampler(logits));
    return ids;
  };
  kiln_sampler_options options = random(0.8f);
  EXPECT_EQ(run(options),
            (std::vector<int32_t>{889, 408, 594, 139, 80, 187, 88, 990, 224, 248, 915, 235}));
  options.top_k = 50;
  options.top_p = 0.9f;
  EXPECT_EQ(run(options),
            (std::vector<int32_t>{284, 815, 988, 840, 124, 593, 630, 877, 272, 704, 988, 531}));
}

} // namespace
