//===- Vocabulary.cpp - Tokens by id, added tokens, bytes ------------------===//
//
// What all sources of a tokenizer have in common: a list of tokens by id, tokens that are found in
// text before all others, and tokens that stand for bytes.
//
//===----------------------------------------------------------------------===//

#include "compiler/tokenizer/TokenizerTables.h"

#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/Twine.h"

using namespace kiln::tokenizer;
using llvm::StringRef;
using llvm::Twine;

bool kiln::tokenizer::addToken(StringRef text, uint64_t id, bool inVocabulary,
                               TokenizerTables &tables, Problems &problems) {
  if (id >= maxVocabulary) {
    problems.add("the id " + Twine(id) + " of '" + text.take_front(40) +
                 "' is above the limit of " + Twine(maxVocabulary - 1));
    return false;
  }
  if (text.size() > maxTokenBytes) {
    problems.add("a token is longer than " + Twine(maxTokenBytes) + " bytes");
    return false;
  }
  if (id >= tables.tokens.size()) {
    tables.tokens.resize(id + 1);
    tables.inVocabulary.resize(id + 1);
  }
  if (text.empty()) // it can neither be matched nor change a decoded text
    return true;
  if (!tables.tokens[id].empty() && tables.tokens[id] != text) {
    problems.add("the id " + Twine(id) + " belongs to '" +
                 StringRef(tables.tokens[id]).take_front(40) + "' and to '" + text.take_front(40) +
                 "'");
    return false;
  }
  tables.tokens[id] = text.str();
  if (inVocabulary)
    tables.inVocabulary[id] = true;
  return true;
}

void kiln::tokenizer::addMerges(llvm::ArrayRef<std::pair<std::string, std::string>> pairs,
                                const llvm::StringMap<uint32_t> &ids, TokenizerTables &tables,
                                Problems &problems) {
  constexpr size_t maxMerges = 1u << 24; // ranks have 24 bits
  if (pairs.size() >= maxMerges)
    return problems.add("merges: expected fewer than " + Twine(maxMerges) + ", found " +
                        Twine(pairs.size()));
  llvm::DenseMap<uint64_t, size_t> places;
  for (auto [rank, pair] : llvm::enumerate(pairs)) {
    bool known = true;
    auto find = [&](StringRef text) -> uint32_t {
      auto it = ids.find(text);
      if (it != ids.end())
        return it->second;
      if (known)
        problems.add("merges: entry " + Twine(rank) + ": '" + text.take_front(40) +
                     "' is not in the vocabulary");
      known = false;
      return 0;
    };
    uint32_t left = find(pair.first), right = find(pair.second);
    uint32_t merged = find(pair.first + pair.second);
    if (!known)
      return;
    tables.merged.push_back(merged);
    Merge merge = {left, right, static_cast<uint32_t>(rank)};
    // A pair that is listed twice has its last rank.
    auto [it, inserted] = places.try_emplace(uint64_t(left) << 32 | right, tables.merges.size());
    if (inserted)
      tables.merges.push_back(merge);
    else
      tables.merges[it->second] = merge;
  }
  std::vector<uint32_t> sorted = tables.merged;
  llvm::sort(sorted);
  tables.oneRankEach = std::adjacent_find(sorted.begin(), sorted.end()) == sorted.end();
}

void kiln::tokenizer::addAddedToken(AddedToken token, TokenizerTables &tables, Problems &problems) {
  auto report = [&](const Twine &text) {
    problems.add("the added token '" + token.content + text);
  };
  if (!addToken(token.content, token.id, false, tables, problems))
    return;
  bool known = tables.inVocabulary[token.id];
  token.searched = token.content;
  if (token.normalized)
    for (const TextStep &step : tables.normalizer)
      token.searched = applyTextStep(step, token.searched, maxTokenBytes);
  if (token.searched.empty())
    report("' is empty after normalization");
  if (token.searched.size() > maxTokenBytes)
    return report("' is too long after normalization");
  if (token.searched != token.content) {
    // The library decodes such a token to its normalized text, also where the vocabulary has it.
    size_t first = 0;
    decodeUtf8(token.content, first);
    if (known && (tables.ignoreMerges || tables.model != ModelKind::BytePairs ||
                  first == token.content.size()))
      report("' is a vocabulary entry that normalization changes: not supported");
    tables.tokens[token.id] = token.searched;
    tables.inVocabulary[token.id] = false;
  }
  for (AddedToken &other : tables.addedTokens)
    if (other.content == token.content && other.id == token.id) {
      other = std::move(token);
      return;
    }
  tables.addedTokens.push_back(std::move(token));
}

void kiln::tokenizer::findByteTokens(TokenizerTables &tables) {
  tables.byteTokens.fill(-1);
  for (size_t id = 0; id < tables.tokens.size(); ++id) {
    StringRef text = tables.tokens[id];
    unsigned byte;
    if (text.size() != 6 || !text.consume_front("<0x") || !text.consume_back(">") ||
        !llvm::all_of(text, [](char c) { return llvm::isHexDigit(c) && !llvm::isLower(c); }) ||
        text.getAsInteger(16, byte) || !tables.inVocabulary[id])
      continue;
    tables.byteTokens[byte] = static_cast<int32_t>(id);
  }
}

void kiln::tokenizer::resolveByteLevel(TokenizerTables &tables) {
  for (size_t id = 0; id < tables.tokens.size() && tables.byteLevel; ++id) {
    // A text that is not made of stand-ins is its own bytes; no text can reach it through merges.
    if (std::optional<std::string> bytes = byteLevelBytes(tables.tokens[id]))
      tables.tokens[id] = std::move(*bytes);
    else
      tables.inVocabulary[id] = false;
  }
}

/// GPT-2's printable stand-in for each byte.
static uint32_t standIn(uint32_t byte) {
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
