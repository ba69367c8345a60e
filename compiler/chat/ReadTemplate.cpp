//===- ReadTemplate.cpp - The chat template of a model's folder ------------===//
//
// A template is a file of its own (chat_template.jinja) or a member of tokenizer_config.json, which
// also names the special tokens that templates write.
//
//===----------------------------------------------------------------------===//

#include "compiler/chat/ChatTemplate.h"

#include "llvm/ADT/SmallString.h"
#include "llvm/ADT/Twine.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"

#include <nlohmann/json.hpp>

using namespace kiln;
using llvm::StringRef;
using Json = nlohmann::json;

/// The text of a file of the folder; none where it is absent.
static llvm::Expected<std::optional<std::string>> readIfPresent(StringRef folder, StringRef file) {
  llvm::SmallString<256> path(folder);
  llvm::sys::path::append(path, file);
  if (!llvm::sys::fs::exists(path))
    return std::nullopt;
  auto buffer = llvm::MemoryBuffer::getFile(path);
  if (!buffer)
    return llvm::createStringError(path + ": " + buffer.getError().message());
  constexpr size_t limit = 16u << 20;
  if ((*buffer)->getBufferSize() > limit)
    return llvm::createStringError(path + ": larger than " + llvm::Twine(limit) + " bytes");
  return (*buffer)->getBuffer().str();
}

/// A token is its text, or an object with its content.
static std::optional<std::string> tokenText(const Json &token) {
  const Json &content = token.is_object() && token.contains("content") ? token["content"] : token;
  if (!content.is_string())
    return std::nullopt;
  return content.get<std::string>();
}

/// The template named "default" of a list, or the template itself.
static std::optional<std::string> defaultTemplate(const Json &config) {
  if (!config.is_object() || !config.contains("chat_template"))
    return std::nullopt;
  const Json &member = config["chat_template"];
  if (member.is_string())
    return member.get<std::string>();
  if (!member.is_array())
    return std::nullopt;
  for (const Json &entry : member)
    if (entry.is_object() && entry.value("name", Json()) == "default" &&
        entry.value("template", Json()).is_string())
      return entry["template"].get<std::string>();
  return std::nullopt;
}

llvm::Expected<std::optional<std::vector<uint8_t>>>
kiln::compileChatTemplateOfFolder(StringRef folder) {
  auto configText = readIfPresent(folder, "tokenizer_config.json");
  if (!configText)
    return configText.takeError();
  auto file = readIfPresent(folder, "chat_template.jinja");
  if (!file)
    return file.takeError();
  Json config =
      *configText ? Json::parse(**configText, nullptr, /*allow_exceptions=*/false) : Json::object();
  std::string name = "chat_template.jinja";
  std::optional<std::string> source = *file;
  if (!source) {
    source = defaultTemplate(config);
    name = "tokenizer_config.json, chat_template";
  }
  if (!source)
    return std::nullopt;

  ChatVariables variables;
  for (const char *token :
       {"bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"})
    if (config.is_object() && config.contains(token))
      if (auto text = tokenText(config[token]))
        variables.emplace_back(token, *text);
  llvm::SmallString<256> path(folder);
  llvm::sys::path::append(path, name);
  auto bytes = compileChatTemplate(*source, variables, path);
  if (!bytes)
    return bytes.takeError();
  return std::optional<std::vector<uint8_t>>(std::move(*bytes));
}
