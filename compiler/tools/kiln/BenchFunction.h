// The speed of a function of arrays: what `kiln bench` measures of models that are no language
// models.
#ifndef KILN_TOOLS_BENCHFUNCTION_H
#define KILN_TOOLS_BENCHFUNCTION_H

#include "compiler/tools/kiln/BenchSpeed.h"
#include "compiler/tools/kiln/ValueArguments.h"

namespace kiln {

/// Times calls with the given inputs, pseudo-random where there is none, and prints a table, or
/// JSON. Of the options threads, repeat and profile count. Returns the exit code.
int benchFunction(const SpeedOptions &options, ValueArguments values, uint64_t seed, bool json);

} // namespace kiln

#endif
