//===- WriteTables.cpp - Writes the tokenizer section ----------------------===//
//
// Lays the tables of a tokenizer out as the flatbuffer of runtime/schema/tokenizer.fbs. Nothing
// depends on hash order or addresses: the same tokenizer gives the same bytes.
//
//===----------------------------------------------------------------------===//

#include "compiler/tokenizer/TokenizerTables.h"
#include "tokenizer_generated.h"

#include "llvm/ADT/STLExtras.h"

using namespace kiln::tokenizer;
namespace schema = kiln::schema;
using flatbuffers::FlatBufferBuilder;
using flatbuffers::Offset;
using llvm::StringRef;

static Offset<flatbuffers::Vector<uint8_t>> bytes(FlatBufferBuilder &builder, StringRef text) {
  return builder.CreateVector(reinterpret_cast<const uint8_t *>(text.data()), text.size());
}

static std::vector<uint32_t> vocabularyHash(const TokenizerTables &tables) {
  size_t slots = 2;
  while (slots < 2 * tables.tokens.size())
    slots *= 2;
  std::vector<uint32_t> table(slots, UINT32_MAX);
  for (size_t id = 0; id < tables.tokens.size(); ++id) {
    if (!tables.inVocabulary[id])
      continue;
    uint32_t hash = 2166136261u;
    for (char c : tables.tokens[id])
      hash = (hash ^ static_cast<uint8_t>(c)) * 16777619u;
    size_t slot = hash & (slots - 1);
    while (table[slot] != UINT32_MAX)
      slot = (slot + 1) & (slots - 1);
    table[slot] = static_cast<uint32_t>(id);
  }
  return table;
}

static Offset<schema::Automaton> writeAutomaton(FlatBufferBuilder &builder,
                                                const Automaton &automaton) {
  std::vector<uint8_t> ascii(128);
  for (uint32_t codePoint = 0; codePoint < 128; ++codePoint)
    ascii[codePoint] = static_cast<uint8_t>(automaton.classOf(codePoint));
  auto starts = builder.CreateVector(automaton.rangeStarts);
  auto classes = builder.CreateVector(automaton.rangeClasses);
  auto asciiClasses = builder.CreateVector(ascii);
  auto transitions = builder.CreateVector(automaton.transitions);
  return schema::CreateAutomaton(builder, automaton.classCount, starts, classes, asciiClasses,
                                 transitions);
}

static Offset<flatbuffers::Vector<Offset<schema::TextStep>>>
writeSteps(FlatBufferBuilder &builder, llvm::ArrayRef<TextStep> steps, uint32_t firstAutomaton) {
  std::vector<Offset<schema::TextStep>> result;
  for (const TextStep &step : steps) {
    auto text = bytes(builder, step.text);
    uint32_t automaton = step.kind == TextStep::Prepend ? 0 : firstAutomaton++;
    result.push_back(
        schema::CreateTextStep(builder, static_cast<schema::TextStepKind>(step.kind), automaton,
                               text, static_cast<schema::PrependWhen>(step.when),
                               static_cast<schema::SplitBehavior>(step.behavior), step.invert));
  }
  return builder.CreateVector(result);
}

static Offset<flatbuffers::Vector<Offset<schema::AddedToken>>>
writeAddedTokens(FlatBufferBuilder &builder, const TokenizerTables &tables, bool normalized) {
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
    auto text = bytes(builder, token->searched);
    result.push_back(schema::CreateAddedToken(builder, text, token->id, token->special,
                                              token->lstrip, token->rstrip));
  }
  return builder.CreateVector(result);
}

std::vector<uint8_t> kiln::tokenizer::writeTables(const TokenizerTables &tables) {
  FlatBufferBuilder builder;

  std::vector<Offset<schema::Automaton>> automata;
  for (const TextStep &step : llvm::concat<const TextStep>(tables.normalizer, tables.preTokenizer))
    if (step.kind != TextStep::Prepend)
      automata.push_back(writeAutomaton(builder, step.automaton));
  auto usesAutomaton = [](const TextStep &step) { return step.kind != TextStep::Prepend; };
  auto normalizerAutomata = static_cast<uint32_t>(llvm::count_if(tables.normalizer, usesAutomaton));

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

  std::vector<uint32_t> mergeOffsets(tables.tokens.size() + 1);
  std::vector<schema::Merge> merges;
  for (const Merge &merge : tables.merges) {
    ++mergeOffsets[merge.left + 1];
    merges.emplace_back(merge.right, merge.rank, merge.merged);
  }
  for (size_t i = 1; i < mergeOffsets.size(); ++i)
    mergeOffsets[i] += mergeOffsets[i - 1];

  const DecoderTables &decoder = tables.decoder;
  auto separator = bytes(builder, decoder.separator);
  auto marker = bytes(builder, decoder.marker);
  auto markerText = bytes(builder, decoder.markerText);
  auto decoderOffset = schema::CreateDecoder(
      builder, separator, decoder.byteFallback, marker, markerText, decoder.firstMarkerVanishes,
      decoder.stripLeft, static_cast<uint8_t>(decoder.stripByte));

  auto automataOffset = builder.CreateVector(automata);
  auto normalizer = writeSteps(builder, tables.normalizer, 0);
  auto preTokenizer = writeSteps(builder, tables.preTokenizer, normalizerAutomata);
  auto added = writeAddedTokens(builder, tables, false);
  auto normalizedAdded = writeAddedTokens(builder, tables, true);
  auto tokenOffsetsVector = builder.CreateVector(tokenOffsets);
  auto tokenBytes = bytes(builder, text);
  auto specialIds = builder.CreateVector(special);
  auto vocabulary = builder.CreateVector(vocabularyHash(tables));
  auto byteTokens = builder.CreateVector(tables.byteTokens.data(), tables.byteTokens.size());
  auto mergeOffsetsVector = builder.CreateVector(mergeOffsets);
  auto mergesVector = builder.CreateVectorOfStructs(merges);
  auto prefix = builder.CreateVector(tables.prefix);
  auto suffix = builder.CreateVector(tables.suffix);

  schema::TokenizerBuilder root(builder);
  root.add_version(1);
  root.add_automata(automataOffset);
  root.add_normalizer(normalizer);
  root.add_pre_tokenizer(preTokenizer);
  root.add_added_tokens(added);
  root.add_normalized_added_tokens(normalizedAdded);
  root.add_token_offsets(tokenOffsetsVector);
  root.add_token_bytes(tokenBytes);
  root.add_special_ids(specialIds);
  root.add_vocabulary(vocabulary);
  root.add_byte_level(tables.byteLevel);
  root.add_ignore_merges(tables.ignoreMerges);
  root.add_byte_fallback(tables.byteFallback);
  root.add_byte_tokens(byteTokens);
  root.add_unk(tables.unk);
  root.add_fuse_unk(tables.fuseUnk);
  root.add_merge_offsets(mergeOffsetsVector);
  root.add_merges(mergesVector);
  root.add_prefix(prefix);
  root.add_suffix(suffix);
  root.add_decoder(decoderOffset);
  builder.Finish(root.Finish(), schema::TokenizerIdentifier());
  return {builder.GetBufferPointer(), builder.GetBufferPointer() + builder.GetSize()};
}
