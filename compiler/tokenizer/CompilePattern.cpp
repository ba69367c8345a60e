//===- CompilePattern.cpp - Turns a pattern into tables --------------------===//
//
// Tokenizers depend on which of several alternatives a backtracking matcher takes: the first that
// succeeds, not the longest. The pattern becomes a nondeterministic program whose threads are
// ordered by preference (Pike's machine), and subset construction over *ordered* lists of threads
// gives a deterministic automaton with exactly those answers: when a thread matches, the threads
// after it are cut. Epsilon steps are taken when the next code point's class is known, so that
// lookahead for one code point, `(?!\S)`, costs nothing at run time; other assertions are automata
// of their own, whose answers are part of what is known. See R. Cox, "Regular Expression Matching:
// the Virtual Machine Approach".
//
//===----------------------------------------------------------------------===//

#include "compiler/tokenizer/PatternProgram.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/Twine.h"

#include <algorithm>
#include <map>

using namespace kiln::tokenizer;
using llvm::Error;
using llvm::Expected;

namespace {

constexpr size_t maxStates = 8192;
constexpr size_t maxTransitions = 1u << 21;
constexpr size_t maxClasses = 255;
/// Bounds the time that a hostile pattern can take, in elementary steps.
constexpr uint64_t maxWork = 50'000'000;

/// Code points that no set of the program tells apart share a class.
struct Classes {
  std::vector<uint32_t> starts;
  std::vector<uint8_t> classes;
  std::vector<std::vector<bool>> members; // [class][set]
};

bool partition(const PatternProgram &program, Classes &result) {
  std::vector<uint32_t> starts = {0};
  for (const CodePointSet &set : program.sets)
    for (auto [first, last] : set.getRanges()) {
      starts.push_back(first);
      if (last < lastCodePoint)
        starts.push_back(last + 1);
    }
  llvm::sort(starts);
  starts.erase(std::unique(starts.begin(), starts.end()), starts.end());
  std::map<std::vector<bool>, uint8_t> known;
  for (uint32_t start : starts) {
    std::vector<bool> member(program.sets.size());
    for (size_t i = 0; i < member.size(); ++i)
      member[i] = program.sets[i].contains(start);
    auto it = known.find(member);
    if (it == known.end()) {
      if (known.size() == maxClasses)
        return false;
      it = known.emplace(member, static_cast<uint8_t>(known.size())).first;
      result.members.push_back(member);
    }
    if (!result.classes.empty() && result.classes.back() == it->second)
      continue;
    result.starts.push_back(start);
    result.classes.push_back(it->second);
  }
  return true;
}

/// What is known at a place: the class of the next code point (null at the end) and the assertions.
struct Place {
  const std::vector<bool> *members;
  uint32_t bits;
};

/// Follows forks and assertions from the threads of a state, most preferred first.
class Closure {
public:
  Closure(const PatternProgram &program, uint64_t &work)
      : program(program), seen(program.code.size()), work(work) {}

  /// The threads that may consume, up to the first that matches or, with `all`, all of them;
  /// whether one matches.
  bool run(llvm::ArrayRef<uint32_t> threads, Place place, bool all,
           std::vector<uint32_t> &consuming) {
    seen.assign(seen.size(), false);
    work += seen.size() / 64 + 1;
    consuming.clear();
    bool matched = false;
    std::vector<uint32_t> stack;
    for (uint32_t thread : threads) {
      stack.push_back(thread);
      while (!stack.empty()) {
        uint32_t at = stack.back();
        stack.pop_back();
        if (seen[at])
          continue;
        seen[at] = true;
        ++work;
        const Instruction &instruction = program.code[at];
        auto inSet = [&] { return place.members && (*place.members)[instruction.operand]; };
        auto bit = [&] { return (place.bits >> instruction.operand & 1) != 0; };
        bool goesOn = false;
        switch (instruction.kind) {
        case Instruction::Match:
          if (!all)
            return true;
          matched = true;
          break;
        case Instruction::Fork:
          stack.push_back(instruction.second);
          goesOn = true;
          break;
        case Instruction::LookAhead:
          goesOn = inSet();
          break;
        case Instruction::NegativeLookAhead:
          goesOn = !inSet();
          break;
        case Instruction::Bit:
          goesOn = bit();
          break;
        case Instruction::NegativeBit:
          goesOn = !bit();
          break;
        case Instruction::Consume:
          if (inSet())
            consuming.push_back(instruction.first);
          break;
        }
        if (goesOn)
          stack.push_back(instruction.first);
      }
    }
    return matched;
  }

private:
  const PatternProgram &program;
  std::vector<bool> seen;
  uint64_t &work;
};

/// Subset construction over the programs of one pattern.
class TableBuilder {
public:
  TableBuilder(const PatternProgram &program, const Classes &classes)
      : classes(classes), closure(program, work) {}

