//===- ReadGguf.cpp - Tokenizers from GGUF metadata ------------------------===//
//
// GGUF files hold their tokenizer as metadata: a model (tokenizer.ggml.model), tokens with types
// and scores, merges, and the name of a pre-tokenizer. Four models are known: `llama`
// (SentencePiece BPE), `t5` (SentencePiece Unigram), `gpt2` (byte-level BPE) and `bert`
// (WordPiece); and `gemma4`, which is BPE over SentencePiece's texts with merges spelled out. The
// keys: GGUF's specification.
//
//===----------------------------------------------------------------------===//

#include "compiler/import/gguf/GgufFile.h"
#include "compiler/tokenizer/GgufPreTokenizers.h"
#include "compiler/tokenizer/SentencePieceModel.h"
#include "compiler/tokenizer/TextSteps.h"
#include "compiler/tokenizer/Tokenizer.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/Twine.h"
#include "llvm/Support/Path.h"

using namespace kiln::tokenizer;
using llvm::StringRef;
using llvm::Twine;

namespace {

constexpr char space[] = "▁";

class GgufReader {
public:
  explicit GgufReader(const kiln::GgufMetadata &metadata) : metadata(metadata) {}

  llvm::Expected<std::vector<uint8_t>> read(StringRef file) {
    readTokens();
    std::string model = string("model").value_or("");
    if (problems.empty()) {
      if (model == "llama" || model == "t5")
        readSentencePieces(model == "t5");
      else if (model == "gpt2")
        readByteLevel();
      else if (model == "gemma4")
        readSpelledMerges();
      else if (model == "bert")
        readBert();
      else
        problems.add("tokenizer.ggml.model: '" + model +
                     "' is not supported, only llama, t5, gpt2, gemma4 and bert are");
    }
    takeReaderProblems();
    if (!problems.empty())
      return problems.take(file);
    return finishTables(tables);
  }

private:
  /* ---- Metadata ---- */

  static std::string key(StringRef name) { return ("tokenizer.ggml." + name).str(); }

  std::optional<std::string> string(StringRef name) {
    std::optional<StringRef> value = metadata.getString(key(name), readerProblems);
    return value ? std::optional<std::string>(value->str()) : std::nullopt;
  }
  bool boolean(StringRef name, bool absent) {
    return metadata.getBool(key(name), readerProblems).value_or(absent);
  }
  /// The id of a special token; `absent` where the file does not say.
  int32_t id(StringRef name, int32_t absent) {
    std::optional<int64_t> value = metadata.getInteger(key(name), -1, INT32_MAX, readerProblems);
    int64_t result = value.value_or(absent);
    if (result >= static_cast<int64_t>(texts.size())) {
      if (value)
        problems.add(key(name) + ": " + Twine(result) + " is not among the " + Twine(texts.size()) +
                     " tokens");
      return -1;
    }
    return static_cast<int32_t>(result);
  }
  void takeReaderProblems() {
    for (const std::string &problem : readerProblems.getLines())
      problems.add(problem);
  }

  void readTokens() {
    auto list = metadata.getStrings(key("tokens"), readerProblems);
    if (!list || list->empty())
      return problems.add("tokenizer.ggml.tokens: expected the tokens, found " +
                          metadata.print(key("tokens")));
    if (list->size() > maxVocabulary)
      return problems.add("tokenizer.ggml.tokens: expected at most " + Twine(maxVocabulary) +
                          " tokens, found " + Twine(list->size()));
    texts = std::move(*list);
    types.assign(texts.size(), PieceType::Normal);
    if (auto numbers = metadata.getIntegers(key("token_type"), readerProblems)) {
      if (numbers->size() != texts.size())
        return problems.add("tokenizer.ggml.token_type: expected " + Twine(texts.size()) +
                            " types, found " + Twine(numbers->size()));
      for (auto [index, number] : llvm::enumerate(*numbers)) {
        if (number < 0 || number > 6)
          return problems.add("tokenizer.ggml.token_type: the token " + Twine(index) +
                              " has the unknown type " + Twine(number));
        types[index] = number == 0 ? PieceType::Normal : static_cast<PieceType>(number);
      }
    }
  }

  /* ---- What several models share ---- */

  bool isFound(size_t index) const {
    return types[index] == PieceType::Control || types[index] == PieceType::Unknown ||
           types[index] == PieceType::UserDefined;
  }

