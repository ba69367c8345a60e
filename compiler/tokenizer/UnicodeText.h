//===- UnicodeText.h - Normalization forms, case, accents ------------------===//

#ifndef KILN_COMPILER_TOKENIZER_UNICODETEXT_H
#define KILN_COMPILER_TOKENIZER_UNICODETEXT_H

#include "compiler/tokenizer/CodePointSet.h"

#include "llvm/ADT/STLFunctionalExtras.h"

#include <map>

namespace kiln::tokenizer {

/// What some characters become; the others stay.
using CharacterMap = std::map<uint32_t, std::string>;

std::string applyMap(const CharacterMap &map, llvm::StringRef text);
/// One map that does what `first` and then `second` do.
CharacterMap chainMaps(const CharacterMap &first, const CharacterMap &second);

CharacterMap lowercaseMap();
/// All of a set become nothing, or a text.
CharacterMap setMap(const CodePointSet &set, const std::string &text);

enum class NormalizationForm { NFC, NFD, NFKC, NFKD };

/// The tables of runtime/schema/tokenizer.fbs's Normalization.
struct NormalizationTables {
  struct Composition {
    uint32_t first, second, composed;
  };
  CharacterMap decompositions; // full
  std::map<uint32_t, uint8_t> properties;
  std::vector<Composition> compositions; // ascending
  bool composes = false;
};
const NormalizationTables &normalizationTables(NormalizationForm form);

std::string normalize(llvm::StringRef text, NormalizationForm form);

/// A value of Grapheme_Cluster_Break, "Pictographic" (Extended_Pictographic) or "Han" (Script).
CodePointSet unicodeProperty(llvm::StringRef name);

} // namespace kiln::tokenizer

#endif // KILN_COMPILER_TOKENIZER_UNICODETEXT_H
