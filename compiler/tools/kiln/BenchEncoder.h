// The speed of an encoder: what `kiln bench` measures of one.
#ifndef KILN_TOOLS_BENCHENCODER_H
#define KILN_TOOLS_BENCHENCODER_H

#include "compiler/tools/kiln/BenchSpeed.h"

namespace kiln {

/// Whether the file is an artifact with an encoder.
bool isEncoder(const std::string &path);

/// Times texts of several lengths, one alone and as many as fill a call, and prints a table, or
/// JSON. Of the options threads, repeat (times 8) and profile count. Returns the exit code.
int benchEncoder(const SpeedOptions &options, bool json);

} // namespace kiln

#endif
