//===- Pattern.h - Regular expressions as automata -------------------------===//

#ifndef KILN_COMPILER_TOKENIZER_PATTERN_H
#define KILN_COMPILER_TOKENIZER_PATTERN_H

#include "compiler/tokenizer/PagedTable.h"

#include "llvm/Support/Error.h"

#include <memory>

namespace kiln::tokenizer {

/// A node of a parsed pattern.
struct PatternNode {
  enum Kind { Empty, Set, LookAhead, NegativeLookAhead, Concat, Alternate, Repeat } kind = Empty;
  CodePointSet set;                  // Set, LookAhead, NegativeLookAhead: one code point
  std::vector<PatternNode> children; // Concat, Alternate, Repeat (one)
  uint32_t minimum = 0, maximum = 0; // Repeat
  bool greedy = true;                // Repeat
  static constexpr uint32_t unbounded = UINT32_MAX;
};

/// Parses the part of Oniguruma's syntax that tokenizers use: alternatives, groups `(...)`,
/// `(?:...)`,
/// `(?i:...)`, quantifiers (greedy, lazy; possessive for one code point), classes with `&&`,
/// `\p{..}` of general categories, `\s \d \w \r \n …`, `$`, and lookahead for one code point.
/// Anything else is an error that names it.
llvm::Expected<PatternNode> parsePattern(llvm::StringRef pattern);
/// Patterns that are made, not parsed: one code point of a set, a greedy repetition, and a Concat
/// or an Alternate.
PatternNode setPattern(CodePointSet set);
PatternNode repeatPattern(PatternNode child, uint32_t minimum,
                          uint32_t maximum = PatternNode::unbounded);
PatternNode listPattern(PatternNode::Kind kind, std::vector<PatternNode> children);
/// The pattern that matches this text and nothing else.
PatternNode literalPattern(llvm::StringRef text);

/// A pattern compiled to the table of runtime/schema/tokenizer.fbs.
struct Automaton {
  uint32_t classCount = 0;
  PagedTable<uint8_t> classes;
  std::vector<uint16_t> transitions;

  static constexpr uint16_t startState = 1;
  static constexpr uint16_t matchBit = 0x8000;

  /// The end of the match that begins at `position`, or npos.
  size_t match(llvm::StringRef text, size_t position) const;
  /// `text` with every match replaced; cut off where it gets longer than maxBytes.
  std::string replaceAll(llvm::StringRef text, llvm::StringRef replacement, size_t maxBytes) const;
};

/// Fails where the pattern can match nothing at all (the empty text) or needs too many states.
llvm::Expected<Automaton> compilePattern(const PatternNode &pattern);

} // namespace kiln::tokenizer

#endif // KILN_COMPILER_TOKENIZER_PATTERN_H
