// The table of model families.
#include "compiler/import/Family.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"

using namespace llvm;
using namespace kiln;

namespace kiln {
#define KILN_FAMILY(Name) Family describe##Name();
#include "compiler/import/Families.def"
#undef KILN_FAMILY
} // namespace kiln

static ArrayRef<Family> getFamilies() {
  static const Family families[] = {
#define KILN_FAMILY(Name) describe##Name(),
#include "compiler/import/Families.def"
#undef KILN_FAMILY
  };
  return families;
}

const Family *kiln::findFamily(StringRef modelType) {
  for (const Family &family : getFamilies())
    if (is_contained(family.modelTypes, modelType))
      return &family;
  return nullptr;
}

bool kiln::isMultimodalType(StringRef modelType) {
  return any_of(getFamilies(), [&](const Family &family) {
    return is_contained(family.multimodalTypes, modelType);
  });
}

std::string kiln::listModelTypes() {
  SmallVector<StringRef> types;
  for (const Family &family : getFamilies())
    append_range(types, concat<const StringRef>(family.modelTypes, family.multimodalTypes));
  sort(types);
  return join(types, ", ");
}
