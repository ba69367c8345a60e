//===- Tokenizer.h - Compiles a Hugging Face tokenizer to tables -----------===//

#ifndef KILN_COMPILER_TOKENIZER_TOKENIZER_H
#define KILN_COMPILER_TOKENIZER_TOKENIZER_H

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

#include <cstdint>
#include <optional>
#include <vector>

namespace kiln {

/// Compiles tokenizer.json (and tokenizer_config.json, where there is one) of a model's folder into
/// the bytes of a tokenizer section, runtime/schema/tokenizer.fbs. None where the folder has no
/// tokenizer.json. An error lists every feature that is not supported.
llvm::Expected<std::optional<std::vector<uint8_t>>> compileTokenizer(llvm::StringRef folder);

/// The same from the files' texts; `config` may be empty.
llvm::Expected<std::vector<uint8_t>> compileTokenizerJson(llvm::StringRef tokenizer,
                                                          llvm::StringRef config,
                                                          llvm::StringRef name = "tokenizer.json");

} // namespace kiln

#endif // KILN_COMPILER_TOKENIZER_TOKENIZER_H
