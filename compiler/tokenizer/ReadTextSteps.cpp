//===- ReadTextSteps.cpp - Normalizers and pre-tokenizers as steps ---------===//
//
// A normalizer and a pre-tokenizer are lists of three kinds of steps: prepend, replace, split. What
// differs between tokenizers are the patterns, and those are compiled to automata here; supporting
// another pre-tokenizer is a line in this file that names its pattern.
//
//===----------------------------------------------------------------------===//

#include "compiler/tokenizer/TokenizerTables.h"

#include "llvm/ADT/StringSwitch.h"
#include "llvm/ADT/Twine.h"

using namespace kiln::tokenizer;
using llvm::Expected;
using llvm::StringRef;
using llvm::Twine;

namespace {

/// The pattern of GPT-2, which ByteLevel applies with use_regex.
constexpr StringRef gpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
constexpr size_t maxSteps = 16;

using Steps = std::vector<TextStep>;

/// The elements of a sequence, unless there are too many.
std::vector<const Json *> readSequence(const JsonObject &object, StringRef key) {
  std::vector<const Json *> elements = object.array(key);
  if (elements.size() > maxSteps) {
    object.problem(key + ": expected at most " + Twine(maxSteps) + " elements, found " +
                   Twine(elements.size()));
    elements.clear();
  }
  return elements;
}

void addPattern(const JsonObject &object, TextStep step, Expected<PatternNode> node, Steps &steps) {
  if (!node)
    return object.problem(llvm::toString(node.takeError()));
  Expected<Automaton> automaton = compilePattern(*node);
  if (!automaton)
    return object.problem(llvm::toString(automaton.takeError()));
  step.automaton = std::move(*automaton);
  steps.push_back(std::move(step));
}

void addSplit(const JsonObject &object, StringRef pattern, TextStep::Behavior behavior,
              Steps &steps) {
  TextStep step;
  step.kind = TextStep::Split;
  step.behavior = behavior;
  addPattern(object, step, parsePattern(pattern), steps);
}

void addPrepend(const std::string &text, TextStep::When when, Steps &steps) {
  TextStep step;
  step.kind = TextStep::Prepend;
  step.text = text;
  step.when = when;
  if (!text.empty())
    steps.push_back(std::move(step));
}

void addReplace(const JsonObject &object, const std::string &from, const std::string &to,
                Steps &steps) {
  TextStep step;
  step.kind = TextStep::Replace;
  step.text = to;
  addPattern(object, step, literalPattern(from), steps);
}

/// {"String": ..} or {"Regex": ..}.
Expected<PatternNode> readPattern(const JsonObject &object) {
  if (const Json *value = object.find("pattern")) {
    JsonObject pattern = object.object(*value, "pattern");
    if (std::optional<std::string> text = pattern.string("String"))
      return literalPattern(*text);
    if (std::optional<std::string> text = pattern.string("Regex"))
      return parsePattern(*text);
  }
  return llvm::createStringError("pattern: expected {\"String\": …} or {\"Regex\": …}");
}

std::optional<TextStep::Behavior> readBehavior(const JsonObject &object, StringRef absent) {
  std::string name = object.string("behavior").value_or(absent.str());
  auto behavior = llvm::StringSwitch<std::optional<TextStep::Behavior>>(name)
                      .Case("Removed", TextStep::Removed)
                      .Case("Isolated", TextStep::Isolated)
                      .Case("MergedWithPrevious", TextStep::MergedWithPrevious)
                      .Case("MergedWithNext", TextStep::MergedWithNext)
                      .Case("Contiguous", TextStep::Contiguous)
                      .Default(std::nullopt);
  if (!behavior)
    object.problem("behavior '" + name + "' is not known");
  return behavior;
}

void readNormalizer(const JsonObject &object, Steps &steps) {
  std::string type = object.typeName();
  if (type == "Sequence") {
    for (const Json *child : readSequence(object, "normalizers")) {
      JsonObject inner = object.object(*child, "normalizers");
      if (inner.typeName() == "Sequence")
        inner.problem("a sequence inside a sequence is not supported");
      else
        readNormalizer(inner, steps);
    }
  } else if (type == "Prepend") {
    addPrepend(object.string("prepend").value_or(""), TextStep::Always, steps);
  } else if (type == "Replace") {
    TextStep step;
    step.kind = TextStep::Replace;
    step.text = object.string("content").value_or("");
    addPattern(object, step, readPattern(object), steps);
  } else {
    object.problem("the normalizer '" + type + "' is not supported");
  }
}

void readMetaspace(const JsonObject &object, Steps &steps) {
  std::string marker = object.string("replacement").value_or("▁");
  bool prefixSpace = object.boolean("add_prefix_space", true);
  std::string scheme = object.string("prepend_scheme").value_or(prefixSpace ? "always" : "never");
  addReplace(object, " ", marker, steps);
  if (scheme == "always")
    addPrepend(marker, TextStep::UnlessPresent, steps);
  else if (scheme == "first")
    addPrepend(marker, TextStep::UnlessPresentFirst, steps);
  else if (scheme != "never")
    object.problem("prepend_scheme '" + scheme + "' is not known");
  if (!object.boolean("split", true))
    return;
  TextStep step;
  step.kind = TextStep::Split;
  step.behavior = TextStep::MergedWithNext;
  addPattern(object, step, literalPattern(marker), steps);
}

void readPreTokenizer(const JsonObject &object, TokenizerTables &tables) {
  Steps &steps = tables.preTokenizer;
  std::string type = object.typeName();
  if (tables.byteLevel)
    return object.problem("'" + type + "' after ByteLevel is not supported");
  if (type == "Sequence") {
    for (const Json *child : readSequence(object, "pretokenizers")) {
      JsonObject inner = object.object(*child, "pretokenizers");
      if (inner.typeName() == "Sequence")
        inner.problem("a sequence inside a sequence is not supported");
      else
        readPreTokenizer(inner, tables);
    }
  } else if (type == "ByteLevel") {
    if (object.boolean("add_prefix_space", true))
      addPrepend(" ", TextStep::UnlessPresent, steps);
    if (object.boolean("use_regex", true))
      addSplit(object, gpt2Pattern, TextStep::Isolated, steps);
    tables.byteLevel = true;
  } else if (type == "Split") {
    std::optional<TextStep::Behavior> behavior = readBehavior(object, "");
    if (!behavior)
      return;
    TextStep step;
    step.kind = TextStep::Split;
    step.behavior = *behavior;
    step.invert = object.boolean("invert", false);
    addPattern(object, step, readPattern(object), steps);
  } else if (type == "Digits") {
    bool individual = object.boolean("individual_digits", false);
    addSplit(object, R"(\p{N})", individual ? TextStep::Isolated : TextStep::Contiguous, steps);
  } else if (type == "Punctuation") {
    std::optional<TextStep::Behavior> behavior = readBehavior(object, "Isolated");
    if (behavior)
      addSplit(object, R"([\p{P}$+<=>^`|~])", *behavior, steps);
  } else if (type == "WhitespaceSplit") {
    addSplit(object, R"(\s)", TextStep::Removed, steps);
  } else if (type == "Metaspace") {
    readMetaspace(object, steps);
  } else {
    object.problem("the pre-tokenizer '" + type + "' is not supported");
  }
}

} // namespace

void kiln::tokenizer::readTextSteps(const JsonObject &root, TokenizerTables &tables) {
  if (const Json *json = root.find("normalizer"))
    readNormalizer(root.object(*json, "normalizer"), tables.normalizer);
  if (const Json *json = root.find("pre_tokenizer"))
    readPreTokenizer(root.object(*json, "pre_tokenizer"), tables);
}