  /// All tokens into the tables; those that are found in text before all others as added tokens.
  void addTokens() {
    for (size_t index = 0; index < texts.size(); ++index) {
      bool known = types[index] == PieceType::Normal || types[index] == PieceType::UserDefined ||
                   types[index] == PieceType::Byte;
      if (!addToken(texts[index], index, known, tables, problems))
        return;
      if (!isFound(index) || texts[index].empty())
        continue;
      AddedToken token;
      token.content = token.searched = texts[index].str();
      token.id = static_cast<uint32_t>(index);
      token.special = types[index] != PieceType::UserDefined;
      tables.addedTokens.push_back(std::move(token));
    }
  }

  void addTemplate(bool addBegin, int32_t begin, bool addEnd, int32_t end) {
    if (addBegin && begin >= 0)
      tables.prefix.push_back(static_cast<uint32_t>(begin));
    if (addEnd && end >= 0)
      tables.suffix.push_back(static_cast<uint32_t>(end));
  }

  void readMerges() {
    auto list = metadata.getStrings(key("merges"), readerProblems);
    if (!list)
      return problems.add("tokenizer.ggml.merges: expected the merges, found " +
                          metadata.print(key("merges")));
    llvm::StringMap<uint32_t> ids;
    for (auto [index, text] : llvm::enumerate(texts))
      ids.try_emplace(text, static_cast<uint32_t>(index));
    std::vector<std::pair<std::string, std::string>> pairs;
    for (StringRef merge : *list) {
      size_t gap = merge.find(' ', 1);
      if (gap == StringRef::npos)
        return problems.add("tokenizer.ggml.merges: '" + merge.take_front(40) +
                            "' is not a pair of tokens");
      pairs.push_back({merge.take_front(gap).str(), merge.substr(gap + 1).str()});
    }
    addMerges(pairs, ids, tables, problems);
  }

  /* ---- The models ---- */

  void readSentencePieces(bool unigram) {
    SentencePieceModel model;
    model.kind = unigram ? SentencePieceModel::Unigram : SentencePieceModel::BytePairs;
    auto scores = metadata.getNumbers(key("scores"), readerProblems);
    if (!scores || scores->size() != texts.size())
      return problems.add("tokenizer.ggml.scores: expected a score for each of the " +
                          Twine(texts.size()) + " tokens, found " + metadata.print(key("scores")));
    for (size_t index = 0; index < texts.size(); ++index) {
      PieceType type = types[index];
      // A token that pads the vocabulary is never found in text.
      if (type == PieceType::Unknown && static_cast<int32_t>(index) != id("unknown_token_id", 0))
        type = PieceType::Unused;
      model.pieces.push_back({texts[index].str(), (*scores)[index], type});
    }
    model.addDummyPrefix = boolean("add_space_prefix", true);
    model.removeExtraWhitespaces = boolean("remove_extra_whitespaces", unigram);
    if (unigram)
      model.charsmap = readCharsmapBytes();
    model.byteFallback = llvm::is_contained(types, PieceType::Byte);
    model.unk = id("unknown_token_id", unigram ? 2 : 0);
    model.singlePrecision = false;
    model.prefixEachPart = true;
    model.findBeforeNormalizing = model.addDummyPrefix;
    compileSentencePieces(model, tables, problems);
    stripAfterPhi3Tokens();
    addTemplate(boolean("add_bos_token", !unigram), id("bos_token_id", unigram ? -1 : 1),
                boolean("add_eos_token", unigram), id("eos_token_id", unigram ? 1 : 2));
  }

  std::string readCharsmapBytes() {
    std::string bytes;
    if (metadata.has(key("precompiled_charsmap")))
      if (auto numbers = metadata.getIntegers(key("precompiled_charsmap"), readerProblems))
        for (int32_t number : *numbers)
          bytes.push_back(static_cast<char>(number));
    return bytes;
  }

  /// Phi-3's special tokens take the white space after them, which a GGUF file has no key for.
  void stripAfterPhi3Tokens() {
    std::optional<StringRef> family = metadata.getString("general.architecture", readerProblems);
    if (!family || *family != "phi3")
      return;
    for (AddedToken &token : tables.addedTokens)
      token.rstrip = (token.special || token.content == "</s>") && token.content != "<unk>" &&
                     token.content != "<s>" && token.content != "<|endoftext|>";
  }

