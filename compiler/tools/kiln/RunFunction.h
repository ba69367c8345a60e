// Running a function of an artifact once: what `kiln run` does of models that are no language
// models.
#ifndef KILN_TOOLS_RUNFUNCTION_H
#define KILN_TOOLS_RUNFUNCTION_H

#include "compiler/tools/kiln/ValueArguments.h"

namespace kiln {

struct RunFunctionOptions {
  std::string model;
  ValueArguments values;
  std::vector<std::string> outputs; // NAME=@FILE
  uint64_t seed = 0;
  uint32_t threads = 0;
  bool quiet = false, json = false;
};

/// Runs, writes the outputs that are wanted and prints the shapes and first elements of all.
/// Returns the exit code.
int runFunction(const RunFunctionOptions &options);

} // namespace kiln

#endif
