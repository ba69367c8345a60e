// kiln bench: how fast an artifact runs here and how close that is to the machine's read bandwidth;
// and with --quality how far its predictions are from another artifact's.
#include "compiler/tools/kiln/Commands.h"
#include "compiler/tools/kiln/LanguageModel.h"
#include "compiler/tools/kiln/Progress.h"
#include "compiler/tools/kiln/Quality.h"
#include "compiler/tools/kiln/ReadBandwidth.h"
#include "kiln/artifact.h"
#include "program_generated.h"
#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <vector>

using namespace kiln;
using Json = nlohmann::ordered_json;

namespace {
struct BenchArguments {
  std::string model, quality, reference;
  uint32_t threads = 0;
  uint32_t prompt = 512, generate = 64, repeat = 3, tokens = 2048;
  bool json = false, quiet = false;
};
} // namespace

static double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// Bytes of weights that one decoded token reads: all but tables that are only looked up in.
static uint64_t weightBytesPerToken(const kiln_model_t *model) {
  const void *data = nullptr;
  size_t size = 0;
  if (kiln_model_section(model, KILN_SECTION_PROGRAM, &data, &size) != KILN_OK)
    return 0;
  const schema::Program *program = schema::GetProgram(data);
  std::vector<bool> streamed(program->weights()->size());
  for (const schema::Function *function : *program->functions())
    for (const schema::Step *step : *function->steps()) {
      if (step->kind() != schema::StepKind_launch)
        continue;
      const std::string operations = program->kernels()->Get(step->kernel())->description()->str();
      if (operations.find("matmul") == std::string::npos)
        continue;
      for (const schema::Binding *binding : *step->bindings())
        if (binding->space() == schema::Space_weight)
          streamed[binding->index()] = true;
    }
  uint64_t bytes = 0;
  for (flatbuffers::uoffset_t i = 0; i < program->weights()->size(); ++i)
    if (streamed[i])
      bytes += program->weights()->Get(i)->size_bytes();
  return bytes;
}

namespace {

/// Runs one sequence with made-up tokens; speed does not depend on which.
class SpeedRun {
public:
  explicit SpeedRun(LanguageModel &lm) : lm(lm) {}

  /// Seconds for a prompt of `count` tokens; negative on failure.
  double prompt(uint32_t count) {
    std::vector<int32_t> tokens(count);
    for (uint32_t i = 0; i < count; ++i)
      tokens[i] = int32_t((i * 7919u + 13u) % lm.info.vocab_size);
    if (!restart())
      return -1;
    double started = now();
    if (kiln_sequence_append(lm.llm.get(), sequence, tokens.data(), count, nullptr, nullptr,
                             &error) != KILN_OK)
      return -1;
    return now() - started;
  }

  /// Seconds for `count` single-token steps after what is there; negative on failure.
  double decode(uint32_t count) {
    double started = now();
    for (uint32_t i = 0; i < count; ++i) {
      int32_t token = int32_t((i * 104729u + 7u) % lm.info.vocab_size);
      if (kiln_sequence_append(lm.llm.get(), sequence, &token, 1, nullptr, nullptr, &error) !=
          KILN_OK)
        return -1;
    }
    return now() - started;
  }

  std::string problem() const { return error.text; }

private:
  bool restart() {
    if (open)
      return kiln_sequence_truncate(lm.llm.get(), sequence, 0, &error) == KILN_OK;
    open = kiln_sequence_open(lm.llm.get(), &sequence, &error) == KILN_OK;
    return open;
  }

  LanguageModel &lm;
  uint32_t sequence = 0;
  bool open = false;
  kiln_error error{};
};

} // namespace

static double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

