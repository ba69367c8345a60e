//===- ReadPreTokenizer.cpp - Pre-tokenizers as steps ----------------------===//
//
// A pre-tokenizer is a list of steps, nearly all of them splits. What differs between tokenizers
// are the patterns, and those are compiled to automata here; supporting another pre-tokenizer is a
// line in this file that names its pattern.
//
//===----------------------------------------------------------------------===//

#include "compiler/tokenizer/ReadSteps.h"
#include "compiler/tokenizer/TextSteps.h"

#include "llvm/ADT/StringSwitch.h"
#include "llvm/ADT/Twine.h"

using namespace kiln::tokenizer;
using llvm::Expected;
using llvm::StringRef;
using llvm::Twine;

namespace {

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

void readPreTokenizerStep(const JsonObject &object, TokenizerTables &tables) {
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
        readPreTokenizerStep(inner, tables);
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
    addPropertySplit(object, "Numeric", individual ? TextStep::Isolated : TextStep::Contiguous,
                     steps);
  } else if (type == "Punctuation") {
    std::optional<TextStep::Behavior> behavior = readBehavior(object, "Isolated");
    if (behavior)
      addPropertySplit(object, "BertPunctuation", *behavior, steps);
  } else if (type == "WhitespaceSplit") {
    addSplit(object, R"(\s)", TextStep::Removed, steps);
  } else if (type == "Whitespace") {
    addWordSplit(object, steps);
  } else if (type == "BertPreTokenizer") {
    addBertPreTokenizer(object, steps);
  } else if (type == "CharDelimiterSplit") {
    TextStep step;
    step.kind = TextStep::Split;
    step.behavior = TextStep::Removed;
    addPattern(object, step, literalPattern(object.string("delimiter").value_or("")), steps);
  } else if (type == "Metaspace") {
    readMetaspace(object, steps);
  } else {
    object.problem("the pre-tokenizer '" + type + "' is not supported");
  }
}

} // namespace

void kiln::tokenizer::readPreTokenizer(const JsonObject &root, TokenizerTables &tables) {
  if (const Json *json = root.find("pre_tokenizer"))
    readPreTokenizerStep(root.object(*json, "pre_tokenizer"), tables);
}
