// The speed and memory of a language model: what `kiln bench` measures.
#ifndef KILN_TOOLS_BENCHSPEED_H
#define KILN_TOOLS_BENCHSPEED_H

#include "compiler/tools/kiln/BenchProfile.h"
#include "compiler/tools/kiln/LanguageModel.h"
#include "compiler/tools/kiln/ProgramCosts.h"
#include <functional>
#include <string>
#include <vector>

namespace kiln {

struct SpeedOptions {
  std::string model;
  uint32_t threads = 0;
  uint32_t prompt = 512, shortPrompt = 64, generate = 128;
  uint32_t depth = 0; // tokens already in the cache; 0 leaves these measures out
  uint32_t repeat = 3;
  bool profile = false;
};

/// One measure: the same work in every round.
struct Measure {
  uint32_t tokens = 0, depth = 0;
  double operations = 0;       // of matmuls, all tokens together
  double bytes = 0;            // of weights and cache that a decoded token reads, on average
  std::vector<double> seconds; // one per round

  double medianSeconds() const;
  double tokensPerSecond() const;
};

/// Memory after a prompt of one chunk and a few steps, in a process that had done nothing else.
struct MemoryUse {
  uint64_t grown = 0;     // resident bytes since before the artifact was opened
  uint64_t artifact = 0;  // of these: pages of the mapped artifact
  uint64_t cache = 0;     // pages of the KV cache that tokens have reached
  uint64_t workspace = 0; // planned: arena and scratch of the largest call

  int64_t beyond() const { return int64_t(grown) - int64_t(artifact + cache + workspace); }
};

struct PeakRate {
  std::string instruction;
  double operationsPerSecond = 0;
};

struct SpeedResult {
  std::string target;
  uint32_t threads = 0;
  kiln_llm_info info{};
  ProgramCosts costs;       // its numbers; the model itself is closed again
  uint64_t weightBytes = 0; // that a call reads
  double openSeconds = 0;
  std::vector<Measure> prompts, decodes;
  std::vector<Measure> steps;  // 1, 2, 4, 8 tokens at once, with logits of each
  double readBandwidth = 0;    // bytes per second, the best over 1, 2, 4, 8 streams per thread
  std::vector<PeakRate> peaks; // best first; the first is what prompts are compared with
  MemoryUse memory;
  std::vector<ProfileTable> profiles;
};

/// Progress: the share that is done. False, with the reason in `problem`, on failure.
bool measureSpeed(const SpeedOptions &options, const std::function<void(double)> &progress,
                  SpeedResult &result, std::string &problem);

double median(std::vector<double> values);

} // namespace kiln

#endif
