// The weight formats as records: one table, read by the quantization pass, the packer and code
// generation.
#ifndef KILN_IR_FORMATS_H
#define KILN_IR_FORMATS_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include <cstdint>

namespace kiln {

enum class FormatKind { Float, SymmetricInt };

enum class FormatId {
#define KILN_FORMAT(id, name, kind, bits, group, zero) id,
#include "ir/Formats.def"
#undef KILN_FORMAT
};

struct Format {
  FormatId id;
  llvm::StringLiteral name;
  FormatKind kind;
  unsigned bits;  // per element, scales apart
  unsigned group; // elements of a row that share a scale; 1 for floats
  unsigned zero;  // the code of value 0
};

llvm::ArrayRef<Format> getFormats();

/// The format of that name, or null.
const Format *findFormat(llvm::StringRef name);

} // namespace kiln

#endif
