//===- ReadNormalizer.cpp - Normalizers as steps ---------------------------===//
//
// A normalizer of tokenizer.json becomes steps that change text: replacements, maps of characters,
// Unicode normalization forms, and SentencePiece's precompiled maps.
//
//===----------------------------------------------------------------------===//

#include "compiler/tokenizer/ReadSteps.h"
#include "compiler/tokenizer/TextSteps.h"

#include "llvm/ADT/StringSwitch.h"
#include "llvm/ADT/Twine.h"
#include "llvm/Support/Base64.h"

using namespace kiln::tokenizer;
using llvm::Expected;
using llvm::StringRef;
using llvm::Twine;

namespace {

constexpr size_t maxSteps = 16;

void readPrecompiled(const JsonObject &object, Steps &steps) {
  std::string encoded = object.string("precompiled_charsmap").value_or("");
  std::vector<char> bytes;
  if (llvm::Error error = llvm::decodeBase64(encoded, bytes)) {
    llvm::consumeError(std::move(error));
    return object.problem("precompiled_charsmap: not valid base64");
  }
  auto strings = readCharsmap({bytes.data(), bytes.size()});
  if (!strings)
    return object.problem(llvm::toString(strings.takeError()));
  TextStep step;
  step.kind = TextStep::Rewrite;
  step.rewriting.strings = std::move(*strings);
  step.rewriting.clusters = true;
  step.rewriting.clusterAutomaton = clusterAutomaton();
  steps.push_back(std::move(step));
}

/// What SentencePiece does for machine translation: control characters vanish, other white space
/// becomes a space.
void addNmt(Steps &steps) {
  CodePointSet removed(0x01, 0x08), spaces(0x09, 0x0A);
  removed.add(0x0B, 0x0B);
  removed.add(0x0E, 0x1F);
  for (uint32_t codePoint : {0x7Fu, 0x8Fu, 0x9Fu})
    removed.add(codePoint, codePoint);
  spaces.add(0x0C, 0x0D);
  spaces.add(0x1680, 0x1680);
  spaces.add(0x200B, 0x200F);
  spaces.add(0x2028, 0x2029);
  for (uint32_t codePoint : {0x2581u, 0xFEFFu, 0xFFFDu})
    spaces.add(codePoint, codePoint);
  CharacterMap map = setMap(removed, "");
  map.merge(setMap(spaces, " "));
  addMap(std::move(map), steps);
}

void readBert(const JsonObject &object, Steps &steps) {
  bool lowercase = object.boolean("lowercase", true);
  addBertNormalizer(object.boolean("clean_text", true),
                    object.boolean("handle_chinese_chars", true),
                    object.boolean("strip_accents", lowercase), lowercase, steps);
}

void readNormalizerStep(const JsonObject &object, Steps &steps) {
  std::string type = object.typeName();
  auto form = llvm::StringSwitch<std::optional<NormalizationForm>>(type)
                  .Case("NFC", NormalizationForm::NFC)
                  .Case("NFD", NormalizationForm::NFD)
                  .Case("NFKC", NormalizationForm::NFKC)
                  .Case("NFKD", NormalizationForm::NFKD)
                  .Default(std::nullopt);
  if (form) {
    addNormalize(*form, steps);
  } else if (type == "Sequence") {
    for (const Json *child : readSequence(object, "normalizers")) {
      JsonObject inner = object.object(*child, "normalizers");
      if (inner.typeName() == "Sequence")
        inner.problem("a sequence inside a sequence is not supported");
      else
        readNormalizerStep(inner, steps);
    }
  } else if (type == "Prepend") {
    addPrepend(object.string("prepend").value_or(""), TextStep::Always, steps);
  } else if (type == "Replace") {
    TextStep step;
    step.kind = TextStep::Replace;
    step.text = object.string("content").value_or("");
    addPattern(object, step, readPattern(object), steps);
  } else if (type == "Lowercase") {
    addMap(lowercaseMap(), steps);
  } else if (type == "StripAccents") {
    addMap(setMap(unicodeProperty("Accent"), ""), steps);
  } else if (type == "Strip") {
    addStrip("", object.boolean("strip_left", true), object.boolean("strip_right", true), steps);
  } else if (type == "BertNormalizer") {
    readBert(object, steps);
  } else if (type == "Nmt") {
    addNmt(steps);
  } else if (type == "Precompiled") {
    readPrecompiled(object, steps);
  } else {
    object.problem("the normalizer '" + type + "' is not supported");
  }
}

} // namespace

std::vector<const Json *> kiln::tokenizer::readSequence(const JsonObject &object, StringRef key) {
  std::vector<const Json *> elements = object.array(key);
  if (elements.size() > maxSteps) {
    object.problem(key + ": expected at most " + Twine(maxSteps) + " elements, found " +
                   Twine(elements.size()));
    elements.clear();
  }
  return elements;
}

Expected<PatternNode> kiln::tokenizer::readPattern(const JsonObject &object) {
  if (const Json *value = object.find("pattern")) {
    JsonObject pattern = object.object(*value, "pattern");
    if (std::optional<std::string> text = pattern.string("String"))
      return literalPattern(*text);
    if (std::optional<std::string> text = pattern.string("Regex"))
      return parsePattern(*text);
  }
  return llvm::createStringError("pattern: expected {\"String\": …} or {\"Regex\": …}");
}

void kiln::tokenizer::readNormalizer(const JsonObject &root, TokenizerTables &tables) {
  if (const Json *json = root.find("normalizer"))
    readNormalizerStep(root.object(*json, "normalizer"), tables.normalizer);
}
