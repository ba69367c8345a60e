// What a language model's calls must read and multiply, from the program in the artifact.
#ifndef KILN_TOOLS_PROGRAMCOSTS_H
#define KILN_TOOLS_PROGRAMCOSTS_H

#include "kiln/llm.h"
#include <cstdint>
#include <string>
#include <vector>

namespace kiln {

/// One step of the decoder function; `kernel` is -1 for a barrier.
struct StepCost {
  int32_t kernel = -1;
  uint64_t weightBytes = 0; // of matmul weights: tables are only looked up in
  double operations = 0;    // of matmuls, 2 per multiply-add
  bool readsCache = false;
};

struct KernelFacts {
  std::string name, operations, implementation;
};

struct ProgramCosts {
  std::string function;              // the decoder
  std::vector<KernelFacts> kernels;  // as the image for this machine implements them
  std::vector<std::string> features; // that this image requires
  bool quantized = false;            // matmul weights are integers
  double weightBits = 0;             // per matmul weight, scales included
  uint64_t contextLength = 0;        // of the model, whatever was reserved
  uint32_t minimumRows = 0;          // of logits in a call

  /// Fails, with the reason in `problem`, where the artifact has no decoder function.
  static bool read(const kiln_model_t *model, ProgramCosts &costs, std::string &problem);

  /// The steps of a call with `tokens` tokens and `rows` rows of logits.
  std::vector<StepCost> steps(const kiln_llm_info &info, uint64_t tokens, uint64_t rows) const;
  /// Operations of a prompt of `tokens` tokens appended in chunks.
  double promptOperations(const kiln_llm_info &info, uint64_t tokens) const;
  /// Bytes of weights that a call reads.
  uint64_t weightBytes(const kiln_llm_info &info) const;

private:
  const void *program = nullptr;
};

/// Bytes of keys and values that one token at `position` reads.
uint64_t cacheBytesAt(const kiln_llm_info &info, uint64_t position);

} // namespace kiln

#endif