static int benchSpeed(const BenchArguments &arguments) {
  LanguageModel lm;
  std::string problem;
  if (!openLanguageModel(arguments.model, arguments.threads, {}, lm, problem))
    return reportFailure(problem);
  uint32_t longest = lm.info.context_length;
  uint32_t generate = std::min(arguments.generate, longest / 2);
  uint32_t prompt = std::min(arguments.prompt, longest - generate);
  uint32_t shortPrompt = std::min<uint32_t>(64, prompt);
  uint32_t threads = kiln_pool_workers(lm.pool.get());
  uint64_t tokenBytes = weightBytesPerToken(lm.model.get());
  SpeedRun run(lm);
  std::vector<double> promptRates, shortRates, decodeRates, bandwidths;
  // One round warms up; then the measures take turns, so that drift of the machine hits all alike.
  Progress progress(arguments.quiet || arguments.json);
  for (uint32_t round = 0; round <= arguments.repeat; ++round) {
    progress.update("bench", double(round) / double(arguments.repeat + 1));
    double bandwidth = measureReadBandwidth(threads, tokenBytes);
    double longSeconds = run.prompt(prompt), shortSeconds = run.prompt(shortPrompt);
    double decodeSeconds = run.prompt(1) < 0 ? -1 : run.decode(generate);
    if (longSeconds < 0 || shortSeconds < 0 || decodeSeconds < 0)
      return reportFailure(run.problem());
    if (round == 0)
      continue;
    bandwidths.push_back(bandwidth);
    promptRates.push_back(prompt / longSeconds);
    shortRates.push_back(shortPrompt / shortSeconds);
    decodeRates.push_back(generate / decodeSeconds);
  }
  progress.finish();
  double decodeRate = median(decodeRates), bandwidth = median(bandwidths);
  double achieved = decodeRate * double(tokenBytes);
  Json json = {{"target", kiln_model_target(lm.model.get())},
               {"threads", threads},
               {"open_ms", lm.openSeconds * 1e3},
               {"prompt_tokens", prompt},
               {"prompt_tokens_per_second", median(promptRates)},
               {"short_prompt_tokens", shortPrompt},
               {"short_prompt_tokens_per_second", median(shortRates)},
               {"decode_tokens", generate},
               {"decode_tokens_per_second", decodeRate},
               {"weight_bytes_per_token", tokenBytes},
               {"decode_bytes_per_second", achieved},
               {"read_bandwidth_bytes_per_second", bandwidth},
               {"share_of_read_bandwidth", bandwidth ? achieved / bandwidth : 0},
               {"peak_resident_bytes", peakResidentBytes()}};
  if (arguments.json) {
    std::printf("%s\n", json.dump(2).c_str());
    return 0;
  }
  std::printf("%s for %s, %u threads, medians of %u\n", arguments.model.c_str(),
              kiln_model_target(lm.model.get()), threads, arguments.repeat);
  std::printf("  open              %10.2f ms\n", lm.openSeconds * 1e3);
  std::printf("  prompt %4u       %10.1f tokens/s\n", prompt, median(promptRates));
  std::printf("  prompt %4u       %10.1f tokens/s\n", shortPrompt, median(shortRates));
  std::printf("  decode %4u       %10.1f tokens/s\n", generate, decodeRate);
  std::printf("  weights read      %10.2f GB/s = %.0f %% of the %.2f GB/s that %u threads read\n",
              achieved / 1e9, bandwidth ? 100 * achieved / bandwidth : 0, bandwidth / 1e9, threads);
  std::printf("  peak memory       %10s\n", formatBytes(peakResidentBytes()).c_str());
  return 0;
}

static int bench(const BenchArguments &arguments) {
  if (arguments.quality.empty())
    return benchSpeed(arguments);
  QualityOptions options{arguments.model, arguments.reference, arguments.quality, arguments.tokens,
                         arguments.threads};
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
  command->add_option("artifact", a->model, "The .kiln file")->required();
  command->add_option("--threads", a->threads, "Workers; default: the physical cores");
  command->add_option("--prompt", a->prompt, "Prompt tokens")
      ->capture_default_str()
      ->check(CLI::Range(1, 1 << 20));
  command->add_option("--generate", a->generate, "Tokens decoded one by one")
      ->capture_default_str()
      ->check(CLI::Range(1, 1 << 20));
  command->add_option("--repeat", a->repeat, "Rounds; medians are reported")
      ->capture_default_str()
      ->check(CLI::Range(1, 1000));
  command->add_option("--quality", a->quality,
                      "Measure perplexity over this text file instead of speed");
  CLI::Option *reference = command->add_option(
      "--reference", a->reference, "Another artifact of the model: also the KL divergence to it");
  reference->needs("--quality");
  command->add_option("--tokens", a->tokens, "Tokens of the text to use")->capture_default_str();
  command->add_flag("--quiet", a->quiet, "No progress");
  command->add_flag("--json", a->json, "JSON on stdout");
  setExamples(*command, "  kiln bench model.kiln --threads 2\n"
                        "  kiln bench q4.kiln --quality text.txt --reference f32.kiln\n");
  command->callback([a, &exitCode] { exitCode = bench(*a); });
}
