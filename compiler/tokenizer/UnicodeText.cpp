//===- UnicodeText.cpp - Normalization forms, case, accents ----------------===//
//
// What the Unicode Character Database says about the texts that normalizers write, from generated
// tables: decompositions, combining classes, lower case. It makes the tables that the runtime works
// with, and normalizes the few texts that are known at compile time. See UAX #15.
//
//===----------------------------------------------------------------------===//

#include "compiler/tokenizer/UnicodeText.h"

#include "llvm/ADT/STLExtras.h"

#include <algorithm>

using namespace kiln::tokenizer;
using llvm::StringRef;

namespace {

struct Decomposition {
  uint32_t codePoint;
  char kind; // C canonical, S canonical but not composed again, K compatible
  const char *text;
};
constexpr Decomposition decompositions[] = {
#define DECOMPOSITION(codePoint, kind, text) {codePoint, #kind[0], text},
#define COMBINING_CLASS(first, last, value)
#include "compiler/tokenizer/UnicodeDecompositions.inc"
#undef DECOMPOSITION
#undef COMBINING_CLASS
};

struct ClassRange {
  uint32_t first, last;
  uint8_t value;
};
constexpr ClassRange classRanges[] = {
#define DECOMPOSITION(codePoint, kind, text)
#define COMBINING_CLASS(first, last, value) {first, last, value},
#include "compiler/tokenizer/UnicodeDecompositions.inc"
#undef DECOMPOSITION
#undef COMBINING_CLASS
};

struct Lowercase {
  uint32_t codePoint;
  const char *text;
};
constexpr Lowercase lowercases[] = {
#define LOWERCASE(codePoint, text) {codePoint, text},
#include "compiler/tokenizer/UnicodeLowercase.inc"
#undef LOWERCASE
};

struct PropertyRange {
  uint32_t first, last;
  StringRef name;
};
const PropertyRange propertyRanges[] = {
#define PROPERTY_RANGE(first, last, name) {first, last, #name},
#include "compiler/tokenizer/UnicodeProperties.inc"
#undef PROPERTY_RANGE
};

constexpr uint8_t otherStarter = 255;
constexpr uint32_t hangulL = 0x1100, hangulV = 0x1161, hangulT = 0x11A7, hangulS = 0xAC00;
constexpr uint32_t hangulVCount = 21, hangulTCount = 28, hangulSCount = 11172;

std::vector<uint32_t> codePoints(StringRef text) {
  std::vector<uint32_t> result;
  for (size_t position = 0; position < text.size();)
    result.push_back(decodeUtf8(text, position));
  return result;
}

/// What each character becomes in the end.
CharacterMap fullDecompositions(bool compatible) {
  CharacterMap map;
  for (const Decomposition &entry : decompositions)
    if (compatible || entry.kind != 'K')
      map[entry.codePoint] = entry.text;
  // One step becomes all steps; there are few.
  for (bool changed = true; changed;) {
    changed = false;
    for (auto &[codePoint, text] : map) {
      std::string next = applyMap(map, text);
      changed |= next != text;
      text = std::move(next);
    }
  }
  return map;
}

NormalizationTables makeTables(NormalizationForm form) {
  bool compatible = form == NormalizationForm::NFKC || form == NormalizationForm::NFKD;
  NormalizationTables tables;
  tables.composes = form == NormalizationForm::NFC || form == NormalizationForm::NFKC;
  tables.decompositions = fullDecompositions(compatible);
  std::map<uint32_t, bool> composed; // what composition gives back
  CharacterMap canonical = fullDecompositions(false);
  if (tables.composes)
    for (const Decomposition &entry : decompositions) {
      if (entry.kind != 'C')
        continue;
      std::vector<uint32_t> pair = codePoints(entry.text);
      tables.compositions.push_back({pair[0], pair[1], entry.codePoint});
      // In a compatible form, a part of it may become something else.
      if (tables.decompositions[entry.codePoint] == canonical[entry.codePoint])
        composed[entry.codePoint] = true;
      tables.properties[pair[1]] = otherStarter;
    }
  llvm::sort(tables.compositions, [](const auto &a, const auto &b) {
    return std::tie(a.first, a.second) < std::tie(b.first, b.second);
  });
  for (const auto &[codePoint, text] : tables.decompositions)
    if (!composed.count(codePoint))
      tables.properties[codePoint] = otherStarter;
  if (tables.composes) {
    for (uint32_t i = 0; i < hangulVCount; ++i)
      tables.properties[hangulV + i] = otherStarter;
    for (uint32_t i = 1; i < hangulTCount; ++i)
      tables.properties[hangulT + i] = otherStarter;
  } else {
    for (uint32_t i = 0; i < hangulSCount; ++i)
      tables.properties[hangulS + i] = otherStarter;
  }
  for (const ClassRange &range : classRanges)
    for (uint32_t codePoint = range.first; codePoint <= range.last; ++codePoint)
      tables.properties[codePoint] = range.value;
  return tables;
}

uint32_t compose(const NormalizationTables &tables, uint32_t first, uint32_t second) {
  if (first - hangulL < 19 && second - hangulV < hangulVCount)
    return hangulS + ((first - hangulL) * hangulVCount + second - hangulV) * hangulTCount;
  if (first - hangulS < hangulSCount && (first - hangulS) % hangulTCount == 0 &&
      second - hangulT - 1 < hangulTCount - 1)
    return first + second - hangulT;
  for (const auto &entry : tables.compositions)
    if (entry.first == first && entry.second == second)
      return entry.composed;
  return 0;
}

} // namespace

