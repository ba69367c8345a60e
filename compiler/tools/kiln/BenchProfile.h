// Where the time of a language model goes: per kernel.
#ifndef KILN_TOOLS_BENCHPROFILE_H
#define KILN_TOOLS_BENCHPROFILE_H

#include "compiler/tools/kiln/LanguageModel.h"
#include "compiler/tools/kiln/ProgramCosts.h"
#include <string>
#include <vector>

namespace kiln {

/// One kernel, over all its launches.
struct ProfileRow {
  int32_t kernel = -1;
  uint64_t launches = 0;
  double seconds = 0;
  double bytes = 0;      // weights, and in decoding keys and values
  double operations = 0; // of matmuls
};

struct ProfileTable {
  std::string what; // "prompt" or "decode"
  uint32_t tokens = 0, depth = 0;
  double seconds = 0;           // of all kernels
  std::vector<ProfileRow> rows; // longest first

  /// The time that bytes and operations of the row need at best, as a share of its time; the larger
  /// one is the bound. Negative where the row has neither.
  static double shareOfBound(const ProfileRow &row, double bandwidth, double peak);
};

/// Profiles a sequence's next calls. The sequence must be open, with room for `tokens`: a prompt is
/// appended in chunks, decoding is token by token.
bool profileCalls(const LanguageModel &lm, const ProgramCosts &costs, uint32_t sequence,
                  uint32_t tokens, bool decode, ProfileTable &table, std::string &problem);

} // namespace kiln

#endif
