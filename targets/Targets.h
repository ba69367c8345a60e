// The table of targets.
#ifndef KILN_TARGETS_TARGETS_H
#define KILN_TARGETS_TARGETS_H

#include "codegen/Target.h"
#include "llvm/Support/Error.h"

namespace kiln {

/// Every target by its name, in the order of targets/Targets.def.
std::vector<const Target *> getTargets();

/// The target called `name`; "host" is the best one this machine runs. An unknown name is an error
/// that lists what is known.
llvm::Expected<const Target *> findTarget(llvm::StringRef name);

/// The best target of this machine's architecture all of whose required features CPUID reports.
llvm::Expected<const Target *> hostTarget();

} // namespace kiln

#endif
