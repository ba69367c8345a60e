// The weight formats as records: one table, read by the quantization pass, the packer and code
// generation.
#ifndef KILN_IR_FORMATS_H
#define KILN_IR_FORMATS_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include <cstdint>

namespace kiln {

enum class FormatKind { Float, Integer, Codes };

/// How the scales of groups are stored (ir/Formats.def).
enum class ScaleKind { None, Half, Brain, Super };

enum class FormatId {
#define KILN_FORMAT(id, ...) id,
#include "ir/Formats.def"
#undef KILN_FORMAT
};

struct Format {
  static constexpr int64_t kSuperGroup = 256; // elements that share the upper level of Super scales

  FormatId id;
  llvm::StringLiteral name;
  FormatKind kind;
  unsigned bits;  // per element, scales apart
  unsigned group; // elements of a row that share a scale; 1 for floats
  unsigned zero;  // the code of value 0
  ScaleKind scales;
  bool hasMin;
  const uint8_t *table;      // the codes that 16 stored codes stand for; null: themselves
  llvm::StringLiteral keeps; // the type of GGUF blocks that it holds exactly; may be empty

  /// Bits of a code as it is multiplied.
  unsigned codeBits() const { return table ? 8 : bits; }
  unsigned largestCode() const;
  /// Codes of 4 or 8 bits with one f16 scale for each 32 and nothing else: what the compiler itself
  /// quantizes to.
  bool isPlain() const {
    return scales == ScaleKind::Half && group == 32 && !hasMin && !table &&
           (bits == 4 || bits == 8);
  }
  /// Elements of a row that a record of scales covers.
  int64_t scaleDepth() const { return scales == ScaleKind::Super ? kSuperGroup : 32; }
};

llvm::ArrayRef<Format> getFormats();

/// The format of that name, or null.
const Format *findFormat(llvm::StringRef name);

/// The format that holds the values of such blocks exactly, or null.
const Format *findKeepingFormat(llvm::StringRef blockType);

} // namespace kiln

#endif
