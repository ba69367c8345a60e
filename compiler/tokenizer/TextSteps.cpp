//===- TextSteps.cpp - Making steps of patterns and texts ------------------===//
//
// The steps that several readers make: what a pattern, a replacement, a map of characters or BERT's
// own normalizer become. And the same steps applied at compile time, to the few texts known then.
//
//===----------------------------------------------------------------------===//

#include "compiler/tokenizer/TextSteps.h"

#include "llvm/ADT/Twine.h"

using namespace kiln::tokenizer;
using llvm::Expected;
using llvm::StringRef;

const StringRef kiln::tokenizer::gpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

void kiln::tokenizer::addPattern(const Problem &problem, TextStep step, Expected<PatternNode> node,
                                 Steps &steps) {
  if (!node)
    return problem(llvm::toString(node.takeError()));
  if (step.kind == TextStep::Split && node->takesNothing() && !step.invert) {
    // A match without length is no piece, but what it parts are two.
    step.behavior = TextStep::Isolated;
    node = betweenPlaces(std::move(*node));
  }
  Expected<Automaton> automaton = compilePattern(*node);
  if (!automaton)
    return problem(llvm::toString(automaton.takeError()));
  step.automaton = std::move(*automaton);
  steps.push_back(std::move(step));
}

void kiln::tokenizer::addSplit(const Problem &problem, StringRef pattern,
                               TextStep::Behavior behavior, Steps &steps) {
  TextStep step;
  step.kind = TextStep::Split;
  step.behavior = behavior;
  addPattern(problem, step, parsePattern(pattern), steps);
}

void kiln::tokenizer::addReplace(const Problem &problem, StringRef from, const std::string &to,
                                 Steps &steps) {
  TextStep step;
  step.kind = TextStep::Replace;
  step.text = to;
  addPattern(problem, step, literalPattern(from), steps);
}

void kiln::tokenizer::addPrepend(const std::string &text, TextStep::When when, Steps &steps) {
  TextStep step;
  step.kind = TextStep::Prepend;
  step.text = text;
  step.when = when;
  if (!text.empty())
    steps.push_back(std::move(step));
}

void kiln::tokenizer::addMap(CharacterMap map, Steps &steps) {
  if (!steps.empty() && steps.back().kind == TextStep::Map) {
    steps.back().map = chainMaps(steps.back().map, map);
    return;
  }
  TextStep step;
  step.kind = TextStep::Map;
  step.map = std::move(map);
  steps.push_back(std::move(step));
}

void kiln::tokenizer::addNormalize(NormalizationForm form, Steps &steps) {
  TextStep step;
  step.kind = TextStep::Normalize;
  step.form = form;
  steps.push_back(std::move(step));
}

void kiln::tokenizer::addStrip(const std::string &text, bool left, bool right, Steps &steps) {
  TextStep step;
  step.kind = TextStep::Strip;
  step.text = text;
  step.left = left;
  step.right = right;
  steps.push_back(std::move(step));
}

static CharacterMap bertCleaning() {
  CharacterMap map = setMap(unicodeProperty("BertRemoved"), "");
  for (const auto &[codePoint, text] : setMap(CodePointSet::whiteSpace(), " "))
    map.try_emplace(codePoint, text);
  return map;
}

static CharacterMap spacedChinese() {
  // The ranges of the reference implementation, one of which is not the Unicode block it means.
  constexpr std::pair<uint32_t, uint32_t> ranges[] = {
      {0x4E00, 0x9FFF},   {0x3400, 0x4DBF},   {0x20000, 0x2A6DF}, {0x2A700, 0x2B73F},
      {0x2B740, 0x2B81F}, {0x2B920, 0x2CEAF}, {0xF900, 0xFAFF},   {0x2F800, 0x2FA1F}};
  CharacterMap map;
  for (auto [first, last] : ranges)
    for (uint32_t codePoint = first; codePoint <= last; ++codePoint) {
      std::string text = " ";
      appendUtf8(codePoint, text);
      map[codePoint] = text + " ";
    }
  return map;
}

void kiln::tokenizer::addBertNormalizer(bool clean, bool chinese, bool stripAccents, bool lowercase,
                                        Steps &steps) {
  if (clean)
    addMap(bertCleaning(), steps);
  if (chinese)
    addMap(spacedChinese(), steps);
  if (stripAccents) {
    addNormalize(NormalizationForm::NFD, steps);
    addMap(setMap(unicodeProperty("BertAccent"), ""), steps);
  }
  if (lowercase)
    addMap(lowercaseMap(), steps);
}

void kiln::tokenizer::addBertPreTokenizer(const Problem &problem, Steps &steps) {
  // White space is removed and punctuation isolated: what is kept are the matches of this.
  TextStep step;
  step.kind = TextStep::Split;
  step.behavior = TextStep::Removed;
  step.invert = true;
  CodePointSet punctuation = unicodeProperty("BertPunctuation"), other = CodePointSet::whiteSpace();
  other.add(punctuation);
  addPattern(problem, step,
             listPattern(PatternNode::Alternate, {repeatPattern(setPattern(other.complement()), 1),
                                                  setPattern(punctuation)}),
             steps);
}

void kiln::tokenizer::addPropertySplit(const Problem &problem, StringRef property,
                                       TextStep::Behavior behavior, Steps &steps) {
  TextStep step;
  step.kind = TextStep::Split;
  step.behavior = behavior;
  addPattern(problem, step, setPattern(unicodeProperty(property)), steps);
}

