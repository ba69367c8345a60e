//===- CompilePattern.cpp - Turns a pattern into a table -------------------===//
//
// Tokenizers depend on which of several alternatives a backtracking matcher takes: the first that
// succeeds, not the longest. The pattern becomes a nondeterministic program whose threads are
// ordered by preference (Pike's machine), and subset construction over *ordered* lists of threads
// gives a deterministic automaton with exactly those answers: when a thread matches, the threads
// after it are cut. Epsilon steps are taken when the next code point's class is known, so that
// lookahead for one code point, `(?!\S)`, costs nothing at run time. See R. Cox, "Regular
// Expression Matching: the Virtual Machine Approach".
//
//===----------------------------------------------------------------------===//

#include "compiler/tokenizer/Pattern.h"

#include "llvm/ADT/STLExtras.h"

#include <algorithm>
#include <map>

using namespace kiln::tokenizer;
using llvm::Error;
using llvm::Expected;

namespace {

constexpr size_t maxInstructions = 20000;
constexpr size_t maxStates = 8192;
constexpr size_t maxClasses = 255;
constexpr size_t maxSets = 1024;
/// Bounds the time that a hostile pattern can take, in elementary steps.
constexpr uint64_t maxWork = 50'000'000;

struct Instruction {
  enum Kind { Consume, LookAhead, NegativeLookAhead, Fork, Match } kind;
  uint32_t set = 0;    // Consume and lookahead: index of the set
  uint32_t first = 0;  // the continuation; the preferred one of a Fork
  uint32_t second = 0; // Fork
};

struct Program {
  std::vector<Instruction> code;
  std::vector<CodePointSet> sets;
  bool overflow = false;

  uint32_t add(Instruction instruction) {
    if (code.size() >= maxInstructions) {
      overflow = true;
      return 0;
    }
    code.push_back(instruction);
    return static_cast<uint32_t>(code.size() - 1);
  }

  uint32_t setIndex(const CodePointSet &set) {
    auto it = llvm::find(sets, set);
    if (it != sets.end())
      return static_cast<uint32_t>(it - sets.begin());
    if (sets.size() == maxSets) {
      overflow = true;
      return 0;
    }
    sets.push_back(set);
    return static_cast<uint32_t>(sets.size() - 1);
  }

  /// Writes code for `node` that goes on at `next`; returns where it begins.
  uint32_t emit(const PatternNode &node, uint32_t next) {
    if (overflow)
      return 0;
    switch (node.kind) {
    case PatternNode::Empty:
      return next;
    case PatternNode::Set:
      return add({Instruction::Consume, setIndex(node.set), next, 0});
    case PatternNode::LookAhead:
      return add({Instruction::LookAhead, setIndex(node.set), next, 0});
    case PatternNode::NegativeLookAhead:
      return add({Instruction::NegativeLookAhead, setIndex(node.set), next, 0});
    case PatternNode::Concat:
      for (const PatternNode &child : llvm::reverse(node.children))
        next = emit(child, next);
      return next;
    case PatternNode::Alternate: {
      uint32_t start = emit(node.children.back(), next);
      for (const PatternNode &child : llvm::reverse(llvm::drop_end(node.children)))
        start = fork(emit(child, next), start, true);
      return start;
    }
    case PatternNode::Repeat: {
      const PatternNode &child = node.children.front();
      uint32_t start = next;
      if (node.maximum == PatternNode::unbounded) {
        uint32_t loop = fork(0, 0, true);
        uint32_t body = emit(child, loop);
        if (overflow)
          return 0;
        code[loop].first = node.greedy ? body : next;
        code[loop].second = node.greedy ? next : body;
        start = loop;
      } else {
        for (uint32_t i = node.minimum; i < node.maximum && !overflow; ++i)
          start = fork(emit(child, start), next, node.greedy);
      }
      for (uint32_t i = 0; i < node.minimum && !overflow; ++i)
        start = emit(child, start);
      return start;
    }
    }
    return next;
  }

private:
  uint32_t fork(uint32_t body, uint32_t exit, bool greedy) {
    return add({Instruction::Fork, 0, greedy ? body : exit, greedy ? exit : body});
  }
};

/// Code points that no set of the program tells apart share a class.
struct Classes {
  std::vector<uint32_t> starts;
  std::vector<uint8_t> classes;
  std::vector<std::vector<bool>> members; // [class][set]
};

bool partition(const Program &program, Classes &result) {
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

/// Follows forks and lookahead from the threads of a state, most preferred first, knowing the class
/// of the next code point (or that there is none).
class Closure {
public:
  Closure(const Program &program) : program(program), seen(program.code.size()) {}

  /// The threads that may consume, up to the first that matches.
  bool run(llvm::ArrayRef<uint32_t> threads, const std::vector<bool> *members,
           std::vector<uint32_t> &consuming) {
    seen.assign(seen.size(), false);
    work += seen.size() / 64 + 1;
    consuming.clear();
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
        bool inSet = members && instruction.kind != Instruction::Fork &&
                     instruction.kind != Instruction::Match && (*members)[instruction.set];
        switch (instruction.kind) {
        case Instruction::Match:
          return true;
        case Instruction::Fork:
          stack.push_back(instruction.second);
          stack.push_back(instruction.first);
          break;
        case Instruction::LookAhead:
          if (inSet)
            stack.push_back(instruction.first);
          break;
        case Instruction::NegativeLookAhead:
          if (!inSet)
            stack.push_back(instruction.first);
          break;
        case Instruction::Consume:
          if (inSet)
            consuming.push_back(instruction.first);
          break;
        }
      }
    }
    return false;
  }

