//===- PatternProgram.h - A pattern as a nondeterministic program ----------===//

#ifndef KILN_COMPILER_TOKENIZER_PATTERNPROGRAM_H
#define KILN_COMPILER_TOKENIZER_PATTERNPROGRAM_H

#include "compiler/tokenizer/Pattern.h"

namespace kiln::tokenizer {

struct Instruction {
  /// Bit asks what an assertion says about the position between two code points.
  enum Kind { Consume, LookAhead, NegativeLookAhead, Bit, NegativeBit, Fork, Match } kind;
  uint32_t operand = 0; // Consume and lookahead: the set; bits: the assertion
  uint32_t first = 0;   // the continuation; the preferred one of a Fork
  uint32_t second = 0;  // Fork
};

/// Where the code of an assertion begins, and how it is to be run: over the whole piece, matches
/// may begin everywhere.
struct AssertionCode {
  uint32_t entry = 0;
  bool backward = false; // from the end to the beginning, the code is that of the mirrored pattern
};

/// A pattern as instructions, one of which each thread is at: the pattern itself from `entry`, and
/// what it asserts of places. Code of an assertion asks for bits of those before it only.
struct PatternProgram {
  std::vector<Instruction> code;
  std::vector<CodePointSet> sets;
  std::vector<AssertionCode> assertions;
  uint32_t entry = 0;

  /// `mirrored`: for reading text from the end to the beginning.
  static llvm::Expected<PatternProgram> write(const PatternNode &pattern, bool mirrored);
};

} // namespace kiln::tokenizer

#endif // KILN_COMPILER_TOKENIZER_PATTERNPROGRAM_H
