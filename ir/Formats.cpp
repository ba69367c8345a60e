// The table behind ir/Formats.h.
#include "ir/Formats.h"

using namespace kiln;

static const Format formats[] = {
#define KILN_FORMAT(id, name, kind, bits, group, zero)                                             \
  {FormatId::id, llvm::StringLiteral(name), FormatKind::kind, bits, group, zero},
#include "ir/Formats.def"
#undef KILN_FORMAT
};

llvm::ArrayRef<Format> kiln::getFormats() { return formats; }

const Format *kiln::findFormat(llvm::StringRef name) {
  for (const Format &format : formats)
    if (format.name == name)
      return &format;
  return nullptr;
}
