//===- ParsePattern.cpp - Reads the regular expressions of tokenizers ------===//
//
// A recursive-descent parser of the part of Oniguruma's Ruby syntax that tokenizer.json files use.
// It refuses by name what automata cannot do (back references, atomic groups), so that a pattern is
// either exact or an error.
//
//===----------------------------------------------------------------------===//

#include "compiler/tokenizer/Pattern.h"
#include "compiler/tokenizer/UnicodeText.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/Twine.h"

using namespace kiln::tokenizer;
using llvm::Error;
using llvm::Expected;
using llvm::StringRef;
using llvm::Twine;

namespace {

constexpr unsigned maxDepth = 64;
constexpr size_t maxPatternBytes = 16 * 1024;
constexpr uint32_t maxRepeat = 1000;

class PatternParser {
public:
  explicit PatternParser(StringRef pattern) : pattern(pattern) {}

  Expected<PatternNode> parse() {
    if (pattern.size() > maxPatternBytes)
      return failure("is longer than " + Twine(maxPatternBytes) + " bytes");
    Expected<PatternNode> node = parseAlternatives(0, false);
    if (node && position != pattern.size())
      return failure("unmatched ')'");
    return node;
  }

private:
  Error failure(const Twine &what) const {
    return llvm::createStringError("pattern '" + pattern.take_front(200) + "': " + what +
                                   " at byte " + Twine(position));
  }
  bool atEnd() const { return position >= pattern.size(); }
  char peek() const { return atEnd() ? '\0' : pattern[position]; }
  bool accept(StringRef text) {
    if (!pattern.substr(position).starts_with(text))
      return false;
    position += text.size();
    return true;
  }
  uint32_t next() { return decodeUtf8(pattern, position); }

  Expected<PatternNode> parseAlternatives(unsigned depth, bool ignoreCase);
  Expected<PatternNode> parseSequence(unsigned depth, bool ignoreCase);
  Expected<PatternNode> parseAtom(unsigned depth, bool ignoreCase);
  Expected<PatternNode> parseGroup(unsigned depth, bool ignoreCase);
  std::optional<PatternNode> parseAnchor();
  Error parseQuantifier(PatternNode &atom);
  static PatternNode makePossessive(PatternNode repeat);
  Expected<CodePointSet> parseClass(bool ignoreCase, unsigned depth = 0);
  Expected<CodePointSet> parseEscape();
  Expected<CodePointSet> parseProperty(bool negated);
  Expected<uint32_t> parseHex(unsigned minDigits, unsigned maxDigits);
  Error foldCase(CodePointSet &set) const;

