// Measures take turns, round by round, so that drift of the machine hits all alike; the first round
// warms up and is not counted. Tokens are made up: speed does not depend on which. Memory is
// measured first, while the process has done nothing else.
#include "compiler/tools/kiln/BenchSpeed.h"
#include "compiler/tools/kiln/PeakOperations.h"
#include "compiler/tools/kiln/ReadBandwidth.h"
#include "compiler/tools/kiln/ResidentMemory.h"
#include <algorithm>
#include <chrono>

using namespace kiln;

static double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double kiln::median(std::vector<double> values) {
  if (values.empty())
    return 0;
  std::sort(values.begin(), values.end());
  size_t half = values.size() / 2;
  return values.size() % 2 ? values[half] : (values[half - 1] + values[half]) / 2;
}

double Measure::medianSeconds() const { return median(seconds); }

double Measure::tokensPerSecond() const {
  double time = medianSeconds();
  return time > 0 ? tokens / time : 0;
}

namespace {

/// A sequence that is filled, measured on, and cut back.
class SpeedRun {
public:
  SpeedRun(const LanguageModel &lm, std::string &problem) : lm(lm), problem(problem) {
    std::vector<int32_t> &ids = tokens;
    for (uint32_t i = 0; i < lm.info.context_length; ++i)
      ids.push_back(int32_t((i * 7919u + 13u) % lm.info.vocab_size));
  }

  bool open() { return good(kiln_sequence_open(lm.llm.get(), &sequence, &error)); }

  /// Leaves `length` tokens in the sequence, all of them if there are fewer.
  bool cutTo(uint32_t length) {
    length = std::min(length, kiln_sequence_length(lm.llm.get(), sequence));
    return good(kiln_sequence_truncate(lm.llm.get(), sequence, length, &error));
  }

  /// Appends `count` tokens as a prompt.
  bool append(uint32_t count) {
    return good(kiln_sequence_append(lm.llm.get(), sequence, tokens.data(), count, nullptr, nullptr,
                                     &error));
  }

  /// `calls` calls of `count` tokens each, with the logits of every token.
  bool step(uint32_t calls, uint32_t count) {
    std::vector<uint32_t> sequences(count, sequence), rows(count);
    for (uint32_t i = 0; i < count; ++i)
      rows[i] = i;
    for (uint32_t i = 0; i < calls; ++i) {
      kiln_llm_batch batch{tokens.data(), sequences.data(), count, rows.data(), count};
      if (!good(kiln_llm_step(lm.llm.get(), &batch, nullptr, &error)))
        return false;
    }
    return true;
  }

  uint32_t id() const { return sequence; }

private:
  bool good(kiln_status_t status) {
    if (status != KILN_OK)
      problem = describe(status, error);
    return status == KILN_OK;
  }

  const LanguageModel &lm;
  std::string &problem;
  std::vector<int32_t> tokens;
  uint32_t sequence = 0;
  kiln_error error{};
};

/// The whole measurement; members are what its stages share.
class SpeedBench {
public:
  SpeedBench(const SpeedOptions &options, SpeedResult &result, std::string &problem)
      : options(options), result(result), problem(problem) {}

  bool run(const std::function<void(double)> &progress);

private:
  bool openModel();
  bool measureOpening();
  bool measureMemory(SpeedRun &empty);
  bool planMeasures();
  bool round(SpeedRun &empty, SpeedRun &deep, bool counted);
  bool profile(SpeedRun &empty, SpeedRun &deep);

  const SpeedOptions &options;
  SpeedResult &result;
  std::string &problem;
  LanguageModel lm;
  uint32_t depth = 0;
  std::vector<double> bandwidths;
  std::vector<PeakLoop> loops;
  std::vector<double> peaks; // of the first loop
};

} // namespace

bool SpeedBench::openModel() {
  kiln_llm_options sizes{};
  sizes.max_sequences = options.depth ? 2 : 1; // one that stays empty, one that stays filled
  return openLanguageModel(options.model, options.threads, sizes, lm, problem);
}

/// Opens the artifact again and again: what a program waits for that was run before.
bool SpeedBench::measureOpening() {
  std::vector<double> seconds;
  for (int i = 0; i < 5; ++i) {
    LanguageModel another;
    if (!openLanguageModel(options.model, options.threads, {}, another, problem))
      return false;
    seconds.push_back(another.openSeconds);
  }
  result.openSeconds = median(seconds);
  return true;
}

/// Right after opening: `result.memory.grown` holds what was resident before.
bool SpeedBench::measureMemory(SpeedRun &empty) {
  MemoryUse &memory = result.memory;
  uint64_t before = memory.grown;
  uint32_t prompt = std::min(lm.info.chunk, lm.info.context_length);
  uint32_t generate = std::min<uint32_t>(8, lm.info.context_length - prompt);
  if (!empty.append(prompt) || !empty.step(generate, 1))
    return false;
  uint64_t after = residentBytes();
  memory.grown = after > before ? after - before : 0;
  memory.artifact = residentBytesOfFile(options.model);
  kiln_llm_info info{};
  kiln_llm_get_info(lm.llm.get(), &info);
  memory.cache = info.cache_bytes / info.cache_pages * (info.cache_pages - info.cache_pages_free);
  memory.workspace = info.workspace_bytes;
  return true;
}

