// Importers name every op's location after the part of the model it came from. When ops merge, what
// is left of the names is the part they share: q_proj and k_proj of model.layers.3.self_attn become
// model.layers.3.self_attn, which is what profiles and diagnostics then say.
#include "passes/ModelNames.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringExtras.h"

using namespace mlir;

StringRef kiln::getModelName(Location loc) {
  if (auto name = dyn_cast<NameLoc>(loc))
    return name.getName().getValue();
  if (auto fused = dyn_cast<FusedLoc>(loc))
    for (Location part : fused.getLocations())
      if (StringRef name = getModelName(part); !name.empty())
        return name;
  return {};
}

std::string kiln::getCommonModelName(ArrayRef<StringRef> names) {
  SmallVector<StringRef> common;
  bool first = true;
  for (StringRef name : names) {
    if (name.empty())
      continue;
    SmallVector<StringRef> parts;
    name.split(parts, '.');
    if (first) {
      common = parts;
      first = false;
      continue;
    }
    size_t same = 0;
    while (same < std::min(common.size(), parts.size()) && common[same] == parts[same])
      ++same;
    common.truncate(same);
  }
  return llvm::join(common, ".");
}

Location kiln::getCommonModelLocation(ArrayRef<Location> locs, Location fallback) {
  SmallVector<StringRef> names;
  for (Location loc : locs)
    names.push_back(getModelName(loc));
  std::string common = getCommonModelName(names);
  StringRef name = common.empty() ? getModelName(fallback) : StringRef(common);
  if (name.empty())
    return fallback;
  return NameLoc::get(StringAttr::get(fallback.getContext(), name));
}
