//===- Tokenizer.cpp - Compiles tokenizers to tables -----------------------===//
//
// From tokenizer.json or a SentencePiece model to the tables (ReadGguf.cpp does GGUF). The order of
// reading tokenizer.json: text steps first (they decide whether the vocabulary is byte-level), then
// the vocabulary, then what refers to its ids. Every reader reports what it cannot support; nothing
// is written unless all of the tokenizer can be.
//
//===----------------------------------------------------------------------===//

#include "compiler/tokenizer/Tokenizer.h"

#include "compiler/tokenizer/SentencePieceModel.h"
#include "compiler/tokenizer/TokenizerTables.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/ADT/Twine.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"

using namespace kiln;
using namespace kiln::tokenizer;
using llvm::Expected;
using llvm::StringRef;

/// tokenizer_config.json, or an empty object.
static Expected<Json> readConfigText(StringRef text) {
  if (text.empty())
    return Json::object();
  return parseJson(text, "tokenizer_config.json");
}

Expected<std::vector<uint8_t>> kiln::tokenizer::finishTables(TokenizerTables &tables) {
  findDirectEntries(tables);
  cutAtMarkers(tables);
  return writeTables(tables);
}

Expected<std::vector<uint8_t>> kiln::compileTokenizerJson(StringRef tokenizer, StringRef config,
                                                          StringRef name) {
  Expected<Json> json = parseJson(tokenizer, name);
  if (!json)
    return json.takeError();
  Expected<Json> configJson = readConfigText(config);
  if (!configJson)
    return configJson.takeError();

  Problems problems;
  TokenizerTables tables;
  JsonObject root(*json, "", problems);
  readNormalizer(root, tables);
  readPreTokenizer(root, tables);
  readVocabulary(root, tables);
  readDecoder(root, tables);
  readPostProcessor(root, tables);
  readConfig(JsonObject(*configJson, "tokenizer_config.json", problems), tables);
  if (!problems.empty())
    return problems.take(name);
  return finishTables(tables);
}

/// The text of a file of the folder; none where it is absent.
static Expected<std::unique_ptr<llvm::MemoryBuffer>> readIfPresent(StringRef folder,
                                                                   StringRef file) {
  llvm::SmallString<256> path(folder);
  llvm::sys::path::append(path, file);
  if (!llvm::sys::fs::exists(path))
    return nullptr;
  auto buffer = llvm::MemoryBuffer::getFile(path, /*IsText=*/false,
                                            /*RequiresNullTerminator=*/false);
  if (!buffer)
    return llvm::createStringError(path + ": " + buffer.getError().message());
  return std::move(*buffer);
}

/// The tokenizer classes whose ids are those of the SentencePiece model, and what they put around a
/// text where tokenizer_config.json does not say.
static constexpr struct {
  StringRef name;
  bool begin, end;
} pieceClasses[] = {{"", true, false},
                    {"Llama", true, false},
                    {"CodeLlama", true, false},
                    {"Gemma", true, false},
                    {"T5", false, true}};

Expected<std::vector<uint8_t>>
kiln::compileTokenizerSentencePiece(StringRef bytes, StringRef config, StringRef name) {
  Expected<SentencePieceModel> model = readSentencePieceModel(bytes, name);
  if (!model)
    return model.takeError();
  Expected<Json> configJson = readConfigText(config);
  if (!configJson)
    return configJson.takeError();
  Problems problems;
  TokenizerTables tables;
  compileSentencePieces(*model, tables, problems);
  JsonObject configObject(*configJson, "tokenizer_config.json", problems);
  StringRef className = configObject.string("tokenizer_class").value_or("");
  std::string kept = className.str();
  className = kept;
  className.consume_back("Fast");
  className.consume_back("Tokenizer");
  const auto *entry =
      llvm::find_if(pieceClasses, [&](const auto &entry) { return entry.name == className; });
  if (entry == std::end(pieceClasses))
    problems.add("tokenizer_config.json: tokenizer_class: '" + kept +
                 "' may number pieces otherwise than its SentencePiece model: not supported, "
                 "tokenizer.json is");
  else {
    auto add = [&](StringRef flag, bool absent, int32_t id, std::vector<uint32_t> &ids) {
      if (configObject.boolean(flag, absent) && id >= 0 && size_t(id) < tables.tokens.size())
        ids.push_back(static_cast<uint32_t>(id));
    };
    add("add_bos_token", entry->begin, model->bos, tables.prefix);
    add("add_eos_token", entry->end, model->eos, tables.suffix);
  }
  if (!problems.empty())
    return problems.take(name);
  return finishTables(tables);
}

Expected<std::optional<std::vector<uint8_t>>> kiln::compileTokenizer(StringRef folder) {
  auto config = readIfPresent(folder, "tokenizer_config.json");
  if (!config)
    return config.takeError();
  StringRef configText = *config ? (*config)->getBuffer() : StringRef();
  for (StringRef file : {"tokenizer.json", "tokenizer.model"}) {
    auto source = readIfPresent(folder, file);
    if (!source)
      return source.takeError();
    if (!*source)
      continue;
    llvm::SmallString<256> path(folder);
    llvm::sys::path::append(path, file);
    auto compile = file == "tokenizer.json" ? compileTokenizerJson : compileTokenizerSentencePiece;
    auto bytes = compile((*source)->getBuffer(), configText, path);
    if (!bytes)
      return bytes.takeError();
    return std::optional<std::vector<uint8_t>>(std::move(*bytes));
  }
  return std::nullopt;
}

Expected<std::vector<uint8_t>> kiln::compileTokenizerPath(StringRef path) {
  if (llvm::sys::fs::is_directory(path)) {
    auto bytes = compileTokenizer(path);
    if (!bytes)
      return bytes.takeError();
    if (!*bytes)
      return llvm::createStringError(path + ": expected tokenizer.json or tokenizer.model in it");
    return std::move(**bytes);
  }
  StringRef extension = llvm::sys::path::extension(path);
  if (extension == ".gguf")
    return compileGgufFile(path);
  if (extension != ".json" && extension != ".model")
    return llvm::createStringError(path +
                                   ": expected a folder or a file *.json, *.model or *.gguf");
  auto buffer = llvm::MemoryBuffer::getFile(path, /*IsText=*/false,
                                            /*RequiresNullTerminator=*/false);
  if (!buffer)
    return llvm::createStringError(path + ": " + buffer.getError().message());
  return extension == ".json" ? compileTokenizerJson((*buffer)->getBuffer(), "", path)
                              : compileTokenizerSentencePiece((*buffer)->getBuffer(), "", path);
}