bool SpeedBench::planMeasures() {
  uint32_t context = lm.info.context_length;
  uint32_t generate = std::min(options.generate, std::max(1u, context - 1));
  uint32_t prompt = std::min(options.prompt, context);
  uint32_t room = context - std::min(context, std::max(prompt, generate));
  if (options.depth > room) {
    problem = "--depth " + std::to_string(options.depth) + ": expected at most " +
              std::to_string(room) + ", so that a prompt of " + std::to_string(prompt) +
              " and decoding fit into the context of " + std::to_string(context);
    return false;
  }
  depth = options.depth;
  auto addPrompt = [&](uint32_t tokens, uint32_t at) {
    result.prompts.push_back({tokens, at, result.costs.promptOperations(lm.info, tokens), 0, {}});
  };
  auto addDecode = [&](uint32_t at) {
    double bytes = double(result.weightBytes) + double(cacheBytesAt(lm.info, at + generate / 2));
    result.decodes.push_back({generate, at, 0, bytes, {}});
  };
  addPrompt(prompt, 0);
  if (options.shortPrompt < prompt)
    addPrompt(options.shortPrompt, 0);
  addDecode(0);
  if (depth) {
    addPrompt(prompt, depth);
    addDecode(depth);
  }
  for (uint32_t count : {1u, 2u, 4u, 8u})
    if (count <= lm.info.chunk && 8 + count <= context)
      result.steps.push_back({count, 0, 0, 0, {}});
  return true;
}

bool SpeedBench::round(SpeedRun &empty, SpeedRun &deep, bool counted) {
  double bandwidth = measureReadBandwidth(result.threads, result.weightBytes);
  double peak = measurePeakOperations(loops[0], result.threads);
  if (counted) {
    bandwidths.push_back(bandwidth);
    peaks.push_back(peak);
  }
  auto take = [&](Measure &measure, double seconds) {
    if (counted)
      measure.seconds.push_back(seconds);
  };
  for (Measure &measure : result.prompts) {
    SpeedRun &run = measure.depth ? deep : empty;
    if (!run.cutTo(measure.depth))
      return false;
    double started = now();
    if (!run.append(measure.tokens))
      return false;
    take(measure, now() - started);
  }
  for (Measure &measure : result.decodes) {
    SpeedRun &run = measure.depth ? deep : empty;
    if (!run.cutTo(measure.depth) || (!measure.depth && !run.append(1)))
      return false;
    double started = now();
    if (!run.step(measure.tokens, 1))
      return false;
    take(measure, now() - started);
  }
  // As many tokens each way: 32 where the context has room.
  uint32_t tokens = std::min(32u, (lm.info.context_length - 1) / 8 * 8);
  for (Measure &measure : result.steps) {
    uint32_t calls = std::max(1u, tokens / measure.tokens);
    if (!empty.cutTo(0) || !empty.append(1))
      return false;
    double started = now();
    if (!empty.step(calls, measure.tokens))
      return false;
    take(measure, (now() - started) / calls);
  }
  return true;
}

bool SpeedBench::profile(SpeedRun &empty, SpeedRun &deep) {
  std::vector<std::pair<Measure, bool>> wanted = {{result.prompts[0], false},
                                                  {result.decodes[0], true}};
  if (depth) {
    wanted.push_back({result.prompts.back(), false});
    wanted.push_back({result.decodes.back(), true});
  }
  for (const auto &[measure, decode] : wanted) {
    SpeedRun &run = measure.depth ? deep : empty;
    ProfileTable table;
    if (!run.cutTo(measure.depth) || (decode && !measure.depth && !run.append(1)) ||
        !profileCalls(lm, result.costs, run.id(), measure.tokens, decode, table, problem))
      return false;
    result.profiles.push_back(std::move(table));
  }
  return true;
}

bool SpeedBench::run(const std::function<void(double)> &progress) {
  result.memory.grown = residentBytes();
  if (!openModel() || !ProgramCosts::read(lm.model.get(), result.costs, problem))
    return false;
  SpeedRun empty(lm, problem), deep(lm, problem);
  if (!empty.open() || !measureMemory(empty) || !measureOpening())
    return false;
  result.target = kiln_model_target(lm.model.get());
  result.threads = kiln_pool_workers(lm.pool.get());
  result.info = lm.info;
  result.weightBytes = result.costs.weightBytes(lm.info);
  loops = peakLoopsFor(result.costs.features, result.costs.quantized);
  if (!planMeasures())
    return false;
  if (depth && (!deep.open() || !deep.append(depth)))
    return false;
  for (uint32_t i = 0; i <= options.repeat; ++i) {
    progress(double(i) / double(options.repeat + 1));
    if (!round(empty, deep, i > 0))
      return false;
  }
  result.readBandwidth = median(bandwidths);
  result.peaks.push_back({loops[0].name, median(peaks)});
  for (size_t i = 1; i < loops.size(); ++i)
    result.peaks.push_back({loops[i].name, measurePeakOperations(loops[i], result.threads)});
  return !options.profile || profile(empty, deep);
}

bool kiln::measureSpeed(const SpeedOptions &options, const std::function<void(double)> &progress,
                        SpeedResult &result, std::string &problem) {
  return SpeedBench(options, result, problem).run(progress);
}
