//===- CodePointSet.h - Sets of Unicode code points ------------------------===//

#ifndef KILN_COMPILER_TOKENIZER_CODEPOINTSET_H
#define KILN_COMPILER_TOKENIZER_CODEPOINTSET_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace kiln::tokenizer {

constexpr uint32_t lastCodePoint = 0x10FFFF;

/// A set of code points as sorted, disjoint, inclusive ranges.
class CodePointSet {
public:
  using Range = std::pair<uint32_t, uint32_t>;

  CodePointSet() = default;
  CodePointSet(uint32_t first, uint32_t last) { add(first, last); }

  void add(uint32_t first, uint32_t last);
  void add(const CodePointSet &other);
  CodePointSet complement() const;
  CodePointSet intersection(const CodePointSet &other) const;
  bool contains(uint32_t codePoint) const;
  bool empty() const { return ranges.empty(); }
  llvm::ArrayRef<Range> getRanges() const { return ranges; }
  bool operator==(const CodePointSet &other) const { return ranges == other.ranges; }

  /// Code points of a general category ("Lu") or of a group of them ("L"); none for other names.
  static std::optional<CodePointSet> category(llvm::StringRef name);
  /// The property White_Space.
  static CodePointSet whiteSpace();
  /// \w of UTS #18: letters, marks, decimal digits, connectors, joiners.
  static CodePointSet word();

private:
  std::vector<Range> ranges;
};

/// Reads the code point at `position` of valid UTF-8 and advances past it. A byte that begins no
/// valid sequence is U+FFFD, one byte long.
uint32_t decodeUtf8(llvm::StringRef text, size_t &position);
void appendUtf8(uint32_t codePoint, std::string &text);

} // namespace kiln::tokenizer

#endif // KILN_COMPILER_TOKENIZER_CODEPOINTSET_H
