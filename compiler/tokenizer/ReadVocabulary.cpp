//===- ReadVocabulary.cpp - The models and the added tokens ----------------===//
//
// Reads the model of tokenizer.json (BPE, Unigram, WordPiece) and its added tokens. Merges are
// resolved to ids here, so that the runtime never concatenates strings.
//
//===----------------------------------------------------------------------===//

#include "compiler/tokenizer/TokenizerTables.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/Twine.h"

using namespace kiln::tokenizer;
using llvm::StringRef;
using llvm::Twine;

namespace {

using Ids = llvm::StringMap<uint32_t>;

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
    if (!addToken(text, id, true, tables, model.getProblems()))
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
  std::vector<std::pair<std::string, std::string>> pairs;
  for (const Json *json : model.array("merges")) {
    StringRef left, right;
    if (!readMerge(*json, left, right))
      return model.problem("merges: entry " + Twine(pairs.size()) + " is not a pair of tokens");
    pairs.push_back({left.str(), right.str()});
  }
  addMerges(pairs, ids, tables, model.getProblems());
}

void readModelFlags(const JsonObject &model, TokenizerTables &tables) {
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
  findByteTokens(tables);
}

/// unk_token must be in the vocabulary.
void readUnk(const JsonObject &model, const std::string &unk, TokenizerTables &tables,
             const Ids &ids) {
  auto it = ids.find(unk);
  if (it != ids.end())
    tables.unk = static_cast<int32_t>(it->second);
  else if (!unk.empty() && !tables.byteLevel)
    model.problem("unk_token '" + unk + "' is not in the vocabulary");
}

void readBytePairs(const JsonObject &model, TokenizerTables &tables) {
  Ids ids;
  readModelVocabulary(model, tables, ids);
  if (!model.getProblems().empty())
    return;
  readMerges(model, tables, ids);
  readModelFlags(model, tables);
  readUnk(model, model.string("unk_token").value_or(""), tables, ids);
}

void readWordPieces(const JsonObject &model, TokenizerTables &tables) {
  tables.model = ModelKind::WordPieces;
  Ids ids;
  readModelVocabulary(model, tables, ids);
  std::string prefix = model.string("continuing_subword_prefix").value_or("##");
  tables.maxWordCharacters = model.number("max_input_chars_per_word").value_or(100);
  for (const auto &entry : ids) {
    StringRef text = entry.getKey();
    tables.words[text.str()] = entry.getValue();
    if (text.consume_front(prefix) && !text.empty())
      tables.continuations[text.str()] = entry.getValue();
  }
  readUnk(model, model.string("unk_token").value_or("[UNK]"), tables, ids);
  if (tables.unk < 0)
    model.problem("unk_token: a WordPiece model needs one");
}

void readUnigram(const JsonObject &model, TokenizerTables &tables) {
  tables.model = ModelKind::Unigram;
  tables.fuseUnk = model.boolean("fuse_unk", true);
  tables.byteFallback = model.boolean("byte_fallback", false);
  double lowest = 0;
  for (const Json *json : model.array("vocab")) {
    size_t id = tables.scores.size();
    if (!json->is_array() || json->size() != 2 || !(*json)[0].is_string() ||
        !(*json)[1].is_number())
      return model.problem("vocab: entry " + Twine(id) + " is not a token and its score");
    const auto &text = *(*json)[0].get_ptr<const std::string *>();
    if (!addToken(text, id, true, tables, model.getProblems()))
      return;
    double score = (*json)[1].get<double>();
    tables.scores.push_back(score);
    if (!text.empty())
      tables.words[text] = static_cast<uint32_t>(id);
    lowest = id == 0 ? score : std::min(lowest, score);
  }
  constexpr double unkPenalty = 10;
  tables.unkScore = lowest - unkPenalty;
  if (std::optional<uint32_t> unk = model.number("unk_id")) {
    if (*unk >= tables.tokens.size())
      return model.problem("unk_id: " + Twine(*unk) + " is not in the vocabulary");
    tables.unk = static_cast<int32_t>(*unk);
  } else {
    model.problem("unk_id: a Unigram model needs one");
  }
  findByteTokens(tables);
}

void readAddedTokens(const JsonObject &root, TokenizerTables &tables) {
  Ids ids;
  for (size_t id = 0; id < tables.tokens.size(); ++id)
    ids.try_emplace(tables.tokens[id], static_cast<uint32_t>(id));
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
    auto known = ids.find(token.content);
    if (known != ids.end() && known->second != token.id) {
      object.problem("'" + token.content + "' has the id " + Twine(token.id) +
                     " and, in the vocabulary, " + Twine(known->second));
      continue;
    }
    token.special = object.boolean("special", false);
    token.lstrip = object.boolean("lstrip", false);
    token.rstrip = object.boolean("rstrip", false);
    token.normalized = object.boolean("normalized", !token.special);
    token.singleWord = object.boolean("single_word", false);
    addAddedToken(std::move(token), tables, root.getProblems());
  }
}

} // namespace

void kiln::tokenizer::readVocabulary(const JsonObject &root, TokenizerTables &tables) {
  const Json *json = root.find("model");
  if (!json || !json->is_object())
    return root.problem("model: expected an object");
  JsonObject model = root.object(*json, "model");
  std::string type = model.typeName();
  if (type.empty()) // older files do not say
    type = model.find("merges") ? "BPE" : model.find("vocab") ? "WordPiece" : "";
  if (tables.byteLevel && type != "BPE")
    return model.problem("the model '" + type + "' with ByteLevel is not supported, only BPE is");
  if (type == "BPE")
    readBytePairs(model, tables);
  else if (type == "Unigram")
    readUnigram(model, tables);
  else if (type == "WordPiece")
    readWordPieces(model, tables);
  else
    return model.problem("the model '" + type +
                         "' is not supported, only BPE, Unigram and WordPiece are");
  if (!root.getProblems().empty())
    return;
  readAddedTokens(root, tables);
  if (tables.tokens.empty())
    model.problem("the vocabulary is empty");
  resolveByteLevel(tables);
}
