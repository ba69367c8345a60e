//===- BuildTrie.cpp - Strings with values as a double array ---------------===//
//
// A double array (Aoe, 1989) addressed by exclusive or, with the label in the unit: no two nodes
// share a base, so that a unit with the right label is the right child. Nodes are placed one after
// the other at the first base whose units are free, looking in the last blocks only.
//
//===----------------------------------------------------------------------===//

#include "compiler/tokenizer/Trie.h"

#include "llvm/ADT/Twine.h"

using namespace kiln::tokenizer;
using llvm::Expected;

namespace {

constexpr uint32_t blockUnits = 512; // a label has 9 bits
constexpr uint32_t noLabel = 511;
constexpr uint32_t maxUnits = 1u << 23;
constexpr uint32_t none = UINT32_MAX;
/// Blocks before these are full enough.
constexpr uint32_t searchedBlocks = 16;

class TrieBuilder {
public:
  using Strings = std::vector<std::pair<llvm::StringRef, uint32_t>>;

  explicit TrieBuilder(Strings strings) : strings(std::move(strings)) { addBlock(); }

  bool build() {
    take(0);
    std::vector<Node> stack = {{0, 0, strings.size(), 0}};
    while (!stack.empty()) {
      Node node = stack.back();
      stack.pop_back();
      if (!placeChildren(node, stack))
        return false;
    }
    return true;
  }

  std::vector<uint32_t> units;

private:
  /// The strings [begin, end), which agree in their first `depth` bytes.
  struct Node {
    uint32_t unit;
    size_t begin, end, depth;
  };
  struct Child {
    uint32_t label;
    size_t begin, end;
  };

  void addBlock() {
    auto begin = static_cast<uint32_t>(units.size());
    units.resize(begin + blockUnits, noLabel << 23);
    baseUsed.resize(units.size());
    for (uint32_t unit = begin; unit < begin + blockUnits; ++unit) {
      nextFree.push_back(none);
      previousFree.push_back(lastFree);
      (lastFree == none ? firstFree : nextFree[lastFree]) = unit;
      lastFree = unit;
    }
    uint32_t blocks = static_cast<uint32_t>(units.size()) / blockUnits;
    while (blocks > searchedBlocks && firstFree < (blocks - searchedBlocks) * blockUnits)
      take(firstFree);
  }

  void take(uint32_t unit) {
    uint32_t previous = previousFree[unit], next = nextFree[unit];
    (previous == none ? firstFree : nextFree[previous]) = next;
    (next == none ? lastFree : previousFree[next]) = previous;
    previousFree[unit] = nextFree[unit] = unit; // not free
  }
  bool isFree(uint32_t unit) const { return nextFree[unit] != unit; }

  uint32_t findBase(const std::vector<Child> &children) {
    for (uint32_t unit = firstFree; unit != none; unit = nextFree[unit]) {
      uint32_t base = unit ^ children.front().label;
      if (baseUsed[base])
        continue;
      bool fits = true;
      for (const Child &child : children)
        fits &= isFree(base ^ child.label);
      if (fits)
        return base;
    }
    auto base = static_cast<uint32_t>(units.size());
    addBlock();
    return base;
  }

  bool placeChildren(const Node &node, std::vector<Node> &stack) {
    std::vector<Child> children;
    for (size_t i = node.begin; i < node.end; ++i) {
      llvm::StringRef text = strings[i].first;
      uint32_t label = text.size() == node.depth ? 0 : 1u + static_cast<uint8_t>(text[node.depth]);
      if (children.empty() || children.back().label != label)
        children.push_back({label, i, i});
      children.back().end = i + 1;
    }
    if (children.empty())
      return true;
    uint32_t base = findBase(children);
    if (units.size() > maxUnits)
      return false;
    baseUsed[base] = true;
    units[node.unit] = (units[node.unit] & ~(maxUnits - 1)) | base;
    for (const Child &child : children) {
      uint32_t unit = base ^ child.label;
      take(unit);
      units[unit] = child.label << 23;
      if (child.label == 0)
        units[unit] |= strings[child.begin].second;
      else
        stack.push_back({unit, child.begin, child.end, node.depth + 1});
    }
    return true;
  }

  Strings strings; // ascending
  std::vector<bool> baseUsed;
  std::vector<uint32_t> nextFree, previousFree;
  uint32_t firstFree = none, lastFree = none;
};

} // namespace

Expected<std::vector<uint32_t>>
kiln::tokenizer::buildTrie(const std::map<std::string, uint32_t> &strings) {
  TrieBuilder::Strings list;
  for (const auto &[text, value] : strings) {
    if (value >= maxUnits)
      return llvm::createStringError("a trie's value is above " + llvm::Twine(maxUnits));
    list.push_back({text, value});
  }
  TrieBuilder builder(std::move(list));
  if (!builder.build())
    return llvm::createStringError("the strings need more than " + llvm::Twine(maxUnits) +
                                   " units of a trie");
  while (builder.units.size() > 1 && builder.units.back() >> 23 == noLabel)
    builder.units.pop_back();
  return std::move(builder.units);
}
