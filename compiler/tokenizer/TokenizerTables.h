//===- TokenizerTables.h - A tokenizer, ready to be written ----------------===//

#ifndef KILN_COMPILER_TOKENIZER_TOKENIZERTABLES_H
#define KILN_COMPILER_TOKENIZER_TOKENIZERTABLES_H

#include "compiler/tokenizer/Pattern.h"
#include "compiler/tokenizer/ReadJson.h"
#include "compiler/tokenizer/UnicodeText.h"

#include "llvm/ADT/StringMap.h"

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace kiln::tokenizer {

constexpr uint32_t maxVocabulary = 0xFFFFF; // ids have 20 bits, the last one is none
constexpr size_t maxTokenBytes = 64 * 1024;

/// Strings and what they become, by the rules of runtime/schema/tokenizer.fbs.
struct Rewriting {
  std::map<std::string, std::string> strings;
  bool clusters = false;
  Automaton clusterAutomaton;
};

/// The meaning of every field, and the numbers of the enums, are those of
/// runtime/schema/tokenizer.fbs.
struct TextStep {
  enum Kind : uint8_t {
    Prepend = 0,
    Replace = 1,
    Split = 2,
    Map = 3,
    Normalize = 4,
    Rewrite = 5,
    Strip = 6
  } kind = Prepend;
  enum When : uint8_t {
    Always = 0,
    UnlessPresent = 1,
    UnlessPresentFirst = 2,
    First = 3
  } when = Always;
  enum Behavior : uint8_t {
    Removed = 0,
    Isolated = 1,
    MergedWithPrevious = 2,
    MergedWithNext = 3,
    Contiguous = 4
  } behavior = Isolated;
  bool invert = false;
  bool left = false, right = false;
  std::string text;
  Automaton automaton; // Replace, Split
  CharacterMap map;
  NormalizationForm form = NormalizationForm::NFC;
  Rewriting rewriting;
};

/// A text after a step that changes texts (Prepend as if always), cut off where it gets longer than
/// maxBytes.
std::string applyTextStep(const TextStep &step, const std::string &text, size_t maxBytes);

struct AddedToken {
  std::string content;
  std::string searched; // content, normalized where the token asks for it
  uint32_t id = 0;
  bool special = false, lstrip = false, rstrip = false, normalized = false, singleWord = false;
};

struct Merge {
  uint32_t left, right, rank;
};

struct DecoderTables {
  bool byteLevel = false; // resolved when the token bytes are written
  std::string separator, continuation;
  std::vector<uint32_t> gluedIds;
  bool byteFallback = false;
  std::string marker, markerText;
  bool firstMarkerVanishes = false;
  uint32_t stripLeft = 0;
  char stripByte = 0;
  bool cleanUp = false; // tokens that begin as a contraction or an end of a clause are glued
};

enum class ModelKind : uint8_t { BytePairs = 0, Unigram = 1, WordPieces = 2 };

struct TokenizerTables {
  std::vector<TextStep> normalizer, preTokenizer;
  std::vector<AddedToken> addedTokens;

  /// Text by id; `inVocabulary` where the model (not only an added token) knows it. Byte-level
  /// texts are already real bytes.
  std::vector<std::string> tokens;
  std::vector<bool> inVocabulary;
  std::vector<bool> direct; // see the schema

  ModelKind model = ModelKind::BytePairs;
  bool byteLevel = false;
  bool ignoreMerges = false;
  bool byteFallback = false;
  std::array<int32_t, 256> byteTokens = {};
  int32_t unk = -1;
  bool fuseUnk = false;

  std::vector<Merge> merges; // each pair once
  std::vector<uint32_t> merged, priorities;
  bool oneRankEach = false;

  std::map<std::string, uint32_t> words, continuations; // unigram: the first only
  std::vector<double> scores;
  double unkScore = 0;
  bool singlePrecision = false;
  uint32_t maxWordCharacters = 0;

  std::vector<uint32_t> prefix, suffix;
  bool hasTemplate = false;
  DecoderTables decoder;
};

/// Each reader takes one part of tokenizer.json and adds what it cannot support to the problems.
void readNormalizer(const JsonObject &root, TokenizerTables &tables);
void readPreTokenizer(const JsonObject &root, TokenizerTables &tables);
void readDecoder(const JsonObject &root, TokenizerTables &tables);
void readVocabulary(const JsonObject &root, TokenizerTables &tables); // model, added_tokens
void readPostProcessor(const JsonObject &root, TokenizerTables &tables);
/// The begin and end tokens of tokenizer_config.json, where tokenizer.json has no template.
void readConfig(const JsonObject &config, TokenizerTables &tables);

/// Puts a token into the tables; false, and a problem, where that cannot be.
bool addToken(llvm::StringRef text, uint64_t id, bool inVocabulary, TokenizerTables &tables,
              Problems &problems);
/// Puts pairs of tokens into the tables as merges, best first; all must be in the vocabulary.
void addMerges(llvm::ArrayRef<std::pair<std::string, std::string>> pairs,
               const llvm::StringMap<uint32_t> &ids, TokenizerTables &tables, Problems &problems);
/// Puts an added token into the tables, and normalizes what is searched where it asks for it.
void addAddedToken(AddedToken token, TokenizerTables &tables, Problems &problems);
/// The id of each "<0xHH>" of the vocabulary.
void findByteTokens(TokenizerTables &tables);
/// Turns byte-level texts into the bytes that they stand for.
void resolveByteLevel(TokenizerTables &tables);

/// The ids of decoder.cleanUp.
void glueTokens(TokenizerTables &tables);

/// What only makes encoding faster: entries that encode to themselves, and places where a piece can
/// be cut because no token goes across.
void findDirectEntries(TokenizerTables &tables);
void cutAtMarkers(TokenizerTables &tables);

/// Both, and the flatbuffer.
llvm::Expected<std::vector<uint8_t>> finishTables(TokenizerTables &tables);

/// The tokenizer of a GGUF file.
llvm::Expected<std::vector<uint8_t>> compileGgufFile(llvm::StringRef path);

/// The real bytes behind the printable stand-ins of a byte-level token; none where a character is
/// no stand-in.
std::optional<std::string> byteLevelBytes(llvm::StringRef token);

/// The flatbuffer. Fails where something does not fit the format.
llvm::Expected<std::vector<uint8_t>> writeTables(const TokenizerTables &tables);

} // namespace kiln::tokenizer

#endif // KILN_COMPILER_TOKENIZER_TOKENIZERTABLES_H
