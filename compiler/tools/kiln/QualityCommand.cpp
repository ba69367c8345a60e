// kiln quality: how well an artifact predicts a text, and how far its predictions are from another
// artifact's.
#include "compiler/tools/kiln/Commands.h"
#include "compiler/tools/kiln/Progress.h"
#include "compiler/tools/kiln/Quality.h"
#include <nlohmann/json.hpp>

using namespace kiln;
using Json = nlohmann::ordered_json;

namespace {

struct QualityArguments {
  QualityOptions options;
  bool json = false, quiet = false;
};

struct Percentile {
  const char *key;
  double share;
};
constexpr Percentile percentiles[] = {
    {"median", 0.5}, {"percentile_99", 0.99}, {"percentile_99_9", 0.999}, {"maximum", 1}};

} // namespace

static Json asJson(const Estimate &estimate) {
  return {{"mean", estimate.mean}, {"standard_error", estimate.standardError}};
}

static Json asJson(QualityResult &result, bool compared) {
  QualityStatistics &found = result.statistics;
  Estimate perplexity = found.perplexity();
  Json json = {{"text_tokens", result.tokens},
               {"context", result.context},
               {"chunks", result.chunks},
               {"begin_tokens", result.beginTokens},
               {"predictions", found.count()},
               {"negative_log_likelihood", asJson(found.negativeLogLikelihood())},
               {"perplexity", perplexity.mean},
               {"perplexity_standard_error", perplexity.standardError}};
  if (compared) {
    Estimate reference = found.referencePerplexity();
    json["reference_perplexity"] = reference.mean;
    json["reference_perplexity_standard_error"] = reference.standardError;
    json["log_perplexity_ratio"] = asJson(found.logPerplexityRatio());
    json["kl_divergence"] = asJson(found.divergence());
    for (const Percentile &percentile : percentiles)
      json["kl_divergence"][percentile.key] = found.divergencePercentile(percentile.share);
    json["top1_agreement"] = asJson(found.top1Agreement());
  }
  json["seconds"] = result.seconds;
  json["tokens_per_second"] = double(result.context) * result.chunks / result.seconds;
  return json;
}

static void print(QualityResult &result, bool compared) {
  QualityStatistics &found = result.statistics;
  auto line = [](const char *name, const Estimate &value, int digits) {
    std::printf("%-22s %.*f +/- %.*f\n", name, digits, value.mean, digits, value.standardError);
  };
  line("perplexity", found.perplexity(), 4);
  line("mean NLL", found.negativeLogLikelihood(), 6);
  if (compared) {
    line("reference perplexity", found.referencePerplexity(), 4);
    line("ln(ratio of the two)", found.logPerplexityRatio(), 6);
    line("KL divergence", found.divergence(), 6);
    std::printf("%-22s median %.6f, 99 %% %.6f, 99.9 %% %.6f, maximum %.6f\n", "",
                found.divergencePercentile(0.5), found.divergencePercentile(0.99),
                found.divergencePercentile(0.999), found.divergencePercentile(1));
    Estimate agreement = found.top1Agreement();
    line("top-1 agreement, %", {100 * agreement.mean, 100 * agreement.standardError}, 3);
  }
  std::printf("%-22s %llu, in %u chunks of %u tokens%s; %.1f s, %.0f tokens/s\n", "predictions",
              (unsigned long long)found.count(), result.chunks, result.context,
              result.beginTokens ? " that begin with the begin token" : "", result.seconds,
              double(result.context) * result.chunks / result.seconds);
}

static int quality(const QualityArguments &arguments) {
  QualityResult result;
  std::string problem;
  Progress progress(arguments.quiet || arguments.json);
  if (!measureQuality(
          arguments.options, [&](double done) { progress.update("quality", done); }, result,
          problem)) {
    progress.abandon();
    return reportFailure(problem);
  }
  progress.finish();
  bool compared = !arguments.options.reference.empty();
  if (arguments.json)
    std::printf("%s\n", asJson(result, compared).dump(2).c_str());
  else
    print(result, compared);
  return 0;
}

void kiln::addQualityCommand(CLI::App &app, int &exitCode) {
  auto a = std::make_shared<QualityArguments>();
  CLI::App *command = app.add_subcommand(
      "quality", "Measure how well a language model predicts a text: perplexity, KL divergence");
  command->add_option("artifact", a->options.model, "The .kiln file")->required();
  command->add_option("text", a->options.text, "A file of text")->required();
  command->add_option(
      "--reference", a->options.reference,
      "Another artifact of the model: also the KL divergence of the artifact's "
      "predictions from its predictions, and how often their likeliest tokens agree");
  command
      ->add_option("--context", a->options.context,
                   "Tokens of a chunk; default: 512, or what the model can hold")
      ->check(CLI::Range(4, 1 << 28));
  command->add_option("--chunks", a->options.chunks, "Most chunks of the text; default: all")
      ->check(CLI::Range(1, INT32_MAX));
  command->add_option("--threads", a->options.threads, "Workers; default: the physical cores");
  command->add_flag("--quiet", a->quiet, "No progress");
  command->add_flag("--json", a->json, "JSON on stdout");
  setExamples(*command, "  kiln quality model.kiln text.txt\n"
                        "  kiln quality q4.kiln text.txt --reference f32.kiln\n"
                        "  kiln quality model.kiln text.txt --context 2048 --chunks 20 --json\n");
  command->callback([a, &exitCode] { exitCode = quality(*a); });
}
