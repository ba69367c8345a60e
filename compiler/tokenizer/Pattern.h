//===- Pattern.h - Regular expressions as automata -------------------------===//

#ifndef KILN_COMPILER_TOKENIZER_PATTERN_H
#define KILN_COMPILER_TOKENIZER_PATTERN_H

#include "compiler/tokenizer/PagedTable.h"

#include "llvm/Support/Error.h"

#include <memory>

namespace kiln::tokenizer {

/// A node of a parsed pattern.
struct PatternNode {
  enum Kind { Empty, Set, LookAhead, Assertion, Concat, Alternate, Repeat } kind = Empty;
  CodePointSet set;                  // Set, LookAhead: one code point
  std::vector<PatternNode> children; // Concat, Alternate, Repeat and Assertion (one)
  bool negative = false;             // LookAhead, Assertion: that it does not match
  bool behind = false;               // Assertion: a match ends here; else one begins here
  uint32_t minimum = 0, maximum = 0; // Repeat
  bool greedy = true;                // Repeat
  static constexpr uint32_t unbounded = UINT32_MAX;

  bool operator==(const PatternNode &other) const;
  bool isAssertion() const { return kind == LookAhead || kind == Assertion; }
  /// Whether it is made of assertions only, so that all its matches are empty.
  bool takesNothing() const;
};

/// Parses the part of Oniguruma's syntax that tokenizers use: alternatives, groups `(...)`,
/// `(?:...)`, `(?i:...)`, quantifiers (greedy, lazy; possessive for one code point), classes with
/// `&&`, `\p{..}` of general categories, `\s \d \w \r \n …`, lookahead and lookbehind, `^ $ \b \B
/// \A \z`. Anything else is an error that names it.
llvm::Expected<PatternNode> parsePattern(llvm::StringRef pattern);
/// Patterns that are made, not parsed: one code point of a set, a greedy repetition, and a Concat
/// or an Alternate.
PatternNode setPattern(CodePointSet set);
/// That the next (or, with `behind`, the last) code point is of the set.
PatternNode besidePattern(CodePointSet set, bool behind, bool negative);
PatternNode repeatPattern(PatternNode child, uint32_t minimum,
                          uint32_t maximum = PatternNode::unbounded);
PatternNode listPattern(PatternNode::Kind kind, std::vector<PatternNode> children);
/// The pattern that matches this text and nothing else.
PatternNode literalPattern(llvm::StringRef text);

/// A pattern compiled to the tables of runtime/schema/tokenizer.fbs.
struct Automaton {
  struct Assertion {
    bool backward = false;
    std::vector<uint16_t> transitions;
  };

  uint32_t classCount = 0;
  PagedTable<uint8_t> classes;
  std::vector<Assertion> assertions;
  std::vector<uint16_t> transitions;
  /// Where matches begin, as the only assertion of an automaton of its own; null where looking for
  /// matches takes linear time without.
  std::shared_ptr<const Automaton> starts;

  static constexpr uint16_t startState = 1;
  static constexpr uint16_t matchBit = 0x8000;

  /// For each place of the text (one more than it has bytes) what the assertions say, one bit each.
  std::vector<uint8_t> assertionBits(llvm::StringRef text) const;
  /// The end of the match that begins at `position`, or npos; with the bits of the text.
  size_t match(llvm::StringRef text, size_t position, llvm::ArrayRef<uint8_t> bits) const;
  /// `text` with every match replaced; cut off where it gets longer than maxBytes.
  std::string replaceAll(llvm::StringRef text, llvm::StringRef replacement, size_t maxBytes) const;
};

/// Fails where the pattern can match nothing at all (the empty text) or needs too many states.
llvm::Expected<Automaton> compilePattern(const PatternNode &pattern);

/// The pattern whose matches are what lies between two places where this one, which takes nothing,
/// holds.
PatternNode betweenPlaces(PatternNode place);

} // namespace kiln::tokenizer

#endif // KILN_COMPILER_TOKENIZER_PATTERN_H