void kiln::tokenizer::addWordSplit(const Problem &problem, Steps &steps) {
  TextStep step;
  step.kind = TextStep::Split;
  step.behavior = TextStep::Removed;
  step.invert = true;
  CodePointSet word = CodePointSet::word(), others = CodePointSet::whiteSpace();
  others.add(word);
  addPattern(
      problem, step,
      listPattern(PatternNode::Alternate, {repeatPattern(setPattern(word), 1),
                                           repeatPattern(setPattern(others.complement()), 1)}),
      steps);
}

Automaton kiln::tokenizer::clusterAutomaton() {
  // UAX #29, table 1c, with GB11; conjuncts (GB9c) are longer than what the clusters are used for.
  static const Automaton automaton = [] {
    constexpr auto concat = PatternNode::Concat, alternate = PatternNode::Alternate;
    auto set = [](StringRef name) { return setPattern(unicodeProperty(name)); };
    auto any = [](PatternNode child) { return repeatPattern(std::move(child), 0); };
    auto some = [](PatternNode child) { return repeatPattern(std::move(child), 1); };
    PatternNode zwj = set("ZWJ"), extend = set("Extend"), postcore = set("SpacingMark"),
                control = set("Control");
    postcore.set.add(extend.set);
    postcore.set.add(zwj.set);
    control.set.add('\r', '\r');
    control.set.add('\n', '\n');
    PatternNode vowels = listPattern(
        alternate, {listPattern(concat, {set("LV"), any(set("V"))}), set("LVT"), some(set("V"))});
    PatternNode hangul =
        listPattern(alternate, {listPattern(concat, {any(set("L")), vowels, any(set("T"))}),
                                some(set("L")), some(set("T"))});
    PatternNode joined = listPattern(concat, {any(extend), zwj, set("Pictographic")});
    PatternNode emoji = listPattern(concat, {set("Pictographic"), any(joined)});
    PatternNode flag = repeatPattern(set("Regional_Indicator"), 2, 2);
    PatternNode core =
        listPattern(alternate, {hangul, flag, emoji, setPattern(control.set.complement())});
    PatternNode cluster = listPattern(concat, {any(set("Prepend")), core, any(postcore)});
    return llvm::cantFail(
        compilePattern(listPattern(alternate, {literalPattern("\r\n"), control, cluster})));
  }();
  return automaton;
}

/* ---- Application at compile time ----------------------------------------------------------- */

/// The longest (or the shortest) string that begins text[begin, end).
static const std::pair<const std::string, std::string> *findPrefix(const Rewriting &rewriting,
                                                                   StringRef text, bool shortest) {
  const std::pair<const std::string, std::string> *found = nullptr;
  for (size_t size = 1; size <= text.size() && size < 256; ++size) {
    auto it = rewriting.strings.find(text.take_front(size).str());
    if (it == rewriting.strings.end())
      continue;
    found = &*it;
    if (shortest)
      break;
  }
  return found;
}

static std::string rewrite(const Rewriting &rewriting, StringRef text) {
  std::string result;
  for (size_t at = 0; at < text.size();) {
    size_t stop = at;
    if (rewriting.clusters)
      stop = rewriting.clusterAutomaton.match(text, at, {});
    if (stop == at || stop == StringRef::npos) {
      stop = at;
      decodeUtf8(text, stop);
    }
    const auto *found =
        rewriting.clusters
            ? stop - at < 6 ? findPrefix(rewriting, text.slice(at, stop), true) : nullptr
            : findPrefix(rewriting, text.substr(at), false);
    if (found) {
      result += found->second;
      at = rewriting.clusters ? stop : at + found->first.size();
      continue;
    }
    while (at < stop) {
      size_t start = at;
      decodeUtf8(text, at);
      found = findPrefix(rewriting, text.slice(start, at), true);
      result += found && rewriting.clusters ? found->second : text.slice(start, at).str();
    }
  }
  return result;
}

static std::string strip(const TextStep &step, StringRef text) {
  if (!step.text.empty()) {
    while (step.left && text.consume_front(step.text)) {
    }
    while (step.right && text.consume_back(step.text)) {
    }
    return text.str();
  }
  CodePointSet space = CodePointSet::whiteSpace();
  size_t first = StringRef::npos, last = 0;
  for (size_t position = 0; position < text.size();) {
    size_t start = position;
    if (space.contains(decodeUtf8(text, position)))
      continue;
    first = std::min(first, start);
    last = position;
  }
  first = std::min(first, text.size());
  return text.slice(step.left ? first : 0, step.right ? last : text.size()).str();
}

std::string kiln::tokenizer::applyTextStep(const TextStep &step, const std::string &text,
                                           size_t maxBytes) {
  switch (step.kind) {
  case TextStep::Prepend:
    return step.text + text;
  case TextStep::Replace:
    return step.automaton.replaceAll(text, step.text, maxBytes);
  case TextStep::Map:
    return applyMap(step.map, text);
  case TextStep::Normalize:
    return normalize(text, step.form);
  case TextStep::Rewrite:
    return rewrite(step.rewriting, text);
  case TextStep::Strip:
    return strip(step, text);
  case TextStep::Split:
    break;
  }
  return text;
}
