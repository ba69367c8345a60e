//===- PatternProgram.cpp - A pattern as a nondeterministic program --------===//
//
// Writes a pattern as instructions of Pike's machine. Lookahead for one code point is an
// instruction, since the machine knows the next code point. Any other assertion becomes a program
// of its own that is run over a whole piece of text beforehand, lookahead from its end to its
// beginning over the mirrored pattern, so that one pass tells for every place whether the assertion
// holds there; the pattern only asks for that bit.
//
//===----------------------------------------------------------------------===//

#include "compiler/tokenizer/PatternProgram.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/Twine.h"

using namespace kiln::tokenizer;
using llvm::Expected;

namespace {

constexpr size_t maxInstructions = 20000;
constexpr size_t maxSets = 1024;
/// The columns of a table double with each.
constexpr size_t maxAssertions = 6;

class ProgramWriter {
public:
  PatternProgram program;
  std::string problem;

  void write(const PatternNode &pattern, bool mirrored) {
    program.entry = emit(pattern, add({Instruction::Match}), mirrored ? Mirrored : Forward);
  }

private:
  enum Direction { Forward, Mirrored };

  bool failed() const { return !problem.empty(); }

  uint32_t add(Instruction instruction) {
    if (program.code.size() >= maxInstructions) {
      problem =
          ("the pattern needs more than " + llvm::Twine(maxInstructions) + " instructions").str();
      return 0;
    }
    program.code.push_back(instruction);
    return static_cast<uint32_t>(program.code.size() - 1);
  }

  uint32_t setIndex(const CodePointSet &set) {
    auto it = llvm::find(program.sets, set);
    if (it != program.sets.end())
      return static_cast<uint32_t>(it - program.sets.begin());
    if (program.sets.size() == maxSets) {
      problem = ("the pattern needs more than " + llvm::Twine(maxSets) + " classes").str();
      return 0;
    }
    program.sets.push_back(set);
    return static_cast<uint32_t>(program.sets.size() - 1);
  }

  /// The number of the assertion that the node makes (or, if it is negative, denies).
  uint32_t assertionIndex(const PatternNode &node) {
    PatternNode inner =
        node.kind == PatternNode::Assertion ? node.children.front() : setPattern(node.set);
    bool backward = !node.behind;
    for (size_t i = 0; i < known.size(); ++i)
      if (program.assertions[i].backward == backward && known[i] == inner)
        return static_cast<uint32_t>(i);
    uint32_t entry = emit(inner, add({Instruction::Match}), backward ? Mirrored : Forward);
    if (program.assertions.size() == maxAssertions) {
      problem = ("the pattern needs more than " + llvm::Twine(maxAssertions) +
                 " assertions of more than the next character")
                    .str();
      return 0;
    }
    program.assertions.push_back({entry, backward});
    known.push_back(std::move(inner));
    return static_cast<uint32_t>(program.assertions.size() - 1);
  }

  /// Writes code for `node` that goes on at `next`; returns where it begins.
  uint32_t emit(const PatternNode &node, uint32_t next, Direction direction) {
    if (failed())
      return 0;
    switch (node.kind) {
    case PatternNode::Empty:
      return next;
    case PatternNode::Set:
      return add({Instruction::Consume, setIndex(node.set), next});
    case PatternNode::LookAhead:
      if (direction == Forward)
        return add({node.negative ? Instruction::NegativeLookAhead : Instruction::LookAhead,
                    setIndex(node.set), next});
      [[fallthrough]];
    case PatternNode::Assertion:
      return add({node.negative ? Instruction::NegativeBit : Instruction::Bit, assertionIndex(node),
                  next});
    case PatternNode::Concat:
      if (direction == Forward)
        for (const PatternNode &child : llvm::reverse(node.children))
          next = emit(child, next, direction);
      else
        for (const PatternNode &child : node.children)
          next = emit(child, next, direction);
      return next;
    case PatternNode::Alternate: {
      uint32_t start = emit(node.children.back(), next, direction);
      for (const PatternNode &child : llvm::reverse(llvm::drop_end(node.children)))
        start = fork(emit(child, next, direction), start, true);
      return start;
    }
    case PatternNode::Repeat:
      return emitRepeat(node, next, direction);
    }
    return next;
  }

  uint32_t emitRepeat(const PatternNode &node, uint32_t next, Direction direction) {
    const PatternNode &child = node.children.front();
    uint32_t start = next;
    if (node.maximum == PatternNode::unbounded) {
      uint32_t loop = fork(0, 0, true);
      uint32_t body = emit(child, loop, direction);
      if (failed())
        return 0;
      program.code[loop].first = node.greedy ? body : next;
      program.code[loop].second = node.greedy ? next : body;
      start = loop;
    } else {
      for (uint32_t i = node.minimum; i < node.maximum && !failed(); ++i)
        start = fork(emit(child, start, direction), next, node.greedy);
    }
    for (uint32_t i = 0; i < node.minimum && !failed(); ++i)
      start = emit(child, start, direction);
    return start;
  }

  uint32_t fork(uint32_t body, uint32_t exit, bool greedy) {
    return add({Instruction::Fork, 0, greedy ? body : exit, greedy ? exit : body});
  }

  std::vector<PatternNode> known; // what the assertions look for
};

} // namespace

Expected<PatternProgram> PatternProgram::write(const PatternNode &pattern, bool mirrored) {
  ProgramWriter writer;
  writer.write(pattern, mirrored);
  if (!writer.problem.empty())
    return llvm::createStringError(writer.problem);
  return std::move(writer.program);
}
