//===- WriteTables.cpp - Writes the tokenizer section ----------------------===//
//
// Lays the tables of a tokenizer out as the flatbuffer of runtime/schema/tokenizer.fbs. Nothing
// depends on hash order or addresses: the same tokenizer gives the same bytes.
//
//===----------------------------------------------------------------------===//

#include "compiler/tokenizer/TokenizerTables.h"
#include "compiler/tokenizer/Trie.h"
#include "tokenizer_generated.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/Twine.h"

using namespace kiln::tokenizer;
namespace schema = kiln::schema;
using flatbuffers::Offset;
using llvm::StringRef;

namespace {

template <typename T> using Table = Offset<flatbuffers::Vector<Offset<T>>>;

/// The value of a text in `all`, which is appended where it is not there: its place.
class TextPool {
public:
  size_t place(const std::string &text) {
    auto [it, inserted] = places.try_emplace(text, all.size());
    if (inserted)
      all += text;
    return it->second;
  }
  std::string all;

private:
  llvm::StringMap<size_t> places;
};

class TableWriter {
public:
  explicit TableWriter(const TokenizerTables &tables) : tables(tables) {}
  llvm::Expected<std::vector<uint8_t>> write();

private:
  Offset<flatbuffers::Vector<uint8_t>> bytes(StringRef text) {
    return builder.CreateVector(reinterpret_cast<const uint8_t *>(text.data()), text.size());
  }
  void fail(const llvm::Twine &text) {
    if (problem.empty())
      problem = text.str();
  }

  Offset<schema::Automaton> writeAutomaton(const Automaton &automaton);
  uint32_t addAutomaton(const Automaton &automaton);
  uint32_t addTrie(const std::map<std::string, uint32_t> &strings);
  uint32_t addMap(const CharacterMap &map);
  uint32_t addNormalization(NormalizationForm form);
  uint32_t addRewriting(const Rewriting &rewriting);
  Table<schema::TextStep> writeSteps(llvm::ArrayRef<TextStep> steps);
  Table<schema::AddedToken> writeAddedTokens(bool normalized);
  Offset<schema::Decoder> writeDecoder();
  uint32_t addWordAutomaton();

