// The table behind ir/Formats.h, and the codes of formats whose steps are not even.
#include "ir/Formats.h"
#include <algorithm>

using namespace kiln;

// The values of IQ4_NL (ggml: kvalues_iq4nl), -127 .. 113, above their zero of 127.
static constexpr uint8_t kNonLinear4[16] = {0,   23,  44,  62,  78,  92,  105, 117,
                                            128, 140, 152, 165, 180, 196, 216, 240};
// Twice the values of E2M1 (OCP Microscaling Formats 1.0, 5.3.3), above their zero of 12.
static constexpr uint8_t kFloat4[16] = {12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0};

static const Format formats[] = {
#define KILN_FORMAT(id, name, kind, bits, group, zero, scales, min, table, keeps)                  \
  {FormatId::id, name, FormatKind::kind, bits, group, zero, ScaleKind::scales, min, table, keeps},
#include "ir/Formats.def"
#undef KILN_FORMAT
};

unsigned Format::largestCode() const {
  return table ? *std::max_element(table, table + 16) : (1u << bits) - 1;
}

llvm::ArrayRef<Format> kiln::getFormats() { return formats; }

const Format *kiln::findFormat(llvm::StringRef name) {
  for (const Format &format : formats)
    if (format.name == name)
      return &format;
  return nullptr;
}

const Format *kiln::findKeepingFormat(llvm::StringRef blockType) {
  for (const Format &format : formats)
    if (!format.keeps.empty() && format.keeps == blockType)
      return &format;
  return nullptr;
}
