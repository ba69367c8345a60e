// The result of a speed measurement as JSON for machines and as a table for people: every rate
// beside the bound it is to be judged by.
#include "compiler/tools/kiln/BenchReport.h"
#include "compiler/tools/kiln/Progress.h"
#include <cstdio>
#include <nlohmann/json.hpp>

using namespace kiln;
using Json = nlohmann::ordered_json;

static double ratio(double value, double bound) { return bound > 0 ? value / bound : 0; }

/// Time of a step over the time of as many steps of one token.
static double stepRatio(const SpeedResult &result, const Measure &step) {
  return ratio(step.medianSeconds(), step.tokens * result.steps[0].medianSeconds());
}

static double operationsPerSecond(const Measure &prompt) {
  return ratio(prompt.operations, prompt.medianSeconds());
}

static double bytesPerSecond(const Measure &decode) {
  return decode.bytes * decode.tokensPerSecond();
}

// ---- JSON -------------------------------------------------------------------------------------

static Json measureAsJson(const Measure &measure) {
  return {{"tokens", measure.tokens},
          {"depth", measure.depth},
          {"tokens_per_second", measure.tokensPerSecond()},
          {"seconds", measure.seconds}};
}

static Json profileAsJson(const SpeedResult &result, const ProfileTable &table) {
  Json rows = Json::array();
  for (const ProfileRow &row : table.rows) {
    const KernelFacts &kernel = result.costs.kernels[size_t(row.kernel)];
    double bound =
        ProfileTable::shareOfBound(row, result.readBandwidth, result.peaks[0].operationsPerSecond);
    rows.push_back({{"kernel", kernel.name},
                    {"operations_fused", kernel.operations},
                    {"implementation", kernel.implementation},
                    {"launches", row.launches},
                    {"seconds", row.seconds},
                    {"share_of_time", ratio(row.seconds, table.seconds)},
                    {"bytes", row.bytes},
                    {"bytes_per_second", ratio(row.bytes, row.seconds)},
                    {"operations", row.operations},
                    {"operations_per_second", ratio(row.operations, row.seconds)},
                    {"share_of_bound", bound < 0 ? Json(nullptr) : Json(bound)}});
  }
  return {{"what", table.what},
          {"tokens", table.tokens},
          {"depth", table.depth},
          {"seconds", table.seconds},
          {"kernels", rows}};
}

std::string kiln::speedAsJson(const SpeedOptions &options, const SpeedResult &result) {
  Json prompts = Json::array(), decodes = Json::array(), steps = Json::array(),
       peaks = Json::array(), profiles = Json::array();
  for (const Measure &measure : result.prompts) {
    Json entry = measureAsJson(measure);
    double rate = operationsPerSecond(measure);
    entry["operations_per_second"] = rate;
    entry["share_of_peak"] = ratio(rate, result.peaks[0].operationsPerSecond);
    prompts.push_back(entry);
  }
  for (const Measure &measure : result.decodes) {
    Json entry = measureAsJson(measure);
    double rate = bytesPerSecond(measure);
    entry["bytes_per_token"] = measure.bytes;
    entry["bytes_per_second"] = rate;
    entry["share_of_read_bandwidth"] = ratio(rate, result.readBandwidth);
    decodes.push_back(entry);
  }
  for (const Measure &measure : result.steps)
    steps.push_back({{"tokens", measure.tokens},
                     {"milliseconds", measure.medianSeconds() * 1e3},
                     {"ratio", stepRatio(result, measure)},
                     {"seconds", measure.seconds}});
  for (const PeakRate &peak : result.peaks)
    peaks.push_back(
        {{"instruction", peak.instruction}, {"operations_per_second", peak.operationsPerSecond}});
  for (const ProfileTable &table : result.profiles)
    profiles.push_back(profileAsJson(result, table));
  const MemoryUse &memory = result.memory;
  Json json = {{"target", result.target},
               {"threads", result.threads},
               {"rounds", options.repeat},
               {"context_length", result.info.context_length},
               {"weight_bytes_per_token", result.weightBytes},
               {"bits_per_weight", result.costs.weightBits},
               {"open_milliseconds", result.openSeconds * 1e3},
               {"prompt", prompts},
               {"decode", decodes},
               {"steps", steps},
               {"read_bandwidth_bytes_per_second", result.readBandwidth},
               {"peaks", peaks},
               {"memory",
                {{"resident_bytes", memory.grown},
                 {"artifact_bytes", memory.artifact},
                 {"cache_bytes", memory.cache},
                 {"workspace_bytes", memory.workspace},
                 {"beyond_bytes", memory.beyond()}}},
               {"peak_resident_bytes", peakResidentBytes()}};
  if (options.profile)
    json["profile"] = profiles;
  return json.dump(2);
}

