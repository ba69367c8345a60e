//===- ChatTemplate.h - Compiles a chat template to a program --------------===//

#ifndef KILN_COMPILER_CHAT_CHATTEMPLATE_H
#define KILN_COMPILER_CHAT_CHATTEMPLATE_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace kiln {

/// Variables that come with the model: "bos_token" to "<s>" and their like.
using ChatVariables = std::vector<std::pair<std::string, std::string>>;

/// Compiles a Jinja chat template into the bytes of a chat section, runtime/schema/chat.fbs. `name`
/// goes into errors, which also name the line. What Jinja refuses is an error, and so is what it
/// knows but this compiler does not.
llvm::Expected<std::vector<uint8_t>> compileChatTemplate(llvm::StringRef source,
                                                         const ChatVariables &variables = {},
                                                         llvm::StringRef name = "chat template");

/// Compiles the template of a model: a Hugging Face folder, a GGUF file (the first, of a split
/// model), or a folder with one GGUF model. None where it has no template.
llvm::Expected<std::optional<std::vector<uint8_t>>>
compileChatTemplateOfModel(llvm::StringRef path);

/// Compiles the template of a Hugging Face folder: chat_template.jinja, or the chat_template of
/// tokenizer_config.json (where it is a list, the one named "default"), with the special tokens of
/// tokenizer_config.json. None where there is no template.
llvm::Expected<std::optional<std::vector<uint8_t>>>
compileChatTemplateOfFolder(llvm::StringRef folder);

} // namespace kiln

#endif // KILN_COMPILER_CHAT_CHATTEMPLATE_H