  void readByteLevel() {
    std::string name = string("pre").value_or("default");
    const GgufPreTokenizer *preTokenizer = findGgufPreTokenizer(name);
    if (!preTokenizer)
      return problems.add("tokenizer.ggml.pre: the pre-tokenizer '" + name +
                          "' is not supported, only these are: " + listGgufPreTokenizers());
    auto report = [&](const Twine &text) { problems.add(text); };
    if (preTokenizer->composed)
      addNormalize(NormalizationForm::NFC, tables.normalizer);
    if (preTokenizer->punctuation)
      addPropertySplit(report, "BertPunctuation", TextStep::Contiguous, tables.preTokenizer);
    if (preTokenizer->digits)
      addPropertySplit(report, "Numeric", TextStep::Isolated, tables.preTokenizer);
    for (StringRef pattern : preTokenizer->patterns)
      addSplit(report, pattern, TextStep::Isolated, tables.preTokenizer);
    tables.byteLevel = tables.decoder.byteLevel = true;
    tables.ignoreMerges = preTokenizer->ignoreMerges;
    addTokens();
    readMerges();
    resolveByteLevel(tables);
    addTemplate(boolean("add_bos_token", preTokenizer->addBos), id("bos_token_id", -1),
                boolean("add_eos_token", false), id("eos_token_id", -1));
  }

  void readSpelledMerges() {
    auto report = [&](const Twine &text) { problems.add(text); };
    addReplace(report, " ", space, tables.normalizer);
    addSplit(report, "[^\\n]+|[\\n]+", TextStep::Isolated, tables.preTokenizer);
    addTokens();
    findByteTokens(tables);
    tables.byteFallback = true;
    tables.fuseUnk = true;
    tables.unk = id("unknown_token_id", -1);
    readMerges();
    tables.decoder.marker = space;
    tables.decoder.markerText = " ";
    tables.decoder.byteFallback = true;
    addTemplate(boolean("add_bos_token", true), id("bos_token_id", -1),
                boolean("add_eos_token", false), id("eos_token_id", -1));
  }

  /// Words begin with a marker here, and what continues them does not.
  void readBert() {
    tables.model = ModelKind::WordPieces;
    tables.maxWordCharacters = 100;
    bool lowercase = boolean("normalizer.lowercase", true);
    addBertNormalizer(true, true, boolean("normalizer.strip_accents", lowercase), lowercase,
                      tables.normalizer);
    addBertPreTokenizer([&](const Twine &text) { problems.add(text); }, tables.preTokenizer);
    for (size_t index = 0; index < texts.size(); ++index) {
      StringRef text = texts[index];
      bool begins = text.consume_front(space);
      bool bracketed = text.size() > 2 && text.starts_with("[") && text.ends_with("]");
      bool continues = !begins && types[index] == PieceType::Normal && !bracketed;
      spelled.push_back((continues ? "##" : "") + text.str());
      if (text.empty() || types[index] != PieceType::Normal)
        continue;
      auto &strings = continues ? tables.continuations : tables.words;
      strings.try_emplace(text.str(), static_cast<uint32_t>(index));
    }
    texts.assign(spelled.begin(), spelled.end());
    addTokens();
    tables.unk = id("unknown_token_id", 100);
    DecoderTables &decoder = tables.decoder;
    decoder.separator = " ";
    decoder.continuation = "##";
    glueTokens(tables);
    int32_t begin = id("cls_token_id", id("bos_token_id", 101));
    int32_t end = id("seperator_token_id", id("sep_token_id", id("eos_token_id", 102)));
    addTemplate(boolean("add_bos_token", true), begin, boolean("add_eos_token", true), end);
  }

  const kiln::GgufMetadata &metadata;
  kiln::Problems readerProblems; // of the metadata's own checks
  Problems problems;
  TokenizerTables tables;
  std::vector<StringRef> texts;
  std::vector<PieceType> types;
  std::vector<std::string> spelled; // BERT: the texts as WordPiece writes them
};

} // namespace

llvm::Expected<std::vector<uint8_t>> kiln::compileTokenizerGguf(const GgufMetadata &metadata,
                                                                StringRef file) {
  return GgufReader(metadata).read(file);
}

llvm::Expected<std::vector<uint8_t>> kiln::tokenizer::compileGgufFile(StringRef path) {
  kiln::Problems problems;
  std::optional<kiln::GgufHeader> header =
      kiln::readGgufHeader(path, llvm::sys::path::filename(path), problems);
  if (!header)
    return problems.toError(path);
  return kiln::compileTokenizerGguf(header->metadata, path);
}