// ---- Tables -----------------------------------------------------------------------------------

static void printProfile(const SpeedResult &result, const ProfileTable &table) {
  std::printf("\n%s of %u tokens at depth %u: %.2f ms in kernels, barriers included\n",
              table.what.c_str(), table.tokens, table.depth, table.seconds * 1e3);
  std::printf("  %10s %6s %9s %8s %9s %7s  %s\n", "ms", "share", "MB", "GB/s", "Gop/s", "bound",
              "kernel: fused operations (implementation)");
  for (const ProfileRow &row : table.rows) {
    const KernelFacts &kernel = result.costs.kernels[size_t(row.kernel)];
    double bound =
        ProfileTable::shareOfBound(row, result.readBandwidth, result.peaks[0].operationsPerSecond);
    char text[16] = "-";
    if (bound >= 0)
      std::snprintf(text, sizeof text, "%.0f %%", 100 * bound);
    std::printf("  %10.3f %4.1f %% %9.1f %8.2f %9.1f %7s  %s: %s (%s)\n", row.seconds * 1e3,
                100 * ratio(row.seconds, table.seconds), row.bytes / 1e6,
                ratio(row.bytes, row.seconds) / 1e9, ratio(row.operations, row.seconds) / 1e9, text,
                kernel.name.c_str(), kernel.operations.c_str(), kernel.implementation.c_str());
  }
}

void kiln::printSpeed(const SpeedOptions &options, const SpeedResult &result) {
  const PeakRate &peak = result.peaks[0];
  std::printf("%s for %s, %u threads, medians of %u rounds, %.2f bits per weight\n",
              options.model.c_str(), result.target.c_str(), result.threads, options.repeat,
              result.costs.weightBits);
  std::printf("  %-24s %12s\n", "measure", "result");
  for (const Measure &measure : result.prompts) {
    double rate = operationsPerSecond(measure);
    std::printf("  prompt %4u at %-8u %10.1f tokens/s  %7.1f Gop/s = %.0f %% of the peak\n",
                measure.tokens, measure.depth, measure.tokensPerSecond(), rate / 1e9,
                100 * ratio(rate, peak.operationsPerSecond));
  }
  for (const Measure &measure : result.decodes) {
    double rate = bytesPerSecond(measure);
    std::printf("  decode %4u at %-8u %10.1f tokens/s  %7.2f GB/s = %.0f %% of the bandwidth\n",
                measure.tokens, measure.depth, measure.tokensPerSecond(), rate / 1e9,
                100 * ratio(rate, result.readBandwidth));
  }
  for (const Measure &measure : result.steps)
    std::printf("  step of %u token%-9s %10.2f ms        %7.3f of %u steps of 1\n", measure.tokens,
                measure.tokens == 1 ? "" : "s", measure.medianSeconds() * 1e3,
                stepRatio(result, measure), measure.tokens);
  std::printf("  open                     %10.2f ms\n", result.openSeconds * 1e3);
  std::printf(
      "  read bandwidth           %10.2f GB/s       best of 1, 2, 4, 8 streams per thread\n",
      result.readBandwidth / 1e9);
  for (const PeakRate &rate : result.peaks)
    std::printf("  peak %-19s %10.1f Gop/s\n", rate.instruction.c_str(),
                rate.operationsPerSecond / 1e9);
  const MemoryUse &memory = result.memory;
  std::printf(
      "  resident                 %10s         = artifact %s + cache %s + workspace %s + %s\n",
      formatBytes(memory.grown).c_str(), formatBytes(memory.artifact).c_str(),
      formatBytes(memory.cache).c_str(), formatBytes(memory.workspace).c_str(),
      memory.beyond() < 0 ? "nothing" : formatBytes(uint64_t(memory.beyond())).c_str());
  for (const ProfileTable &table : result.profiles)
    printProfile(result, table);
}