  uint64_t work = 0;

private:
  const Program &program;
  std::vector<bool> seen;
};

} // namespace

Expected<Automaton> kiln::tokenizer::compilePattern(const PatternNode &pattern) {
  Program program;
  uint32_t match = program.add({Instruction::Match});
  uint32_t entry = program.emit(pattern, match);
  if (program.overflow)
    return llvm::createStringError("the pattern needs more than " + llvm::Twine(maxInstructions) +
                                   " instructions or " + llvm::Twine(maxSets) + " classes");
  Classes classes;
  if (!partition(program, classes))
    return llvm::createStringError("the pattern tells apart more than " + llvm::Twine(maxClasses) +
                                   " classes of characters");

  Automaton automaton;
  automaton.classCount = static_cast<uint32_t>(classes.members.size());
  automaton.classes = makePagedTable<uint8_t>(classes.starts, classes.classes);

  // State 0 has no threads; state 1 is the start.
  std::vector<std::vector<uint32_t>> states = {{}, {entry}};
  std::map<std::vector<uint32_t>, uint16_t> known = {{states[0], 0}, {states[1], 1}};
  Closure closure(program);
  for (size_t state = 0; state < states.size(); ++state) {
    for (uint32_t c = 0; c <= automaton.classCount; ++c) {
      const std::vector<bool> *members = c < automaton.classCount ? &classes.members[c] : nullptr;
      std::vector<uint32_t> threads, target;
      bool matched = closure.run(states[state], members, threads);
      closure.work += threads.size() * threads.size() / 8;
      if (closure.work > maxWork)
        return llvm::createStringError("the pattern is too complex");
      if (matched && state == Automaton::startState)
        return llvm::createStringError("the pattern can match an empty text");
      for (uint32_t thread : threads)
        if (!llvm::is_contained(target, thread))
          target.push_back(thread);
      auto [it, inserted] = known.try_emplace(target, static_cast<uint16_t>(states.size()));
      if (inserted) {
        if (states.size() == maxStates)
          return llvm::createStringError("the pattern needs more than " + llvm::Twine(maxStates) +
                                         " states");
        states.push_back(target);
      }
      automaton.transitions.push_back(it->second | (matched ? Automaton::matchBit : 0));
    }
  }
  return automaton;
}

size_t Automaton::match(llvm::StringRef text, size_t position) const {
  size_t end = llvm::StringRef::npos;
  uint32_t state = startState;
  while (true) {
    size_t here = position;
    uint32_t c = position < text.size() ? classes[decodeUtf8(text, position)] : classCount;
    uint16_t transition = transitions[state * (classCount + 1) + c];
    if (transition & matchBit)
      end = here;
    state = transition & ~matchBit;
    if (state == 0)
      return end;
  }
}

std::string Automaton::replaceAll(llvm::StringRef text, llvm::StringRef replacement,
                                  size_t maxBytes) const {
  std::string result;
  for (size_t position = 0; position < text.size() && result.size() <= maxBytes;) {
    size_t end = match(text, position);
    if (end != llvm::StringRef::npos) {
      result += replacement;
      position = end;
      continue;
    }
    size_t start = position;
    decodeUtf8(text, position);
    result += text.slice(start, position);
  }
  return result;
}