  StringRef pattern;
  size_t position = 0;
};

/// Oniguruma's \w has no joiners, but the superscripts and fractions of Latin-1.
CodePointSet wordSet() {
  CodePointSet set = CodePointSet::word().intersection(CodePointSet(0x200C, 0x200D).complement());
  set.add(0xB2, 0xB3);
  set.add(0xB9, 0xB9);
  set.add(0xBC, 0xBE);
  return set;
}

Expected<PatternNode> PatternParser::parseAlternatives(unsigned depth, bool ignoreCase) {
  if (depth > maxDepth)
    return failure("groups are nested deeper than " + Twine(maxDepth));
  PatternNode node;
  node.kind = PatternNode::Alternate;
  do {
    Expected<PatternNode> sequence = parseSequence(depth, ignoreCase);
    if (!sequence)
      return sequence;
    node.children.push_back(std::move(*sequence));
  } while (accept("|"));
  if (node.children.size() == 1)
    return PatternNode(std::move(node.children.front()));
  return node;
}

Expected<PatternNode> PatternParser::parseSequence(unsigned depth, bool ignoreCase) {
  PatternNode node;
  node.kind = PatternNode::Concat;
  while (!atEnd() && peek() != '|' && peek() != ')') {
    Expected<PatternNode> atom = parseAtom(depth, ignoreCase);
    if (!atom)
      return atom;
    if (Error error = parseQuantifier(*atom))
      return error;
    node.children.push_back(std::move(*atom));
  }
  if (node.children.size() == 1)
    return PatternNode(std::move(node.children.front()));
  return node;
}

Expected<PatternNode> PatternParser::parseGroup(unsigned depth, bool ignoreCase) {
  // The opening parenthesis is behind us.
  PatternNode assertion;
  if (accept("?=") || accept("?!") || accept("?<=") || accept("?<!")) {
    assertion.kind = PatternNode::Assertion;
    assertion.behind = pattern[position - 2] == '<';
    assertion.negative = pattern[position - 1] == '!';
  } else if (accept("?i:")) {
    ignoreCase = true;
  } else if (accept("?-i:")) {
    ignoreCase = false;
  } else if (!accept("?:") && peek() == '?') {
    return failure("the group '(" + pattern.substr(position, 3) + "…' is not supported");
  }
  Expected<PatternNode> node = parseAlternatives(depth + 1, ignoreCase);
  if (!node)
    return node;
  if (!accept(")"))
    return failure("missing ')'");
  if (!assertion.isAssertion())
    return node;
  if (node->kind == PatternNode::Set)
    return besidePattern(std::move(node->set), assertion.behind, assertion.negative);
  assertion.children.push_back(std::move(*node));
  return assertion;
}

/// `^ $ \A \z \b \B`, where one of them is next.
std::optional<PatternNode> PatternParser::parseAnchor() {
  constexpr bool behind = true, ahead = false, negative = true;
  const CodePointSet any(0, lastCodePoint), lineFeed('\n', '\n');
  auto both = [](PatternNode a, PatternNode b) {
    return listPattern(PatternNode::Concat, {std::move(a), std::move(b)});
  };
  PatternNode begin = besidePattern(any, behind, negative);
  if (accept("$")) // the end of a line: at the end, or before a line feed
    return besidePattern(lineFeed.complement(), ahead, negative);
  if (accept("^")) // at the beginning, or after a line feed that is not the last character
    return listPattern(PatternNode::Alternate, {begin, both(besidePattern(lineFeed, behind, false),
                                                            besidePattern(any, ahead, false))});
  if (accept("\\A"))
    return begin;
  if (accept("\\z"))
    return besidePattern(any, ahead, negative);
  bool boundary = accept("\\b");
  if (!boundary && !accept("\\B"))
    return std::nullopt;
  auto words = [&](bool before, bool after) {
    return both(besidePattern(wordSet(), behind, !before), besidePattern(wordSet(), ahead, !after));
  };
  return listPattern(PatternNode::Alternate, {words(true, !boundary), words(false, boundary)});
}

Expected<PatternNode> PatternParser::parseAtom(unsigned depth, bool ignoreCase) {
  if (accept("("))
    return parseGroup(depth, ignoreCase);
  if (accept("[")) {
    Expected<CodePointSet> set = parseClass(ignoreCase);
    if (!set)
      return set.takeError();
    return setPattern(std::move(*set));
  }
  if (accept("."))
    return setPattern(CodePointSet('\n', '\n').complement());
  if (std::optional<PatternNode> anchor = parseAnchor())
    return *anchor;
  if (StringRef("*+?{").contains(peek()))
    return failure(Twine("unexpected '") + pattern.substr(position, 1) + "'");
  CodePointSet set;
  if (accept("\\")) {
    Expected<CodePointSet> escape = parseEscape();
    if (!escape)
      return escape.takeError();
    set = std::move(*escape);
  } else {
    uint32_t codePoint = next();
    set.add(codePoint, codePoint);
  }
  if (ignoreCase)
    if (Error error = foldCase(set))
      return error;
  return setPattern(std::move(set));
}

Error PatternParser::parseQuantifier(PatternNode &atom) {
  bool quantified = false, wasInterval = false;
  while (true) {
    uint32_t minimum = 0, maximum = PatternNode::unbounded;
    bool interval = false;
    if (accept("*")) {
    } else if (accept("+")) {
      minimum = 1;
    } else if (accept("?")) {
      maximum = 1;
    } else if (peek() == '{') {
      StringRef rest = pattern.substr(position + 1);
      size_t close = rest.find('}');
      if (close == StringRef::npos)
        return failure("missing '}'");
      auto [low, high] = rest.take_front(close).split(',');
      bool range = rest.take_front(close).contains(',');
      if ((low.empty() ? !range : low.getAsInteger(10, minimum)) ||
          (!high.empty() && high.getAsInteger(10, maximum)))
        return failure("malformed repetition '{" + rest.take_front(close) + "}'");
      if (!range)
        maximum = minimum;
      if (minimum > maxRepeat || (maximum > maxRepeat && maximum != PatternNode::unbounded) ||
          minimum > maximum)
        return failure("repetition '{" + rest.take_front(close) + "}' is out of range");
      position += close + 2;
      interval = true;
    } else {
      return Error::success();
    }
    if (quantified && !wasInterval)
      return failure("a quantifier of a quantifier is not supported");
    quantified = true;
    wasInterval = interval;
    bool greedy = true, possessive = false;
    if (accept("?"))
      greedy = false;
    else if (!interval && accept("+"))
      possessive = true;
    if (interval && !greedy && maximum == minimum)
      return failure("'{n}?' is not supported");
    if (atom.isAssertion())
      return failure("a repeated assertion is not supported");
    if (possessive && atom.kind != PatternNode::Set)
      return failure("a possessive quantifier of more than one character is not supported");
    PatternNode repeat;
    repeat.kind = PatternNode::Repeat;
    repeat.minimum = minimum;
    repeat.maximum = maximum;
    repeat.greedy = greedy;
    repeat.children.push_back(std::move(atom));
    atom = possessive ? makePossessive(std::move(repeat)) : std::move(repeat);
  }
}

/// What takes all it can of a set, and gives nothing back, ends where no more of the set follows:
/// S++ is S+(?!S), S?+ is (?:S|(?!S)).
PatternNode PatternParser::makePossessive(PatternNode repeat) {
  PatternNode end = besidePattern(repeat.children.front().set, false, true), result;
  if (repeat.maximum == PatternNode::unbounded) {
    result.kind = PatternNode::Concat;
    result.children = {std::move(repeat), std::move(end)};
  } else {
    result.kind = PatternNode::Alternate;
    result.children = {std::move(repeat.children.front()), std::move(end)};
  }
  return result;
}

Expected<CodePointSet> PatternParser::parseClass(bool ignoreCase, unsigned depth) {
  // The opening bracket is behind us.
  if (depth > maxDepth)
    return failure("classes are nested deeper than " + Twine(maxDepth));
  bool negated = accept("^");
  CodePointSet set;
  std::optional<CodePointSet> others; // what `&&` was after
  bool first = true;
  auto intersect = [&] {
    if (others)
      set = set.intersection(*others);
    others = std::move(set);
    set = {};
  };
  while (true) {
    if (atEnd())
      return failure("missing ']'");
    if (!first && accept("]"))
      break;
    first = false;
    if (accept("&&")) {
      intersect();
      continue;
    }
    if (pattern.substr(position).starts_with("[:"))
      return failure("the class '" + pattern.substr(position, 10) + "' is not supported");
    if (accept("[")) {
      Expected<CodePointSet> inner = parseClass(ignoreCase, depth + 1);
      if (!inner)
        return inner;
      set.add(*inner);
      continue;
    }
    // One item: an escape that is a set, or a code point which may begin a range.
    CodePointSet item;
    uint32_t low = 0;
    bool single = true;
    if (accept("\\")) {
      Expected<CodePointSet> escape = parseEscape();
      if (!escape)
        return escape;
      item = std::move(*escape);
      low = item.getRanges().front().first;
      single = item == CodePointSet(low, low);
    } else {
      low = next();
      item.add(low, low);
    }
    StringRef rest = pattern.substr(position);
    if (single && rest.size() > 1 && rest[0] == '-' && rest[1] != ']') {
      ++position;
      uint32_t high = 0;
      if (accept("\\")) {
        Expected<CodePointSet> escape = parseEscape();
        if (!escape)
          return escape;
        high = escape->getRanges().front().first;
        if (!(*escape == CodePointSet(high, high)))
          return failure("a range must end in one character");
      } else {
        high = next();
      }
      if (high < low)
        return failure("the range is empty");
      item.add(low, high);
    }
    set.add(item);
  }
  if (ignoreCase)
    if (Error error = foldCase(set))
      return error;
  if (others) {
    intersect();
    set = std::move(*others);
  }
  if (negated)
    set = set.complement();
  if (set.empty())
    return failure("the class is empty");
  return set;
}

Expected<uint32_t> PatternParser::parseHex(unsigned minDigits, unsigned maxDigits) {
  StringRef digits =
      pattern.substr(position, maxDigits).take_while([](char c) { return llvm::isHexDigit(c); });
  uint32_t value = 0;
  if (digits.size() < minDigits || digits.getAsInteger(16, value) || value > lastCodePoint)
    return failure("malformed hexadecimal escape");
  position += digits.size();
  return value;
}

Expected<CodePointSet> PatternParser::parseProperty(bool negated) {
  // \p or \P is behind us.
  if (!accept("{"))
    return failure("expected '{' after \\p");
  StringRef rest = pattern.substr(position);
  size_t close = rest.find('}');
  if (close == StringRef::npos)
    return failure("missing '}'");
  StringRef name = rest.take_front(close);
  if (name.consume_front("^"))
    negated = !negated;
  std::optional<CodePointSet> set = CodePointSet::category(name);
  if (name == "Han")
    set = unicodeProperty(name);
  if (!set)
    return failure("the property \\p{" + name + "} is not supported");
  position += close + 1;
  return negated ? set->complement() : std::move(*set);
}

Expected<CodePointSet> PatternParser::parseEscape() {
  // The backslash is behind us.
  auto single = [](uint32_t codePoint) { return CodePointSet(codePoint, codePoint); };
  if (atEnd())
    return failure("a backslash at the end");
  uint32_t c = next();
  switch (c) {
  case 's':
    return CodePointSet::whiteSpace();
  case 'S':
    return CodePointSet::whiteSpace().complement();
  case 'w':
    return wordSet();
  case 'W':
    return wordSet().complement();
  case 'd':
    return *CodePointSet::category("Nd");
  case 'D':
    return CodePointSet::category("Nd")->complement();
  case 'p':
  case 'P':
    return parseProperty(c == 'P');
  case 'n':
    return single('\n');
  case 'r':
    return single('\r');
  case 't':
    return single('\t');
  case 'f':
    return single('\f');
  case 'v':
    return single('\v');
  case 'a':
    return single('\a');
  case 'e':
    return single(0x1B);
  case 'x': {
    bool braces = accept("{");
    Expected<uint32_t> value = braces ? parseHex(1, 8) : parseHex(1, 2);
    if (!value)
      return value.takeError();
    if (braces && !accept("}"))
      return failure("missing '}'");
    if (!braces && *value > 0x7F)
      return failure("\\xHH above 7F is not supported");
    return single(*value);
  }
  case 'u': {
    Expected<uint32_t> value = parseHex(4, 4);
    if (!value)
      return value.takeError();
    return single(*value);
  }
  default:
    if (c < 0x80 && llvm::isAlnum(static_cast<char>(c))) {
      char letter = static_cast<char>(c);
      return failure("the escape '\\" + StringRef(&letter, 1) + "' is not supported");
    }
    return single(c);
  }
}

/// Adds the other case of ASCII letters, and the two characters outside ASCII that fold to one.
Error PatternParser::foldCase(CodePointSet &set) const {
  CodePointSet folded = set;
  for (auto [first, last] : set.getRanges()) {
    // Sets such as \p{L} hold both cases of everything; only lone characters are folded.
    if (first == last && first >= 0x80)
      return failure("ignoring the case of a character outside ASCII is not supported");
  }
  for (uint32_t letter = 'a'; letter <= 'z'; ++letter) {
    bool wanted = set.contains(letter) || set.contains(letter - 32);
    if (!wanted)
      continue;
    folded.add(letter, letter);
    folded.add(letter - 32, letter - 32);
    if (letter == 's')
      folded.add(0x17F, 0x17F); // LATIN SMALL LETTER LONG S
    if (letter == 'k')
      folded.add(0x212A, 0x212A); // KELVIN SIGN
  }
  set = std::move(folded);
  return Error::success();
}

} // namespace

Expected<PatternNode> kiln::tokenizer::parsePattern(StringRef pattern) {
  return PatternParser(pattern).parse();
}
