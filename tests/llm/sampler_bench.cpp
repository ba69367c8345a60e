// Prints what choosing a token costs: microseconds per draw, the best of several rounds, for the
// vocabularies of today's models. Logits are normally distributed, which spreads the probability
// over thousands of tokens (hard), or twenty of them stand out, as in most rows of a language
// model (easy).
//   kiln_sampler_bench

#include "kiln/llm.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <random>
#include <vector>

namespace {

struct Setting {
  const char *name;
  float temperature;
  uint32_t topK;
  float topP, minP;
  float repetition;
};

double microseconds(const Setting &setting, const std::vector<float> &logits) {
  kiln_sampler_options options = kiln_sampler_defaults();
  options.temperature = setting.temperature;
  options.top_k = setting.topK;
  options.top_p = setting.topP;
  options.min_p = setting.minP;
  options.repetition_penalty = setting.repetition;
  kiln_sampler_t *sampler = nullptr;
  if (kiln_sampler_create(&options, logits.size(), &sampler, nullptr) != KILN_OK)
    return NAN;
  for (int32_t id = 0; id < 500; ++id)
    kiln_sampler_accept(sampler, id * 7);
  double best = 1e30;
  for (int round = 0; round < 7; ++round) {
    auto start = std::chrono::steady_clock::now();
    constexpr int draws = 50;
    for (int i = 0; i < draws; ++i) {
      int32_t id = 0;
      kiln_sampler_sample(sampler, logits.data(), &id, nullptr);
    }
    std::chrono::duration<double, std::micro> took = std::chrono::steady_clock::now() - start;
    best = std::min(best, took.count() / draws);
  }
  kiln_sampler_destroy(sampler);
  return best;
}

} // namespace

int main() {
  const Setting settings[] = {{"greedy", 0, 0, 1, 0, 1},
                              {"temperature 1", 1, 0, 1, 0, 1},
                              {"top-p 0.95", 0.8f, 0, 0.95f, 0, 1},
                              {"top-k 40", 0.8f, 40, 1, 0, 1},
                              {"top-k 40, top-p 0.95", 0.8f, 40, 0.95f, 0, 1},
                              {"min-p 0.05", 0.8f, 0, 1, 0.05f, 1},
                              {"top-p 0.95, penalty 1.1", 0.8f, 0, 0.95f, 0, 1.1f}};
  std::printf("%-26s %10s %10s %10s %10s %10s %10s\n", "us per draw; hard, easy", "49152", "49152",
              "128256", "128256", "256000", "256000");
  for (const Setting &setting : settings) {
    std::printf("%-26s", setting.name);
    for (size_t vocabulary : {49152, 128256, 256000})
      for (bool easy : {false, true}) {
        std::mt19937 random(1);
        std::normal_distribution<float> normal(0, 2.5f);
        std::vector<float> logits(vocabulary);
        for (float &logit : logits)
          logit = normal(random);
        for (size_t i = 0; easy && i < 20; ++i)
          logits[(i * 7919) % vocabulary] = 22 - static_cast<float>(i);
        std::printf(" %10.1f", microseconds(setting, logits));
      }
    std::printf("\n");
  }
  return 0;
}
