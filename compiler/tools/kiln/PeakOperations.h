// How many operations this machine's multipliers do: the bound on prompts.
#ifndef KILN_TOOLS_PEAKOPERATIONS_H
#define KILN_TOOLS_PEAKOPERATIONS_H

#include <string>
#include <vector>

namespace kiln {

/// An instruction that multiplies and adds, as a loop over nothing but registers. A multiply-add
/// counts as two operations.
struct PeakLoop {
  const char *name;    // "avx512-vnni int8"
  const char *feature; // what an artifact's image must require, in LLVM's spelling; "" for any
  bool integer;        // multiplies integers: a bound only where weights are quantized
  double (*run)(long iterations); // returns the operations done
};

/// The loops that code for a device with these features may use, first the one that bounds
/// prompts. f32 is always there.
std::vector<PeakLoop> peakLoopsFor(const std::vector<std::string> &features, bool quantized);

/// Operations per second of `threads` threads together. The loop must be one that this machine has.
double measurePeakOperations(const PeakLoop &loop, unsigned threads);

} // namespace kiln

#endif