std::string kiln::tokenizer::applyMap(const CharacterMap &map, StringRef text) {
  std::string result;
  for (size_t position = 0; position < text.size();) {
    size_t start = position;
    auto it = map.find(decodeUtf8(text, position));
    result += it == map.end() ? text.slice(start, position).str() : it->second;
  }
  return result;
}

CharacterMap kiln::tokenizer::chainMaps(const CharacterMap &first, const CharacterMap &second) {
  CharacterMap result = second;
  for (const auto &[codePoint, text] : first)
    result[codePoint] = applyMap(second, text);
  return result;
}

CharacterMap kiln::tokenizer::lowercaseMap() {
  CharacterMap result;
  for (const Lowercase &entry : lowercases)
    result[entry.codePoint] = entry.text;
  return result;
}

CharacterMap kiln::tokenizer::setMap(const CodePointSet &set, const std::string &text) {
  CharacterMap result;
  for (auto [first, last] : set.getRanges())
    for (uint32_t codePoint = first; codePoint <= last; ++codePoint)
      result[codePoint] = text;
  return result;
}

const NormalizationTables &kiln::tokenizer::normalizationTables(NormalizationForm form) {
  static const NormalizationTables tables[] = {
      makeTables(NormalizationForm::NFC), makeTables(NormalizationForm::NFD),
      makeTables(NormalizationForm::NFKC), makeTables(NormalizationForm::NFKD)};
  return tables[static_cast<size_t>(form)];
}

std::string kiln::tokenizer::normalize(StringRef text, NormalizationForm form) {
  const NormalizationTables &tables = normalizationTables(form);
  std::vector<uint32_t> points;
  for (uint32_t codePoint : codePoints(text)) {
    uint32_t index = codePoint - hangulS;
    if (index < hangulSCount) {
      points.push_back(hangulL + index / hangulTCount / hangulVCount);
      points.push_back(hangulV + index / hangulTCount % hangulVCount);
      if (index % hangulTCount != 0)
        points.push_back(hangulT + index % hangulTCount);
      continue;
    }
    auto it = tables.decompositions.find(codePoint);
    if (it == tables.decompositions.end())
      points.push_back(codePoint);
    else
      llvm::append_range(points, codePoints(it->second));
  }
  auto combiningClass = [&](uint32_t codePoint) -> unsigned {
    auto it = tables.properties.find(codePoint);
    return it == tables.properties.end() || it->second == otherStarter ? 0 : it->second;
  };
  for (size_t begin = 0; begin < points.size();) {
    size_t end = begin;
    while (end < points.size() && combiningClass(points[end]) != 0)
      ++end;
    std::stable_sort(points.begin() + begin, points.begin() + end,
                     [&](uint32_t a, uint32_t b) { return combiningClass(a) < combiningClass(b); });
    begin = end + 1;
  }
  std::vector<uint32_t> kept;
  size_t starter = SIZE_MAX;
  unsigned lastClass = 0;
  for (uint32_t point : points) {
    unsigned thisClass = combiningClass(point);
    if (tables.composes && starter != SIZE_MAX &&
        (kept.size() == starter + 1 || lastClass < thisClass))
      if (uint32_t whole = compose(tables, kept[starter], point)) {
        kept[starter] = whole;
        continue;
      }
    if (thisClass == 0)
      starter = kept.size();
    lastClass = thisClass;
    kept.push_back(point);
  }
  std::string result;
  for (uint32_t point : kept)
    appendUtf8(point, result);
  return result;
}

CodePointSet kiln::tokenizer::unicodeProperty(StringRef name) {
  CodePointSet result;
  for (const PropertyRange &range : propertyRanges)
    if (range.name == name)
      result.add(range.first, range.last);
  return result;
}
