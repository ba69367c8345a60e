// How tokens are chosen: the options that `run` and `chat` share.
#include "compiler/tools/kiln/SamplingOptions.h"

using namespace kiln;

void SamplingOptions::addTo(CLI::App &command) {
  command.add_flag("--greedy", greedy, "Always the most likely token");
  command.add_option("--temperature", temperature, "0 is greedy; default: the model's");
  command.add_option("--top-k", topK, "Sample among the K most likely; 0 for all");
  command.add_option("--top-p", topP, "Sample among the most likely that sum up to P");
  command.add_option("--min-p", minP, "Sample among those of this share of the likeliest");
  command.add_option("--typical-p", typicalP, "Sample among the most typical that sum up to P");
  command.add_option("--repetition-penalty", repetitionPenalty, "1 for none");
  command.add_option("--presence-penalty", presencePenalty, "Taken from tokens seen; 0 for none");
  command.add_option("--frequency-penalty", frequencyPenalty, "The same, times how often");
  command.add_option("--penalty-window", penaltyWindow, "Seen: among the last N tokens; 0 for all");
  command.add_option("--logit-bias", bias, "ID VALUE: added to the token's logit")->take_all();
  command.add_option("--seed", seed, "Of the random numbers")->capture_default_str();
}

bool SamplingOptions::createSampler(const LanguageModel &lm, SamplerHandle &sampler,
                                    std::string &problem) const {
  kiln_sampler_options options = greedy ? kiln_sampler_defaults() : lm.info.sampler;
  options.seed = seed;
  auto set = [](auto &field, const auto &value) {
    if (value)
      field = *value;
  };
  set(options.temperature, temperature);
  set(options.top_k, topK);
  set(options.top_p, topP);
  set(options.min_p, minP);
  set(options.typical_p, typicalP);
  set(options.repetition_penalty, repetitionPenalty);
  set(options.presence_penalty, presencePenalty);
  set(options.frequency_penalty, frequencyPenalty);
  set(options.penalty_window, penaltyWindow);
  std::vector<kiln_logit_bias> entries;
  for (const auto &[id, value] : bias)
    entries.push_back({id, value});
  options.logit_bias = entries.data();
  options.logit_bias_count = entries.size();
  kiln_error error{};
  kiln_sampler_t *created = nullptr;
  kiln_status_t status = kiln_sampler_create(&options, lm.info.vocab_size, &created, &error);
  if (status != KILN_OK)
    problem = describe(status, error);
  sampler.reset(created);
  return status == KILN_OK;
}
