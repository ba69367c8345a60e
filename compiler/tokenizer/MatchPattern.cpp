//===- MatchPattern.cpp - Matches compiled patterns at compile time --------===//
//
// The few texts that are known at compile time, the added tokens, go through the same automata as
// the texts of a run: runtime/schema/tokenizer.fbs says how.
//
//===----------------------------------------------------------------------===//

#include "compiler/tokenizer/Pattern.h"

using namespace kiln::tokenizer;
using llvm::StringRef;

std::vector<uint8_t> Automaton::assertionBits(StringRef text) const {
  std::vector<uint8_t> bits;
  if (assertions.empty())
    return bits;
  bits.assign(text.size() + 1, 0);
  std::vector<size_t> places; // before each code point, and the end
  std::vector<uint32_t> codePointClasses;
  for (size_t position = 0; position < text.size();) {
    places.push_back(position);
    codePointClasses.push_back(classes[decodeUtf8(text, position)]);
  }
  places.push_back(text.size());
  size_t count = codePointClasses.size();
  for (size_t index = 0; index < assertions.size(); ++index) {
    const Assertion &assertion = assertions[index];
    uint32_t state = startState;
    for (size_t step = 0; step <= count; ++step) {
      size_t place = assertion.backward ? count - step : step;
      uint32_t c =
          step == count ? classCount : codePointClasses[assertion.backward ? place - 1 : place];
      size_t column = c << index | (bits[places[place]] & ((1u << index) - 1));
      uint16_t transition =
          assertion.transitions[(size_t(state) * (classCount + 1) << index) + column];
      if (transition & matchBit)
        bits[places[place]] |= 1u << index;
      state = transition & ~matchBit;
    }
  }
  return bits;
}

size_t Automaton::match(StringRef text, size_t position, llvm::ArrayRef<uint8_t> bits) const {
  size_t end = StringRef::npos, count = assertions.size();
  uint32_t state = startState;
  while (true) {
    size_t here = position;
    uint32_t c = position < text.size() ? classes[decodeUtf8(text, position)] : classCount;
    size_t column = c << count | (bits.empty() ? 0 : bits[here]);
    uint16_t transition = transitions[(size_t(state) * (classCount + 1) << count) + column];
    if (transition & matchBit)
      end = here;
    state = transition & ~matchBit;
    if (state == 0)
      return end;
  }
}

std::string Automaton::replaceAll(StringRef text, StringRef replacement, size_t maxBytes) const {
  std::string result;
  std::vector<uint8_t> bits = assertionBits(text);
  for (size_t position = 0; position < text.size() && result.size() <= maxBytes;) {
    size_t end = match(text, position, bits);
    if (end != StringRef::npos) {
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
