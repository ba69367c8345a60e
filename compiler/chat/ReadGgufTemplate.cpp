//===- ReadGgufTemplate.cpp - The chat template of a GGUF file -------------===//
//
// GGUF files keep the template under tokenizer.chat_template, and the special tokens as indices
// into the vocabulary.
//
//===----------------------------------------------------------------------===//

#include "compiler/chat/ChatTemplate.h"

#include "compiler/import/gguf/GgufFile.h"

#include "llvm/ADT/Twine.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"

using namespace kiln;
using llvm::StringRef;

/// The special tokens by the names that templates know them under.
static ChatVariables readSpecialTokens(const GgufMetadata &metadata, Problems &problems) {
  static constexpr struct {
    const char *variable, *key;
  } tokens[] = {{"bos_token", "tokenizer.ggml.bos_token_id"},
                {"eos_token", "tokenizer.ggml.eos_token_id"},
                {"unk_token", "tokenizer.ggml.unknown_token_id"},
                {"sep_token", "tokenizer.ggml.seperator_token_id"},
                {"pad_token", "tokenizer.ggml.padding_token_id"},
                {"cls_token", "tokenizer.ggml.cls_token_id"},
                {"mask_token", "tokenizer.ggml.mask_token_id"}};
  ChatVariables variables;
  auto vocabulary = metadata.getStrings("tokenizer.ggml.tokens", problems);
  if (!vocabulary)
    return variables;
  for (const auto &token : tokens)
    if (auto id = metadata.getInteger(token.key, 0, int64_t(vocabulary->size()) - 1, problems))
      variables.emplace_back(token.variable, (*vocabulary)[size_t(*id)].str());
  return variables;
}

static llvm::Expected<std::optional<std::vector<uint8_t>>> compileOfGguf(StringRef path) {
  Problems problems;
  auto header = readGgufHeader(path, llvm::sys::path::filename(path), problems);
  if (!header)
    return problems.toError(path);
  auto source = header->metadata.getString("tokenizer.chat_template", problems);
  if (!source)
    return std::nullopt;
  ChatVariables variables = readSpecialTokens(header->metadata, problems);
  auto bytes = compileChatTemplate(*source, variables, (path + ", tokenizer.chat_template").str());
  if (!bytes)
    return bytes.takeError();
  return std::optional<std::vector<uint8_t>>(std::move(*bytes));
}

llvm::Expected<std::optional<std::vector<uint8_t>>>
kiln::compileChatTemplateOfModel(StringRef path) {
  if (!llvm::sys::fs::is_directory(path))
    return compileOfGguf(path);
  auto compiled = compileChatTemplateOfFolder(path);
  if (!compiled || *compiled)
    return compiled;
  // No template among Hugging Face's files: the first GGUF file by name has the model's metadata.
  std::string first;
  std::error_code failed;
  for (llvm::sys::fs::directory_iterator entry(path, failed), end; entry != end && !failed;
       entry.increment(failed))
    if (StringRef(entry->path()).ends_with(".gguf") && (first.empty() || entry->path() < first))
      first = entry->path();
  if (first.empty())
    return std::nullopt;
  return compileOfGguf(first);
}
