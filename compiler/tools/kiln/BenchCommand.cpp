// kiln bench: how fast an artifact runs here and how close that is to the machine's limits; and
// with
// --quality how far its predictions are from another artifact's.
#include "compiler/tools/kiln/BenchReport.h"
#include "compiler/tools/kiln/BenchSpeed.h"
#include "compiler/tools/kiln/Commands.h"
#include "compiler/tools/kiln/Progress.h"
#include "compiler/tools/kiln/Quality.h"
#include <nlohmann/json.hpp>

using namespace kiln;
using Json = nlohmann::ordered_json;

namespace {
struct BenchArguments {
  SpeedOptions speed;
  std::string quality, reference;
  uint32_t tokens = 2048;
  bool json = false, quiet = false;
};
} // namespace

static int benchSpeed(const BenchArguments &arguments) {
  SpeedResult result;
  std::string problem;
  Progress progress(arguments.quiet || arguments.json);
  if (!measureSpeed(
          arguments.speed, [&](double done) { progress.update("bench", done); }, result, problem))
    return reportFailure(problem);
  progress.finish();
  if (arguments.json)
    std::printf("%s\n", speedAsJson(arguments.speed, result).c_str());
  else
    printSpeed(arguments.speed, result);
  return 0;
}

static int bench(const BenchArguments &arguments) {
  if (arguments.quality.empty())
    return benchSpeed(arguments);
  QualityOptions options{arguments.speed.model, arguments.reference, arguments.quality,
                         arguments.tokens, arguments.speed.threads};
  QualityResult result;
  std::string problem;
  Progress progress(arguments.quiet || arguments.json);
  if (!measureQuality(
          options, [&](double done) { progress.update("quality", done); }, result, problem))
    return reportFailure(problem);
  progress.finish();
  Json json = {{"tokens", result.tokens}, {"perplexity", result.perplexity}};
  if (!arguments.reference.empty()) {
    json["reference_perplexity"] = result.referencePerplexity;
    json["mean_kl_divergence"] = result.meanKlDivergence;
    json["top1_agreement"] = result.top1Agreement;
  }
  if (arguments.json) {
    std::printf("%s\n", json.dump(2).c_str());
    return 0;
  }
  for (const auto &[key, value] : json.items())
    std::printf("%-22s %s\n", key.c_str(), value.dump().c_str());
  return 0;
}

void kiln::addBenchCommand(CLI::App &app, int &exitCode) {
  auto a = std::make_shared<BenchArguments>();
  CLI::App *command =
      app.add_subcommand("bench", "Measure the speed, or the quality, of a language model");
  command->add_option("artifact", a->speed.model, "The .kiln file")->required();
  command->add_option("--threads", a->speed.threads, "Workers; default: the physical cores");
  command->add_option("--prompt", a->speed.prompt, "Prompt tokens")
      ->capture_default_str()
      ->check(CLI::Range(1, 1 << 20));
  command->add_option("--generate", a->speed.generate, "Tokens decoded one by one")
      ->capture_default_str()
      ->check(CLI::Range(1, 1 << 20));
  command->add_option("--depth", a->speed.depth,
                      "Measure with that many tokens in the cache as well");
  command->add_option("--repeat", a->speed.repeat, "Rounds; medians are reported")
      ->capture_default_str()
      ->check(CLI::Range(1, 1000));
  command->add_flag("--profile", a->speed.profile, "Time, bytes and share of the bound per kernel");
  command->add_option("--quality", a->quality,
                      "Measure perplexity over this text file instead of speed");
  CLI::Option *reference = command->add_option(
      "--reference", a->reference, "Another artifact of the model: also the KL divergence to it");
  reference->needs("--quality");
  command->add_option("--tokens", a->tokens, "Tokens of the text to use")->capture_default_str();
  command->add_flag("--quiet", a->quiet, "No progress");
  command->add_flag("--json", a->json, "JSON on stdout");
  setExamples(*command, "  kiln bench model.kiln --threads 2 --depth 4096\n"
                        "  kiln bench model.kiln --profile --json\n"
                        "  kiln bench q4.kiln --quality text.txt --reference f32.kiln\n");
  command->callback([a, &exitCode] { exitCode = bench(*a); });
}
