//===- FindShortcuts.cpp - What makes encoding faster, and changes nothing -===//
//
// Two facts about a vocabulary, proved here so that the runtime can use them. An entry whose own
// bytes encode to itself alone needs no merging when a piece is that entry. And where no token goes
// across two neighbouring characters, a text can be cut between them: SentencePiece's vocabularies
// have next to no tokens with a space inside, so that long texts fall into words.
//
//===----------------------------------------------------------------------===//

#include "compiler/tokenizer/TextSteps.h"

#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringMap.h"

#include <queue>
#include <set>

using namespace kiln::tokenizer;
using llvm::StringRef;

namespace {

/// Longer entries are encoded in the long way; there are few.
constexpr size_t longestDirect = 128;

/// Byte pairs as runtime/schema/tokenizer.fbs specifies them, for entries of the vocabulary.
class PairMerger {
public:
  explicit PairMerger(const TokenizerTables &tables) : tables(tables) {
    for (size_t i = 0; i < tables.merges.size(); ++i)
      ranks[key(tables.merges[i].left, tables.merges[i].right)] = tables.merges[i].rank;
    for (size_t id = 0; id < tables.tokens.size(); ++id)
      if (tables.inVocabulary[id])
        ids[tables.tokens[id]] = static_cast<uint32_t>(id);
  }

  /// Whether the entry becomes itself.
  bool encodesToItself(uint32_t id) {
    StringRef text = tables.tokens[id];
    std::vector<uint32_t> symbols;
    for (size_t position = 0; position < text.size();) {
      size_t start = position;
      if (tables.byteLevel)
        ++position;
      else
        decodeUtf8(text, position);
      auto it = ids.find(text.slice(start, position));
      if (it == ids.end())
        return false;
      symbols.push_back(it->second);
    }
    return mergesTo(std::move(symbols), id);
  }

private:
  struct Candidate {
    uint32_t priority, position, merged;
    bool operator>(const Candidate &other) const {
      return std::tie(priority, position) > std::tie(other.priority, other.position);
    }
  };
  static uint64_t key(uint32_t left, uint32_t right) { return uint64_t(left) << 32 | right; }

  bool mergesTo(std::vector<uint32_t> symbols, uint32_t id) {
    constexpr uint32_t gone = UINT32_MAX;
    auto count = static_cast<uint32_t>(symbols.size());
    std::vector<uint32_t> next(count), previous(count);
    for (uint32_t i = 0; i < count; ++i) {
      next[i] = i + 1;
      previous[i] = i - 1; // wraps to `gone` at the beginning
    }
    std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> queue;
    auto find = [&](uint32_t at) { return ranks.find(key(symbols[at], symbols[next[at]])); };
    auto push = [&](uint32_t at) {
      auto it = find(at);
      if (it != ranks.end())
        queue.push({tables.priorities.empty() ? it->second : tables.priorities[it->second], at,
                    tables.merged[it->second]});
    };
    for (uint32_t i = 0; i + 1 < count; ++i)
      push(i);
    while (!queue.empty()) {
      Candidate top = queue.top();
      queue.pop();
      uint32_t at = top.position;
      if (symbols[at] == gone || next[at] >= count)
        continue;
      auto it = find(at);
      if (it == ranks.end() || tables.merged[it->second] != top.merged)
        continue;
      uint32_t right = next[at];
      symbols[at] = top.merged;
      next[at] = next[right];
      symbols[right] = gone;
      if (next[at] < count) {
        previous[next[at]] = at;
        push(at);
      }
      if (previous[at] != gone)
        push(previous[at]);
    }
    return symbols[0] == id && next[0] >= count;
  }

  const TokenizerTables &tables;
  llvm::DenseMap<uint64_t, uint32_t> ranks;
  llvm::StringMap<uint32_t> ids;
};

} // namespace

void kiln::tokenizer::findDirectEntries(TokenizerTables &tables) {
  tables.direct.assign(tables.tokens.size(), false);
  if (tables.model == ModelKind::Unigram)
    return;
  if (tables.model == ModelKind::WordPieces) {
    for (const auto &[text, id] : tables.words) {
      size_t characters = 0;
      for (size_t position = 0; position < text.size(); ++characters)
        decodeUtf8(text, position);
      tables.direct[id] = tables.inVocabulary[id] && characters <= tables.maxWordCharacters;
    }
    return;
  }
  PairMerger merger(tables);
  for (size_t id = 0; id < tables.tokens.size(); ++id)
    tables.direct[id] =
        tables.inVocabulary[id] &&
        (tables.ignoreMerges || (tables.tokens[id].size() <= longestDirect &&
                                 merger.encodesToItself(static_cast<uint32_t>(id))));
}

void kiln::tokenizer::cutAtMarkers(TokenizerTables &tables) {
  constexpr StringRef marker = "▁";
  if (tables.model != ModelKind::BytePairs || tables.byteLevel || tables.ignoreMerges ||
      llvm::none_of(tables.tokens, [&](const std::string &text) { return text == marker; }))
    return;
  // Symbols that are bytes of a character could merge with what is beside it.
  std::set<uint32_t> bytes;
  for (int32_t id : tables.byteTokens)
    if (id >= 0)
      bytes.insert(static_cast<uint32_t>(id));
  for (const Merge &merge : tables.merges)
    if (bytes.count(merge.left) || bytes.count(merge.right))
      return;
  // What a marker follows inside a token.
  CodePointSet before;
  for (uint32_t id : tables.merged) {
    StringRef text = tables.tokens[id];
    uint32_t last = 0;
    for (size_t position = 0; position < text.size();) {
      size_t start = position;
      uint32_t codePoint = decodeUtf8(text, position);
      if (start > 0 && text.substr(start).starts_with(marker))
        before.add(last, last);
      last = codePoint;
    }
  }
  size_t end = 0;
  uint32_t markerPoint = decodeUtf8(marker, end);
  CodePointSet markers(markerPoint, markerPoint), others = markers.complement();
  CodePointSet joining = before.intersection(others), cutting = others;
  cutting = cutting.intersection(before.complement());
  // A piece: markers, then characters of which only `joining` ones are followed by markers.
  constexpr auto concat = PatternNode::Concat, alternate = PatternNode::Alternate;
  PatternNode anyMarkers = repeatPattern(setPattern(markers), 0);
  PatternNode character = setPattern(cutting);
  if (!joining.empty())
    character =
        listPattern(alternate, {character, listPattern(concat, {setPattern(joining), anyMarkers})});
  PatternNode word = listPattern(
      alternate,
      {listPattern(concat, {repeatPattern(setPattern(markers), 1), repeatPattern(character, 0)}),
       repeatPattern(character, 1)});
  TextStep step;
  step.kind = TextStep::Split;
  llvm::Expected<Automaton> automaton = compilePattern(word);
  if (!automaton) // it would only have made encoding faster
    return llvm::consumeError(automaton.takeError());
  step.automaton = std::move(*automaton);
  tables.preTokenizer.push_back(std::move(step));
}
