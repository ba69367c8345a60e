// How tokens are chosen: the options that `run` and `chat` share.
#ifndef KILN_TOOLS_SAMPLINGOPTIONS_H
#define KILN_TOOLS_SAMPLINGOPTIONS_H

#include "compiler/tools/kiln/LanguageModel.h"
#include <CLI/CLI.hpp>
#include <optional>
#include <vector>

namespace kiln {

struct SamplingOptions {
  bool greedy = false;
  std::optional<float> temperature, topP, minP, typicalP, repetitionPenalty, presencePenalty,
      frequencyPenalty;
  std::optional<uint32_t> topK, penaltyWindow;
  std::vector<std::pair<int32_t, float>> bias;
  uint64_t seed = 0;

  void addTo(CLI::App &command);
  /// What is not given is as the model's makers recommend. On failure `problem` says why.
  bool createSampler(const LanguageModel &lm, SamplerHandle &sampler, std::string &problem) const;
};

} // namespace kiln

#endif
