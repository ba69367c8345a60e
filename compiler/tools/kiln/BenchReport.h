// What `kiln bench` prints.
#ifndef KILN_TOOLS_BENCHREPORT_H
#define KILN_TOOLS_BENCHREPORT_H

#include "compiler/tools/kiln/BenchSpeed.h"
#include <string>

namespace kiln {

/// JSON text; its keys are described in compiler/tools/kiln/README.md.
std::string speedAsJson(const SpeedOptions &options, const SpeedResult &result);
void printSpeed(const SpeedOptions &options, const SpeedResult &result);

} // namespace kiln

#endif