  /// The table of what begins at `entry` and sees the first `bitCount` assertions. `everywhere`:
  /// whether a match that may have begun anywhere ends here, for assertions.
  Expected<std::vector<uint16_t>> build(uint32_t entry, size_t bitCount, bool everywhere);

private:
  const Classes &classes;
  uint64_t work = 0;
  Closure closure;
};

Expected<std::vector<uint16_t>> TableBuilder::build(uint32_t entry, size_t bitCount,
                                                    bool everywhere) {
  // State 0 has no threads; state 1 is the start.
  std::vector<std::vector<uint32_t>> states = {{}, {entry}};
  std::map<std::vector<uint32_t>, uint16_t> known = {{states[0], 0}, {states[1], 1}};
  std::vector<uint16_t> transitions;
  size_t classCount = classes.members.size(), columns = (classCount + 1) << bitCount;
  for (size_t state = 0; state < states.size(); ++state) {
    for (size_t column = 0; column < columns; ++column) {
      size_t c = column >> bitCount;
      Place place = {c < classCount ? &classes.members[c] : nullptr,
                     static_cast<uint32_t>(column & ((size_t(1) << bitCount) - 1))};
      std::vector<uint32_t> threads, target;
      bool matched = closure.run(states[state], place, everywhere, threads);
      work += threads.size() * threads.size() / 8;
      if (work > maxWork)
        return llvm::createStringError("the pattern is too complex");
      if (everywhere)
        threads.push_back(entry);
      for (uint32_t thread : threads)
        if (!llvm::is_contained(target, thread))
          target.push_back(thread);
      auto [it, inserted] = known.try_emplace(target, static_cast<uint16_t>(states.size()));
      if (inserted) {
        if (states.size() == maxStates || states.size() * columns > maxTransitions)
          return llvm::createStringError("the pattern needs more than " + llvm::Twine(maxStates) +
                                         " states or " + llvm::Twine(maxTransitions) +
                                         " transitions");
        states.push_back(target);
      }
      transitions.push_back(it->second | (matched ? Automaton::matchBit : 0));
    }
  }
  return transitions;
}

/// The classes of a program, the tables of its assertions and of the pattern itself.
Expected<Automaton> buildAutomaton(const PatternProgram &program, bool everywhere) {
  Classes classes;
  if (!partition(program, classes))
    return llvm::createStringError("the pattern tells apart more than " + llvm::Twine(maxClasses) +
                                   " classes of characters");
  Automaton automaton;
  automaton.classCount = static_cast<uint32_t>(classes.members.size());
  automaton.classes = makePagedTable<uint8_t>(classes.starts, classes.classes);
  TableBuilder builder(program, classes);
  for (auto [index, assertion] : llvm::enumerate(program.assertions)) {
    auto table = builder.build(assertion.entry, index, true);
    if (!table)
      return table.takeError();
    automaton.assertions.push_back({assertion.backward, std::move(*table)});
  }
  auto table = builder.build(program.entry, program.assertions.size(), everywhere);
  if (!table)
    return table.takeError();
  automaton.transitions = std::move(*table);
  return automaton;
}

/// Whether a search can go through any amount of text, find no match, and go through it again from
/// the next place: whether there is a cycle that steps from the start lead to without a match.
bool canFailLate(const Automaton &automaton) {
  size_t columns = (automaton.classCount + 1) << automaton.assertions.size();
  enum Mark : uint8_t { New, Open, Done };
  std::vector<Mark> marks(automaton.transitions.size() / columns, New);
  struct Visit {
    size_t state, column;
  };
  std::vector<Visit> path = {{Automaton::startState, 0}};
  marks[Automaton::startState] = Open;
  while (!path.empty()) {
    Visit &visit = path.back();
    if (visit.column == columns) {
      marks[visit.state] = Done;
      path.pop_back();
      continue;
    }
    uint16_t target = automaton.transitions[visit.state * columns + visit.column++];
    if (target == 0 || (target & Automaton::matchBit) || marks[target] == Done)
      continue;
    if (marks[target] == Open)
      return true;
    marks[target] = Open;
    path.push_back({target, 0});
  }
  return false;
}

} // namespace

Expected<Automaton> kiln::tokenizer::compilePattern(const PatternNode &pattern) {
  Expected<PatternProgram> program = PatternProgram::write(pattern, /*mirrored=*/false);
  if (!program)
    return program.takeError();
  Expected<Automaton> automaton = buildAutomaton(*program, /*everywhere=*/false);
  if (!automaton)
    return automaton;
  size_t columns = (automaton->classCount + 1) << automaton->assertions.size();
  for (size_t column = 0; column < columns; ++column)
    if (automaton->transitions[Automaton::startState * columns + column] & Automaton::matchBit)
      return llvm::createStringError("the pattern can match an empty text");
  if (!canFailLate(*automaton))
    return automaton;
  // Without, where it gets too large, a hostile text takes longer.
  auto mirrored = PatternProgram::write(pattern, /*mirrored=*/true);
  auto starts = mirrored ? buildAutomaton(*mirrored, /*everywhere=*/true)
                         : Expected<Automaton>(mirrored.takeError());
  if (starts)
    automaton->starts = std::make_shared<const Automaton>(std::move(*starts));
  else
    llvm::consumeError(starts.takeError());
  return automaton;
}
