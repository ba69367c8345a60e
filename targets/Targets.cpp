// The table of targets: names to records, and the one for this machine.
#include "targets/Targets.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/TargetParser/Host.h"
#include "llvm/TargetParser/Triple.h"

using namespace kiln;

namespace kiln {
#define KILN_TARGET(function) const Target &function();
#include "targets/Targets.def"
#undef KILN_TARGET
} // namespace kiln

std::vector<const Target *> kiln::getTargets() {
  return {
#define KILN_TARGET(function) &function(),
#include "targets/Targets.def"
#undef KILN_TARGET
  };
}

llvm::Expected<const Target *> kiln::findTarget(llvm::StringRef name) {
  if (name == "host")
    return hostTarget();
  std::string known = "host";
  for (const Target *target : getTargets()) {
    if (target->name == name)
      return target;
    known += ", " + target->name;
  }
  return llvm::createStringError("unknown target '" + name + "'; known are: " + known);
}

llvm::Expected<const Target *> kiln::hostTarget() {
  llvm::Triple host(llvm::sys::getDefaultTargetTriple());
  llvm::StringMap<bool> features = llvm::sys::getHostCPUFeatures();
  for (const Target *target : getTargets()) {
    if (llvm::Triple(target->triple).getArch() != host.getArch())
      continue;
    if (llvm::all_of(target->requiredFeatures,
                     [&](const std::string &feature) { return features.lookup(feature); }))
      return target;
  }
  return llvm::createStringError("no target runs on this machine (" + host.str() +
                                 "); see `kiln targets`");
}
