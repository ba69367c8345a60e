//===- GgufPreTokenizers.h - Pre-tokenizers that GGUF files name -----------===//

#ifndef KILN_COMPILER_TOKENIZER_GGUFPRETOKENIZERS_H
#define KILN_COMPILER_TOKENIZER_GGUFPRETOKENIZERS_H

#include "llvm/ADT/StringRef.h"

#include <string>
#include <vector>

namespace kiln::tokenizer {

/// What a value of tokenizer.ggml.pre stands for.
struct GgufPreTokenizer {
  std::vector<llvm::StringRef> names;
  std::vector<llvm::StringRef> patterns; // each splits the pieces of the one before, isolated
  bool ignoreMerges = false;
  bool addBos = false;
  bool composed = false;    // the text is brought into NFC
  bool punctuation = false; // runs of punctuation are split off before the patterns
  bool digits = false;      // digits are, each by itself
};

/// None where the name is not known.
const GgufPreTokenizer *findGgufPreTokenizer(llvm::StringRef name);
/// All names, for a message.
std::string listGgufPreTokenizers();

} // namespace kiln::tokenizer

#endif // KILN_COMPILER_TOKENIZER_GGUFPRETOKENIZERS_H
