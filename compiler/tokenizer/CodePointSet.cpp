//===- CodePointSet.cpp - Sets of Unicode code points ----------------------===//
//
// Patterns speak of sets of code points: \p{L}, \s, [^\r\n]. This file does the set algebra on
// sorted ranges and knows the general category of every code point from a generated table.
//
//===----------------------------------------------------------------------===//

#include "compiler/tokenizer/CodePointSet.h"

#include "llvm/ADT/STLExtras.h"

#include <algorithm>

using namespace kiln::tokenizer;

namespace {
struct CategoryRange {
  uint32_t first;
  char category[3];
};
constexpr CategoryRange categoryRanges[] = {
#define CATEGORY_RANGE(first, category) {first, #category},
#include "compiler/tokenizer/UnicodeCategories.inc"
#undef CATEGORY_RANGE
};
} // namespace

void CodePointSet::add(uint32_t first, uint32_t last) {
  auto begin = llvm::lower_bound(ranges, first, [](const Range &range, uint32_t value) {
    return range.second + 1 < value; // neighbours are joined
  });
  auto end = begin;
  for (; end != ranges.end() && end->first <= last + 1; ++end) {
    first = std::min(first, end->first);
    last = std::max(last, end->second);
  }
  begin = ranges.erase(begin, end);
  ranges.insert(begin, {first, last});
}

void CodePointSet::add(const CodePointSet &other) {
  for (auto [first, last] : other.ranges)
    add(first, last);
}

CodePointSet CodePointSet::complement() const {
  CodePointSet result;
  uint32_t next = 0;
  for (auto [first, last] : ranges) {
    if (next < first)
      result.ranges.push_back({next, first - 1});
    next = last + 1;
  }
  if (next <= lastCodePoint)
    result.ranges.push_back({next, lastCodePoint});
  return result;
}

CodePointSet CodePointSet::intersection(const CodePointSet &other) const {
  CodePointSet outside = complement();
  outside.add(other.complement());
  return outside.complement();
}

bool CodePointSet::contains(uint32_t codePoint) const {
  auto it = llvm::lower_bound(
      ranges, codePoint, [](const Range &range, uint32_t value) { return range.second < value; });
  return it != ranges.end() && it->first <= codePoint;
}

std::optional<CodePointSet> CodePointSet::category(llvm::StringRef name) {
  if (name.empty() || name.size() > 2)
    return std::nullopt;
  CodePointSet result;
  for (size_t i = 0; i < std::size(categoryRanges); ++i) {
    const CategoryRange &range = categoryRanges[i];
    if (!llvm::StringRef(range.category).starts_with_insensitive(name))
      continue;
    uint32_t last =
        i + 1 < std::size(categoryRanges) ? categoryRanges[i + 1].first - 1 : lastCodePoint;
    result.add(range.first, last);
  }
  if (result.empty())
    return std::nullopt;
  return result;
}

CodePointSet CodePointSet::whiteSpace() {
  CodePointSet result(0x09, 0x0D);
  result.add(0x85, 0x85);
  result.add(*category("Z"));
  return result;
}

CodePointSet CodePointSet::word() {
  CodePointSet result;
  for (llvm::StringRef name : {"L", "M", "Nd", "Nl", "Pc"})
    result.add(*category(name));
  // Joiners, and letters in circles and squares.
  constexpr Range others[] = {{0x200C, 0x200D},
                              {0x24B6, 0x24E9},
                              {0x1F130, 0x1F149},
                              {0x1F150, 0x1F169},
                              {0x1F170, 0x1F189}};
  for (auto [first, last] : others)
    result.add(first, last);
  return result;
}

uint32_t kiln::tokenizer::decodeUtf8(llvm::StringRef text, size_t &position) {
  auto byte = [&](size_t i) -> uint32_t {
    return position + i < text.size() ? static_cast<uint8_t>(text[position + i]) : 0;
  };
  auto follows = [&](size_t i) { return (byte(i) & 0xC0) == 0x80; };
  uint32_t lead = byte(0);
  uint32_t codePoint = 0xFFFD;
  size_t length = 1;
  if (lead < 0x80) {
    codePoint = lead;
  } else if (lead >= 0xC2 && lead < 0xE0 && follows(1)) {
    codePoint = (lead & 0x1F) << 6 | (byte(1) & 0x3F);
    length = 2;
  } else if (lead >= 0xE0 && lead < 0xF0 && follows(1) && follows(2)) {
    uint32_t value = (lead & 0x0F) << 12 | (byte(1) & 0x3F) << 6 | (byte(2) & 0x3F);
    if (value >= 0x800 && (value < 0xD800 || value > 0xDFFF)) {
      codePoint = value;
      length = 3;
    }
  } else if (lead >= 0xF0 && lead < 0xF5 && follows(1) && follows(2) && follows(3)) {
    uint32_t value =
        (lead & 0x07) << 18 | (byte(1) & 0x3F) << 12 | (byte(2) & 0x3F) << 6 | (byte(3) & 0x3F);
    if (value >= 0x10000 && value <= lastCodePoint) {
      codePoint = value;
      length = 4;
    }
  }
  position += length;
  return codePoint;
}

void kiln::tokenizer::appendUtf8(uint32_t codePoint, std::string &text) {
  auto put = [&](uint32_t byte) { text.push_back(static_cast<char>(byte)); };
  if (codePoint < 0x80) {
    put(codePoint);
  } else if (codePoint < 0x800) {
    put(0xC0 | codePoint >> 6);
    put(0x80 | (codePoint & 0x3F));
  } else if (codePoint < 0x10000) {
    put(0xE0 | codePoint >> 12);
    put(0x80 | (codePoint >> 6 & 0x3F));
    put(0x80 | (codePoint & 0x3F));
  } else {
    put(0xF0 | codePoint >> 18);
    put(0x80 | (codePoint >> 12 & 0x3F));
    put(0x80 | (codePoint >> 6 & 0x3F));
    put(0x80 | (codePoint & 0x3F));
  }
}
