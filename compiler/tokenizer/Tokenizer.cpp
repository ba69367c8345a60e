//===- Tokenizer.cpp - Compiles a Hugging Face tokenizer to tables ---------===//
//
// The order of reading: text steps first (they decide whether the vocabulary is byte-level), then
// the vocabulary, then what refers to its ids. Every reader reports what it cannot support; nothing
// is written unless all of the tokenizer can be.
//
//===----------------------------------------------------------------------===//

#include "compiler/tokenizer/Tokenizer.h"

#include "compiler/tokenizer/TokenizerTables.h"

#include "llvm/ADT/SmallString.h"
#include "llvm/ADT/Twine.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"

using namespace kiln;
using namespace kiln::tokenizer;
using llvm::Expected;
using llvm::StringRef;

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
  Json configJson = Json::object();
  if (!config.empty()) {
    Expected<Json> parsed = parseJson(config, "tokenizer_config.json");
    if (!parsed)
      return parsed.takeError();
    configJson = std::move(*parsed);
  }

  Problems problems;
  TokenizerTables tables;
  JsonObject root(*json, "", problems);
  readNormalizer(root, tables);
  readPreTokenizer(root, tables);
  readVocabulary(root, tables);
  readDecoder(root, tables);
  readPostProcessor(root, tables);
  readConfig(JsonObject(configJson, "tokenizer_config.json", problems), tables);
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

Expected<std::optional<std::vector<uint8_t>>> kiln::compileTokenizer(StringRef folder) {
  auto tokenizer = readIfPresent(folder, "tokenizer.json");
  if (!tokenizer)
    return tokenizer.takeError();
  if (!*tokenizer)
    return std::nullopt;
  auto config = readIfPresent(folder, "tokenizer_config.json");
  if (!config)
    return config.takeError();
  llvm::SmallString<256> path(folder);
  llvm::sys::path::append(path, "tokenizer.json");
  auto bytes = compileTokenizerJson((*tokenizer)->getBuffer(),
                                    *config ? (*config)->getBuffer() : StringRef(), path);
  if (!bytes)
    return bytes.takeError();
  return std::optional<std::vector<uint8_t>>(std::move(*bytes));
}
