//===- ReadVocabulary.cpp - The BPE model and the added tokens -------------===//
//
// Reads the vocabulary, the merges and the added tokens. Merges are resolved to ids here, so that
// the runtime never concatenates strings; byte-level texts are turned into the bytes they stand
// for.
//
//===----------------------------------------------------------------------===//

#include "compiler/tokenizer/TokenizerTables.h"

#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/Twine.h"

using namespace kiln::tokenizer;
using llvm::StringRef;
using llvm::Twine;

namespace {

constexpr uint32_t maxVocabulary = 4u << 20;
constexpr size_t maxTokenBytes = 64 * 1024;
using Ids = llvm::StringMap<uint32_t>;

/// GPT-2's printable stand-in for each byte.
uint32_t standIn(uint32_t byte) {
  auto printable = [](uint32_t b) {
    return (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
  };
  if (printable(byte))
    return byte;
  uint32_t others = 0;
  for (uint32_t b = 0; b < byte; ++b)
    others += !printable(b);
  return 256 + others;
}

bool addToken(const JsonObject &object, StringRef text, uint64_t id, bool inVocabulary,
              TokenizerTables &tables) {
  if (id >= maxVocabulary) {
    object.problem("the id " + Twine(id) + " of '" + text.take_front(40) +
                   "' is above the limit of " + Twine(maxVocabulary));
    return false;
  }
  if (text.empty() || text.size() > maxTokenBytes) {
    // An empty entry can neither be matched nor change a decoded text.
    if (text.size() > maxTokenBytes)
      object.problem("a token is longer than " + Twine(maxTokenBytes) + " bytes");
    return text.empty();
  }
  if (id >= tables.tokens.size()) {
    tables.tokens.resize(id + 1);
    tables.inVocabulary.resize(id + 1);
  }
  if (!tables.tokens[id].empty() && tables.tokens[id] != text) {
    object.problem("the id " + Twine(id) + " belongs to '" +
                   StringRef(tables.tokens[id]).take_front(40) + "' and to '" +
                   text.take_front(40) + "'");
    return false;
  }
  tables.tokens[id] = text.str();
  if (inVocabulary)
    tables.inVocabulary[id] = true;
  return true;
}

void readModelVocabulary(const JsonObject &model, TokenizerTables &tables, Ids &ids) {
  const Json *vocabulary = model.find("vocab");
  if (!vocabulary || !vocabulary->is_object())
    return model.problem("vocab: expected an object of tokens and ids");
  for (auto it = vocabulary->begin(); it != vocabulary->end(); ++it) {
    const std::string &text = it.key();
    if (!it->is_number_unsigned())
      return model.problem("vocab: the id of '" + StringRef(text).take_front(40) +
                           "' is not a number");
    uint64_t id = *it->get_ptr<const uint64_t *>();
    if (!addToken(model, text, id, true, tables))
      return;
    ids[text] = static_cast<uint32_t>(id);
  }
}

/// "a b" or ["a", "b"].
bool readMerge(const Json &json, StringRef &left, StringRef &right) {
  if (json.is_string()) {
    std::tie(left, right) = StringRef(*json.get_ptr<const std::string *>()).split(' ');
    return !left.empty() && !right.empty() && !right.contains(' ');
  }
  if (!json.is_array() || json.size() != 2 || !json[0].is_string() || !json[1].is_string())
    return false;
  left = *json[0].get_ptr<const std::string *>();
  right = *json[1].get_ptr<const std::string *>();
  return true;
}

void readMerges(const JsonObject &model, TokenizerTables &tables, const Ids &ids) {
  llvm::DenseMap<uint64_t, size_t> index;
  uint32_t rank = 0;
  for (const Json *json : model.array("merges")) {
    StringRef left, right;
    if (!readMerge(*json, left, right))
      return model.problem("merges: entry " + Twine(rank) + " is not a pair of tokens");
    std::string merged = (left + right).str();
    auto find = [&](StringRef text) -> std::optional<uint32_t> {
      auto it = ids.find(text);
      if (it != ids.end())
        return it->second;
      model.problem("merges: entry " + Twine(rank) + ": '" + text.take_front(40) +
                    "' is not in the vocabulary");
      return std::nullopt;
    };
    std::optional<uint32_t> leftId = find(left), rightId = find(right), mergedId = find(merged);
    if (!leftId || !rightId || !mergedId)
      return;
    // A pair that is listed twice has its last rank.
    auto [it, inserted] =
        index.try_emplace(uint64_t(*leftId) << 32 | *rightId, tables.merges.size());
    Merge merge = {*leftId, *rightId, rank, *mergedId};
    if (inserted)
      tables.merges.push_back(merge);
    else
      tables.merges[it->second] = merge;
    ++rank;
  }
  llvm::sort(tables.merges, [](const Merge &a, const Merge &b) {
    return std::tie(a.left, a.right) < std::tie(b.left, b.right);
  });
}

void readModelFlags(const JsonObject &model, TokenizerTables &tables, const Ids &ids) {
  if (const Json *dropout = model.find("dropout"))
    if (!dropout->is_number() || *dropout != 0)
      model.problem("dropout is not supported");
  for (StringRef key : {"continuing_subword_prefix", "end_of_word_suffix"})
    if (!model.string(key).value_or("").empty())
      model.problem(key + " is not supported");
  tables.ignoreMerges = model.boolean("ignore_merges", false);
  tables.fuseUnk = model.boolean("fuse_unk", false);
  tables.byteFallback = model.boolean("byte_fallback", false);
  if (tables.byteFallback && tables.byteLevel)
    model.problem("byte_fallback together with ByteLevel is not supported");
  for (unsigned byte = 0; byte < 256; ++byte) {
    std::string name = "<0x" + llvm::utohexstr(byte, /*LowerCase=*/false, 2) + ">";
    auto it = ids.find(name);
    tables.byteTokens[byte] = it == ids.end() ? -1 : static_cast<int32_t>(it->second);
  }
  std::string unk = model.string("unk_token").value_or("");
  auto it = ids.find(unk);
  if (it != ids.end())
    tables.unk = static_cast<int32_t>(it->second);
  else if (!unk.empty() && !tables.byteLevel)
    model.problem("unk_token '" + unk + "' is not in the vocabulary");
}

void readAddedTokens(const JsonObject &root, TokenizerTables &tables, const Ids &ids) {
  llvm::StringMap<size_t> seen;
  for (const Json *json : root.array("added_tokens")) {
    JsonObject object = root.object(*json, "added_tokens");
    AddedToken token;
    token.content = object.string("content").value_or("");
    std::optional<uint32_t> id = object.number("id");
    if (!id || token.content.empty()) {
      object.problem("expected a content and an id");
      continue;
    }
    token.id = *id;
    token.special = object.boolean("special", false);
    token.lstrip = object.boolean("lstrip", false);
    token.rstrip = object.boolean("rstrip", false);
    token.normalized = object.boolean("normalized", !token.special);
    if (object.boolean("single_word", false))
      object.problem("'" + token.content + "': single_word is not supported");
    auto known = ids.find(token.content);
    if (known != ids.end() && known->second != token.id) {
      object.problem("'" + token.content + "' has the id " + Twine(token.id) +
                     " and, in the vocabulary, " + Twine(known->second));
      continue;
    }
    if (!addToken(object, token.content, token.id, false, tables))
      continue;
    token.searched = token.content;
    if (token.normalized)
      for (const TextStep &step : tables.normalizer) {
        if (step.kind == TextStep::Prepend)
          token.searched = step.text + token.searched;
        else
          token.searched = step.automaton.replaceAll(token.searched, step.text, maxTokenBytes);
      }
    if (token.searched.empty())
      object.problem("'" + token.content + "' is empty after normalization");
    if (token.searched.size() > maxTokenBytes) {
      object.problem("'" + token.content + "' is too long after normalization");
      continue;
    }
    if (token.searched != token.content) {
      // The library decodes such a token to its normalized text, also where the vocabulary has it.
      size_t first = 0;
      decodeUtf8(token.content, first);
      if (known != ids.end() && (tables.ignoreMerges || first == token.content.size()))
        object.problem("'" + token.content +
                       "': a vocabulary entry that normalization changes is not supported");
      tables.tokens[token.id] = token.searched;
      tables.inVocabulary[token.id] = false;
    }
    auto [it, inserted] = seen.try_emplace(token.content, tables.addedTokens.size());
    if (inserted)
      tables.addedTokens.push_back(std::move(token));
    else
      tables.addedTokens[it->second] = std::move(token);
  }
}

} // namespace

std::optional<std::string> kiln::tokenizer::byteLevelBytes(StringRef token) {
  static const std::vector<int16_t> bytes = [] {
    std::vector<int16_t> table(512, -1);
    for (uint32_t byte = 0; byte < 256; ++byte)
      table[standIn(byte)] = static_cast<int16_t>(byte);
    return table;
  }();
  std::string result;
  for (size_t position = 0; position < token.size();) {
    uint32_t codePoint = decodeUtf8(token, position);
    if (codePoint >= bytes.size() || bytes[codePoint] < 0)
      return std::nullopt;
    result.push_back(static_cast<char>(bytes[codePoint]));
  }
  return result;
}

void kiln::tokenizer::readVocabulary(const JsonObject &root, TokenizerTables &tables) {
  const Json *json = root.find("model");
  if (!json || !json->is_object())
    return root.problem("model: expected an object");
  JsonObject model = root.object(*json, "model");
  std::string type = model.typeName();
  if (type.empty() && model.find("merges"))
    type = "BPE"; // older files do not say
  if (type != "BPE")
    return model.problem("the model '" + type + "' is not supported, only BPE is");

  Ids ids;
  readModelVocabulary(model, tables, ids);
  if (!root.getProblems().empty())
    return;
  readMerges(model, tables, ids);
  readModelFlags(model, tables, ids);
  readAddedTokens(root, tables, ids);
  if (tables.tokens.empty())
    model.problem("the vocabulary is empty");
  if (!tables.byteLevel)
    return;
  for (size_t id = 0; id < tables.tokens.size(); ++id) {
    // A text that is not made of stand-ins is its own bytes; no text can reach it through merges.
    if (std::optional<std::string> bytes = byteLevelBytes(tables.tokens[id]))
      tables.tokens[id] = std::move(*bytes);
    else
      tables.inVocabulary[id] = false;
  }
}
