// kiln bench on an encoder: milliseconds for a text of so many tokens, alone and with others in one
// call. Token numbers are pseudo-random: the time does not depend on them.
#include "compiler/tools/kiln/BenchEncoder.h"
#include "compiler/tools/kiln/Commands.h"
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>

using namespace kiln;
using Json = nlohmann::ordered_json;

namespace {
struct TextMeasure {
  uint32_t tokens = 0, texts = 0;
  double milliseconds = 0; // of the call, the median
};
} // namespace

bool kiln::isEncoder(const std::string &path) {
  kiln_model_t *model = nullptr;
  if (kiln_model_open_path(path.c_str(), &model, nullptr))
    return false;
  ModelHandle owned(model);
  return kiln_model_function(model, "encode") != nullptr;
}

static kiln_status_t measure(kiln_encoder_t *encoder, const SpeedOptions &options,
                             TextMeasure &result, kiln_error *error) {
  kiln_encoder_info info;
  kiln_encoder_get_info(encoder, &info);
  std::vector<int32_t> tokens(size_t(result.tokens) * result.texts);
  uint32_t state = 1;
  for (int32_t &token : tokens) {
    state = state * 1664525 + 1013904223;
    token = int32_t((uint64_t(state) * info.vocab_size) >> 32);
  }
  std::vector<size_t> lengths(result.texts, result.tokens);
  std::vector<float> embeddings(size_t(info.dimensions) * result.texts);
  std::vector<double> times;
  constexpr uint32_t warmups = 3, perRound = 8;
  for (uint32_t i = 0; i < warmups + options.repeat * perRound; ++i) {
    auto started = std::chrono::steady_clock::now();
    kiln_status_t status = kiln_encoder_embed_tokens(
        encoder, tokens.data(), nullptr, lengths.data(), lengths.size(), embeddings.data(), error);
    if (status)
      return status;
    if (i >= warmups)
      times.push_back(
          std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - started)
              .count());
  }
  result.milliseconds = median(times);
  return KILN_OK;
}

/// Shares of one call by step, layers taken together, largest first.
static std::vector<std::pair<std::string, double>>
profile(kiln_encoder_t *encoder, const SpeedOptions &options, TextMeasure text) {
  const kiln_function_t *function = kiln_model_function(kiln_encoder_model(encoder), "encode");
  std::vector<uint64_t> stepNs(kiln_function_step_count(function));
  kiln_profile times = {stepNs.data(), stepNs.size()};
  kiln_encoder_set_profile(encoder, &times);
  kiln_status_t status = measure(encoder, options, text, nullptr);
  kiln_encoder_set_profile(encoder, nullptr);
  std::map<std::string, double> shares;
  double total = 0;
  for (size_t i = 0; i < stepNs.size() && !status; ++i) {
    std::string name;
    for (const char *c = kiln_function_step_name(function, i); *c; ++c)
      if (!(*c >= '0' && *c <= '9'))
        name += *c;
      else if (name.empty() || name.back() != '*')
        name += '*';
    shares[name.empty() ? "barriers" : name] += double(stepNs[i]);
    total += double(stepNs[i]);
  }
  std::vector<std::pair<std::string, double>> sorted(shares.begin(), shares.end());
  for (auto &[name, share] : sorted)
    share /= total;
  std::sort(sorted.begin(), sorted.end(), [](auto &x, auto &y) { return x.second > y.second; });
  return sorted;
}

int kiln::benchEncoder(const SpeedOptions &options, bool json) {
  kiln_error error = {};
  kiln_encoder_t *opened = nullptr;
  kiln_status_t status = kiln_encoder_open(options.model.c_str(), options.threads, &opened, &error);
  EncoderHandle encoder(opened);
  if (status)
    return reportFailure(describe(status, error));
  kiln_encoder_info info;
  kiln_encoder_get_info(opened, &info);
  const char *target = kiln_model_target(kiln_encoder_model(opened));
  Json report = {{"target", target},
                 {"dimensions", info.dimensions},
                 {"context_length", info.context_length},
                 {"texts", Json::array()}};
  if (!json)
    std::printf("%s, %u dimensions, texts of at most %u tokens\n"
                "tokens  texts  ms a call  ms a text  tokens/s\n",
                target, info.dimensions, info.context_length);
  TextMeasure longest;
  for (uint32_t tokens : {16u, 128u, 256u}) {
    if (tokens > info.context_length)
      continue;
    for (uint32_t texts : {1u, info.max_tokens / tokens}) {
      TextMeasure text = {tokens, texts};
      if (kiln_status_t status = measure(opened, options, text, &error))
        return reportFailure(describe(status, error));
      if (texts == 1)
        longest = text;
      double each = text.milliseconds / texts, rate = 1e3 * tokens / each;
      report["texts"].push_back({{"tokens", tokens},
                                 {"texts", texts},
                                 {"milliseconds", text.milliseconds},
                                 {"milliseconds_per_text", each},
                                 {"tokens_per_second", rate}});
      if (!json)
        std::printf("%6u %6u %10.2f %10.2f %9.0f\n", tokens, texts, text.milliseconds, each, rate);
    }
  }
  if (options.profile && longest.tokens) {
    if (!json)
      std::printf("shares of one text of %u tokens:\n", longest.tokens);
    for (const auto &[name, share] : profile(opened, options, longest)) {
      report["profile"][name] = share;
      if (!json)
        std::printf("%6.1f %%  %s\n", 100 * share, name.c_str());
    }
  }
  if (json)
    std::printf("%s\n", report.dump(2).c_str());
  return 0;
}
