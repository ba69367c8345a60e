// kiln estimate: what a model takes, and how fast a device could be at best, before anything is
// compiled.
#include "compiler/estimate/Estimate.h"
#include "compiler/tools/kiln/Commands.h"
#include "compiler/tools/kiln/Progress.h"
#include <nlohmann/json.hpp>

using namespace kiln;
using Json = nlohmann::ordered_json;

namespace {
struct EstimateArguments {
  std::string model, format = "q4", cache = "f16";
  int64_t context = 0, prompt = 512;
  bool json = false;
};
} // namespace

static Json describe(const ModelShape &shape, const EstimateOptions &options,
                     const Estimate &estimate) {
  Json devices = Json::array();
  for (const DeviceProfile &device : getDeviceProfiles()) {
    DeviceBound bound = boundOf(estimate, options, device);
    devices.push_back({{"name", device.name},
                       {"memory_bytes", device.memoryBytes},
                       {"bandwidth_bytes_per_s", device.bandwidth},
                       {"f32_ops_per_s", device.f32Operations},
                       {"i8_ops_per_s", device.i8Operations},
                       {"source", device.source},
                       {"fits", bound.fits},
                       {"decode_tokens_per_s", bound.decodePerSecond},
                       {"decode_bound_by", bound.decodeIsMemoryBound ? "memory" : "compute"},
                       {"prefill_tokens_per_s", bound.prefillPerSecond},
                       {"prefill_bound_by", bound.prefillIsMemoryBound ? "memory" : "compute"}});
  }
  return {{"architecture", shape.architecture},
          {"layers", shape.layers},
          {"hidden", shape.hidden},
          {"heads", shape.heads},
          {"kv_heads", shape.kvHeads},
          {"head_dim", shape.headDim},
          {"vocabulary", shape.vocabulary},
          {"context_length", shape.contextLength},
          {"weight_format", options.format->name},
          {"context", options.context},
          {"prompt", options.prompt},
          {"parameters", estimate.parameters},
          {"active_parameters", estimate.activeParameters},
          {"weight_bytes", estimate.weightBytes},
          {"kv_bytes_per_token", estimate.cacheBytesPerToken},
          {"kv_bytes", estimate.cacheBytes},
          {"activation_bytes", estimate.activationBytes},
          {"decode_flops_per_token", estimate.decodeOperations},
          {"decode_bytes_per_token", estimate.weightBytesPerToken + estimate.cacheBytesRead},
          {"arithmetic_intensity", estimate.intensity},
          {"prefill_flops", estimate.prefillOperations},
          {"devices", devices}};
}

static std::string bytes(double count) { return formatBytes(uint64_t(count)); }

static void print(const ModelShape &shape, const EstimateOptions &options,
                  const Estimate &estimate) {
  std::printf("%s: %lld layers, hidden %lld, %lld heads (%lld of keys and values) of %lld, "
              "vocabulary %lld\n\n",
              shape.architecture.c_str(), (long long)shape.layers, (long long)shape.hidden,
              (long long)shape.heads, (long long)shape.kvHeads, (long long)shape.headDim,
              (long long)shape.vocabulary);
  auto line = [](const char *name, const std::string &value) {
    std::printf("%-44s %s\n", name, value.c_str());
  };
  char text[96];
  std::snprintf(text, sizeof text, "%.1f M", double(estimate.parameters) / 1e6);
  line("parameters", text);
  std::snprintf(text, sizeof text, "%.1f M", double(estimate.activeParameters) / 1e6);
  line("  that a token meets", text);
  line((std::string("weights as ") + options.format->name).c_str(), bytes(estimate.weightBytes));
  line("KV cache, each token", bytes(estimate.cacheBytesPerToken));
  line(("KV cache, " + std::to_string(options.context) + " tokens").c_str(),
       bytes(estimate.cacheBytes));
  line(("activations, prompt of " + std::to_string(options.prompt) + " tokens").c_str(),
       bytes(estimate.activationBytes));
  std::snprintf(text, sizeof text, "%.3f GFLOP, %s", estimate.decodeOperations / 1e9,
                bytes(estimate.weightBytesPerToken + estimate.cacheBytesRead).c_str());
  line("to decode a token with that cache", text);
  std::snprintf(text, sizeof text, "%.2f FLOP/byte", estimate.intensity);
  line("  arithmetic intensity", text);
  std::printf("\n%-18s %10s %10s %14s %14s  %s\n", "at best, on", "GB/s", "TOP/s", "decode t/s",
              "prefill t/s", "");
  for (const DeviceProfile &device : getDeviceProfiles()) {
    DeviceBound bound = boundOf(estimate, options, device);
    double peak = options.format->integers ? device.i8Operations : device.f32Operations;
    std::printf("%-18s %10.1f %10.2f %12.1f %s %12.0f %s  %s\n", device.name,
                device.bandwidth / 1e9, peak / 1e12, bound.decodePerSecond,
                bound.decodeIsMemoryBound ? "m" : "c", bound.prefillPerSecond,
                bound.prefillIsMemoryBound ? "m" : "c", bound.fits ? "" : "does not fit");
  }
  std::printf("m: bound by memory bandwidth, c: by operations\n");
}

static int estimate(const EstimateArguments &arguments) {
  const WeightFormat *format = findWeightFormat(arguments.format);
  if (!format)
    return reportFailure("--quant " + arguments.format + ": known are stored, f32, f16, q8, q4");
  double element = arguments.cache == "f32" ? 4 : arguments.cache == "f16" ? 2 : 0;
  if (arguments.cache == "q8")
    element = 1 + 4.0 / 64; // a scale for each position and head
  if (element == 0)
    return reportFailure("--kv-cache " + arguments.cache + ": known are f32, f16, q8");
  Problems problems;
  std::optional<ModelShape> shape = readModelShape(arguments.model, problems);
  if (!shape)
    return reportFailure(llvm::toString(problems.toError(arguments.model)));
  EstimateOptions options;
  options.format = format;
  options.context =
      arguments.context ? arguments.context : std::min<int64_t>(shape->contextLength, 4096);
  options.prompt = arguments.prompt;
  options.cacheElementBytes = element;
  Estimate result = estimateModel(*shape, options);
  if (arguments.json)
    std::printf("%s\n", describe(*shape, options, result).dump(2).c_str());
  else
    print(*shape, options, result);
  return 0;
}

void kiln::addEstimateCommand(CLI::App &app, int &exitCode) {
  auto arguments = std::make_shared<EstimateArguments>();
  CLI::App *command =
      app.add_subcommand("estimate", "What a model takes, and how fast devices could be at best");
  command->add_option("model", arguments->model, "Hugging Face folder or GGUF file")->required();
  command->add_option("--quant", arguments->format, "Weights: stored, f32, f16, q8 or q4")
      ->capture_default_str();
  command->add_option("--kv-cache", arguments->cache, "Elements of the KV cache: f32, f16 or q8")
      ->capture_default_str();
  command
      ->add_option("--context", arguments->context,
                   "Tokens in the cache; default: the model's context, at most 4096")
      ->check(CLI::Range(int64_t(1), int64_t(1) << 30));
  command->add_option("--prompt", arguments->prompt, "Tokens of the prompt")
      ->capture_default_str()
      ->check(CLI::Range(int64_t(1), int64_t(1) << 30));
  command->add_flag("--json", arguments->json, "JSON on stdout");
  setExamples(*command, "  kiln estimate path/to/model\n"
                        "  kiln estimate model.gguf --quant stored --context 8192 --json\n");
  command->callback([arguments, &exitCode] { exitCode = estimate(*arguments); });
}
