//===- TokenizerTables.h - A tokenizer, ready to be written ----------------===//

#ifndef KILN_COMPILER_TOKENIZER_TOKENIZERTABLES_H
#define KILN_COMPILER_TOKENIZER_TOKENIZERTABLES_H

#include "compiler/tokenizer/Pattern.h"
#include "compiler/tokenizer/ReadJson.h"

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace kiln::tokenizer {

/// The meaning of every field, and the numbers of the enums, are those of
/// runtime/schema/tokenizer.fbs.
struct TextStep {
  enum Kind : uint8_t { Prepend = 0, Replace = 1, Split = 2 } kind = Prepend;
  enum When : uint8_t { Always = 0, UnlessPresent = 1, UnlessPresentFirst = 2 } when = Always;
  enum Behavior : uint8_t {
    Removed = 0,
    Isolated = 1,
    MergedWithPrevious = 2,
    MergedWithNext = 3,
    Contiguous = 4
  } behavior = Isolated;
  bool invert = false;
  std::string text;
  Automaton automaton; // Replace, Split
};

struct AddedToken {
  std::string content;
  std::string searched; // content, normalized where the token asks for it
  uint32_t id = 0;
  bool special = false, lstrip = false, rstrip = false, normalized = false;
};

struct Merge {
  uint32_t left, right, rank, merged;
};

struct DecoderTables {
  bool byteLevel = false; // resolved when the token bytes are written
  std::string separator;
  bool byteFallback = false;
  std::string marker, markerText;
  bool firstMarkerVanishes = false;
  uint32_t stripLeft = 0;
  char stripByte = 0;
};

struct TokenizerTables {
  std::vector<TextStep> normalizer, preTokenizer;
  std::vector<AddedToken> addedTokens;

  /// Text by id; `inVocabulary` where the model (not only an added token) knows it. Byte-level
  /// texts are already real bytes.
  std::vector<std::string> tokens;
  std::vector<bool> inVocabulary;
  std::vector<Merge> merges; // ascending by (left, right)

  bool byteLevel = false;
  bool ignoreMerges = false;
  bool byteFallback = false;
  std::array<int32_t, 256> byteTokens = {};
  int32_t unk = -1;
  bool fuseUnk = false;

  std::vector<uint32_t> prefix, suffix;
  bool hasTemplate = false;
  DecoderTables decoder;
};

/// Each reader takes one part of tokenizer.json and adds what it cannot support to the problems.
void readTextSteps(const JsonObject &root, TokenizerTables &tables);  // normalizer, pre_tokenizer
void readDecoder(const JsonObject &root, TokenizerTables &tables);    // decoder
void readVocabulary(const JsonObject &root, TokenizerTables &tables); // model, added_tokens
void readPostProcessor(const JsonObject &root, TokenizerTables &tables);
/// The begin and end tokens of tokenizer_config.json, where tokenizer.json has no template.
void readConfig(const JsonObject &config, TokenizerTables &tables);

/// The real bytes behind the printable stand-ins of a byte-level token; none where a character is
/// no stand-in.
std::optional<std::string> byteLevelBytes(llvm::StringRef token);

/// The flatbuffer.
std::vector<uint8_t> writeTables(const TokenizerTables &tables);

} // namespace kiln::tokenizer

#endif // KILN_COMPILER_TOKENIZER_TOKENIZERTABLES_H
