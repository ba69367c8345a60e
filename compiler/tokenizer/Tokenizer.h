//===- Tokenizer.h - Compiles tokenizers to tables -------------------------===//

#ifndef KILN_COMPILER_TOKENIZER_TOKENIZER_H
#define KILN_COMPILER_TOKENIZER_TOKENIZER_H

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

#include <cstdint>
#include <optional>
#include <vector>

namespace kiln {

class GgufMetadata;

/// Compiles the tokenizer of a model's folder into the bytes of a tokenizer section,
/// runtime/schema/tokenizer.fbs: tokenizer.json, or else tokenizer.model (SentencePiece); with
/// tokenizer_config.json, where there is one. None where the folder has neither. An error lists
/// every feature that is not supported.
llvm::Expected<std::optional<std::vector<uint8_t>>> compileTokenizer(llvm::StringRef folder);

/// The same from a path: a folder, or a file *.json, *.model or *.gguf by itself. A folder without
/// a tokenizer is an error here.
llvm::Expected<std::vector<uint8_t>> compileTokenizerPath(llvm::StringRef path);

/// The same from the files' texts; `config` may be empty.
llvm::Expected<std::vector<uint8_t>> compileTokenizerJson(llvm::StringRef tokenizer,
                                                          llvm::StringRef config,
                                                          llvm::StringRef name = "tokenizer.json");

/// The same from the bytes of a SentencePiece model.
llvm::Expected<std::vector<uint8_t>>
compileTokenizerSentencePiece(llvm::StringRef model, llvm::StringRef config,
                              llvm::StringRef name = "tokenizer.model");

/// The same from the metadata of a GGUF file; messages call it `file`. Begin and end tokens are in
/// the template as the file's add_bos_token and add_eos_token say, or else as is usual for its
/// model.
llvm::Expected<std::vector<uint8_t>> compileTokenizerGguf(const GgufMetadata &metadata,
                                                          llvm::StringRef file);

} // namespace kiln

#endif // KILN_COMPILER_TOKENIZER_TOKENIZER_H