  const TokenizerTables &tables;
  flatbuffers::FlatBufferBuilder builder;
  uint32_t version = 2;
  std::vector<Offset<schema::Automaton>> automata;
  std::vector<Offset<schema::Trie>> tries;
  std::vector<Offset<schema::CharacterMap>> maps;
  std::vector<Offset<schema::Normalization>> normalizations;
  std::vector<Offset<schema::Rewriting>> rewritings;
  std::string problem;
};

template <typename T> uint32_t append(std::vector<T> &list, T element) {
  list.push_back(element);
  return static_cast<uint32_t>(list.size() - 1);
}

/// Values of some code points, zero for the others.
template <typename T> PagedTable<T> pagedTable(const std::map<uint32_t, T> &values) {
  std::vector<uint32_t> starts = {0};
  std::vector<T> list = {0};
  auto add = [&](uint32_t start, T value) {
    if (starts.back() == start)
      list.back() = value;
    else if (list.back() != value) {
      starts.push_back(start);
      list.push_back(value);
    }
  };
  for (const auto &[codePoint, value] : values) {
    add(codePoint, value);
    if (codePoint != lastCodePoint)
      starts.push_back(codePoint + 1), list.push_back(0);
  }
  return makePagedTable<T>(starts, list);
}

uint64_t hashBytes(StringRef text) {
  uint64_t hash = 0x9E3779B97F4A7C15u ^ text.size();
  for (size_t at = 0; at < text.size(); at += 8) {
    uint64_t group = 0;
    for (size_t i = at; i < at + 8 && i < text.size(); ++i)
      group |= uint64_t(static_cast<uint8_t>(text[i])) << 8 * (i - at);
    hash = (hash ^ group) * 0xD6E8FEB86659FD93u;
    hash ^= hash >> 32;
  }
  return hash;
}

/// Puts `value` into the first empty slot from the one that the lower 32 bits of `hash` give.
template <typename T> void insert(std::vector<T> &slots, uint64_t hash, T value) {
  size_t slot = (hash & UINT32_MAX) * slots.size() >> 32;
  while (slots[slot] != static_cast<T>(-1))
    slot = slot + 1 == slots.size() ? 0 : slot + 1;
  slots[slot] = value;
}

std::vector<uint32_t> vocabularyTable(const TokenizerTables &tables) {
  auto count = static_cast<size_t>(llvm::count(tables.inVocabulary, true));
  std::vector<uint32_t> slots(count + count / 3 + 2, UINT32_MAX);
  for (size_t id = 0; id < tables.tokens.size(); ++id) {
    if (!tables.inVocabulary[id] || tables.tokens[id].empty())
      continue;
    uint64_t hash = hashBytes(tables.tokens[id]);
    bool direct = id < tables.direct.size() && tables.direct[id];
    insert(slots, hash, static_cast<uint32_t>((hash >> 53) << 21 | uint32_t(direct) << 20 | id));
  }
  return slots;
}

std::vector<uint64_t> mergeTable(const TokenizerTables &tables) {
  size_t count = tables.merges.size();
  std::vector<uint64_t> slots(count + count / 3 + 2, UINT64_MAX);
  for (const Merge &merge : tables.merges) {
    uint64_t key = merge.left | uint64_t(merge.right) << 20;
    insert(slots, key * 0x9E3779B97F4A7C15u >> 32, key | uint64_t(merge.rank) << 40);
  }
  return slots;
}

Offset<schema::Automaton> TableWriter::writeAutomaton(const Automaton &automaton) {
  Table<schema::Assertion> assertions;
  if (!automaton.assertions.empty()) {
    std::vector<Offset<schema::Assertion>> list;
    for (const Automaton::Assertion &assertion : automaton.assertions)
      list.push_back(schema::CreateAssertion(builder, assertion.backward,
                                             builder.CreateVector(assertion.transitions)));
    assertions = builder.CreateVector(list);
  }
  Offset<schema::Automaton> starts;
  if (automaton.starts)
    starts = writeAutomaton(*automaton.starts);
  auto pages = builder.CreateVector(automaton.classes.pages);
  auto blocks = builder.CreateVector(automaton.classes.blocks);
  auto transitions = builder.CreateVector(automaton.transitions);
  return schema::CreateAutomaton(builder, automaton.classCount, pages, blocks, transitions,
                                 assertions, starts);
}

uint32_t TableWriter::addAutomaton(const Automaton &automaton) {
  if (!automaton.assertions.empty())
    version = 3;
  return append(automata, writeAutomaton(automaton));
}

uint32_t TableWriter::addTrie(const std::map<std::string, uint32_t> &strings) {
  auto units = buildTrie(strings);
  if (!units) {
    fail(llvm::toString(units.takeError()));
    return 0;
  }
  return append(tries, schema::CreateTrie(builder, builder.CreateVector(*units)));
}

uint32_t TableWriter::addMap(const CharacterMap &map) {
  TextPool pool;
  std::map<uint32_t, uint32_t> values;
  for (const auto &[codePoint, text] : map) {
    std::string own;
    appendUtf8(codePoint, own);
    if (text == own)
      continue;
    if (text.size() > 63)
      fail("a character is replaced by more than 63 bytes");
    values[codePoint] = static_cast<uint32_t>(pool.place(text) * 64 + text.size() + 1);
  }
  PagedTable<uint32_t> table = pagedTable(values);
  auto pages = builder.CreateVector(table.pages);
  auto blocks = builder.CreateVector(table.blocks);
  return append(maps, schema::CreateCharacterMap(builder, pages, blocks, bytes(pool.all)));
}

uint32_t TableWriter::addNormalization(NormalizationForm form) {
  const NormalizationTables &source = normalizationTables(form);
  uint32_t map = addMap(source.decompositions);
  PagedTable<uint8_t> table = pagedTable(source.properties);
  std::vector<schema::Composition> compositions;
  for (const auto &entry : source.compositions)
    compositions.emplace_back(entry.first, entry.second, entry.composed);
  auto pages = builder.CreateVector(table.pages);
  auto blocks = builder.CreateVector(table.blocks);
  return append(normalizations,
                schema::CreateNormalization(builder, pages, blocks, map, source.composes,
                                            builder.CreateVectorOfStructs(compositions)));
}

uint32_t TableWriter::addRewriting(const Rewriting &rewriting) {
  TextPool pool;
  std::map<std::string, uint32_t> values;
  for (const auto &[from, to] : rewriting.strings) {
    if (to.size() > 255)
      fail("a string is rewritten to more than 255 bytes");
    values[from] =
        static_cast<uint32_t>(pool.place(std::string(1, static_cast<char>(to.size())) + to));
  }
  uint32_t trie = addTrie(values);
  uint32_t automaton = rewriting.clusters ? addAutomaton(rewriting.clusterAutomaton) : 0;
  return append(rewritings, schema::CreateRewriting(builder, trie, bytes(pool.all),
                                                    rewriting.clusters, automaton));
}

Table<schema::TextStep> TableWriter::writeSteps(llvm::ArrayRef<TextStep> steps) {
  std::vector<Offset<schema::TextStep>> result;
  for (const TextStep &step : steps) {
    uint32_t table = 0;
    if (step.kind == TextStep::Replace || step.kind == TextStep::Split)
      table = addAutomaton(step.automaton);
    else if (step.kind == TextStep::Map)
      table = addMap(step.map);
    else if (step.kind == TextStep::Normalize)
      table = addNormalization(step.form);
    else if (step.kind == TextStep::Rewrite)
      table = addRewriting(step.rewriting);
    auto text = bytes(step.text);
    result.push_back(schema::CreateTextStep(
        builder, static_cast<schema::TextStepKind>(step.kind), table, text,
        static_cast<schema::PrependWhen>(step.when),
        static_cast<schema::SplitBehavior>(step.behavior), step.invert, step.left, step.right));
  }
  return builder.CreateVector(result);
}

Table<schema::AddedToken> TableWriter::writeAddedTokens(bool normalized) {
  std::vector<const AddedToken *> tokens;
  for (const AddedToken &token : tables.addedTokens)
    if (token.normalized == normalized)
      tokens.push_back(&token);
  llvm::sort(tokens, [](const AddedToken *a, const AddedToken *b) {
    return std::tie(a->searched, a->id) < std::tie(b->searched, b->id); // as unsigned bytes
  });
  std::vector<Offset<schema::AddedToken>> result;
  const AddedToken *previous = nullptr;
  for (const AddedToken *token : tokens) {
    if (previous && previous->searched == token->searched)
      continue;
    previous = token;
    auto text = bytes(token->searched);
    result.push_back(schema::CreateAddedToken(builder, text, token->id, token->special,
                                              token->lstrip, token->rstrip, token->singleWord));
  }
  return builder.CreateVector(result);
}

/// The automaton that single_word asks, where it is asked.
uint32_t TableWriter::addWordAutomaton() {
  if (llvm::none_of(tables.addedTokens, [](const AddedToken &token) { return token.singleWord; }))
    return UINT32_MAX;
  return addAutomaton(llvm::cantFail(compilePattern(setPattern(CodePointSet::word()))));
}

Offset<schema::Decoder> TableWriter::writeDecoder() {
  const DecoderTables &decoder = tables.decoder;
  auto separator = bytes(decoder.separator), continuation = bytes(decoder.continuation);
  auto gluedIds = builder.CreateVector(decoder.gluedIds);
  auto marker = bytes(decoder.marker), markerText = bytes(decoder.markerText);
  return schema::CreateDecoder(builder, separator, continuation, gluedIds, decoder.byteFallback,
                               marker, markerText, decoder.firstMarkerVanishes, decoder.stripLeft,
                               static_cast<uint8_t>(decoder.stripByte));
}

llvm::Expected<std::vector<uint8_t>> TableWriter::write() {
  std::string text;
  std::vector<uint32_t> tokenOffsets = {0};
  for (const std::string &token : tables.tokens) {
    text += token;
    tokenOffsets.push_back(static_cast<uint32_t>(text.size()));
  }
  std::vector<uint32_t> special;
  for (const AddedToken &token : tables.addedTokens)
    if (token.special)
      special.push_back(token.id);
  llvm::sort(special);
  special.erase(std::unique(special.begin(), special.end()), special.end());

  bool bytePairs = tables.model == ModelKind::BytePairs;
  bool unigram = tables.model == ModelKind::Unigram;
  auto normalizer = writeSteps(tables.normalizer);
  auto preTokenizer = writeSteps(tables.preTokenizer);
  auto added = writeAddedTokens(false), normalizedAdded = writeAddedTokens(true);
  uint32_t word = addWordAutomaton();
  uint32_t words = bytePairs ? 0 : addTrie(tables.words);
  uint32_t continuations = bytePairs || unigram ? 0 : addTrie(tables.continuations);
  if (text.size() > INT32_MAX)
    fail("the vocabulary has more than 2147483647 bytes");
  if (!problem.empty())
    return llvm::createStringError(problem);

  auto decoder = writeDecoder();
  auto automataVector = builder.CreateVector(automata);
  auto triesVector = builder.CreateVector(tries);
  auto mapsVector = builder.CreateVector(maps);
  auto normalizationsVector = builder.CreateVector(normalizations);
  auto rewritingsVector = builder.CreateVector(rewritings);
  auto tokenOffsetsVector = builder.CreateVector(tokenOffsets);
  auto tokenBytes = bytes(text);
  auto specialIds = builder.CreateVector(special);
  auto vocabulary = builder.CreateVector(vocabularyTable(tables));
  auto byteTokens = builder.CreateVector(tables.byteTokens.data(),
                                         tables.byteFallback ? tables.byteTokens.size() : 0);
  auto merges = builder.CreateVector(bytePairs ? mergeTable(tables) : std::vector<uint64_t>());
  auto merged = builder.CreateVector(tables.merged);
  Offset<flatbuffers::Vector<uint32_t>> priorities;
  if (!tables.priorities.empty())
    priorities = builder.CreateVector(tables.priorities);
  std::vector<double> allScores = tables.scores; // added tokens have none
  allScores.resize(unigram ? tables.tokens.size() : 0);
  auto scores = builder.CreateVector(allScores);
  auto prefix = builder.CreateVector(tables.prefix);
  auto suffix = builder.CreateVector(tables.suffix);

  schema::TokenizerBuilder root(builder);
  root.add_version(version);
  root.add_automata(automataVector);
  root.add_tries(triesVector);
  root.add_maps(mapsVector);
  root.add_normalizations(normalizationsVector);
  root.add_rewritings(rewritingsVector);
  root.add_normalizer(normalizer);
  root.add_pre_tokenizer(preTokenizer);
  root.add_added_tokens(added);
  root.add_normalized_added_tokens(normalizedAdded);
  root.add_word(word);
  root.add_token_offsets(tokenOffsetsVector);
  root.add_token_bytes(tokenBytes);
  root.add_special_ids(specialIds);
  root.add_vocabulary(vocabulary);
  root.add_model(static_cast<schema::ModelKind>(tables.model));
  root.add_byte_level(tables.byteLevel);
  root.add_byte_fallback(tables.byteFallback);
  root.add_byte_tokens(byteTokens);
  root.add_unk(tables.unk);
  root.add_fuse_unk(tables.fuseUnk);
  root.add_merges(merges);
  root.add_merged(merged);
  root.add_priorities(priorities);
  root.add_one_rank_each(tables.oneRankEach);
  root.add_word_trie(words);
  root.add_continuation_trie(continuations);
  root.add_max_word_characters(tables.maxWordCharacters);
  root.add_scores(scores);
  root.add_unk_score(tables.unkScore);
  root.add_single_precision(tables.singlePrecision);
  root.add_prefix(prefix);
  root.add_suffix(suffix);
  root.add_decoder(decoder);
  builder.Finish(root.Finish(), schema::TokenizerIdentifier());
  return std::vector<uint8_t>(builder.GetBufferPointer(),
                              builder.GetBufferPointer() + builder.GetSize());
}

} // namespace

llvm::Expected<std::vector<uint8_t>> kiln::tokenizer::writeTables(const TokenizerTables &tables) {
  return TableWriter(tables).write();
}
