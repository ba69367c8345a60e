//===- PatternNode.cpp - Patterns that are made, not parsed ----------------===//
//
// The small constructors of patterns that the parser and the readers of tokenizers share, and what
// can be said of a pattern by looking at it.
//
//===----------------------------------------------------------------------===//

#include "compiler/tokenizer/Pattern.h"

#include "llvm/ADT/STLExtras.h"

using namespace kiln::tokenizer;
using llvm::StringRef;

PatternNode kiln::tokenizer::setPattern(CodePointSet set) {
  PatternNode node;
  node.kind = PatternNode::Set;
  node.set = std::move(set);
  return node;
}

PatternNode kiln::tokenizer::besidePattern(CodePointSet set, bool behind, bool negative) {
  PatternNode node = setPattern(std::move(set));
  node.kind = PatternNode::LookAhead;
  if (behind) {
    node.kind = PatternNode::Assertion;
    node.behind = true;
    node.children = {setPattern(std::move(node.set))};
    node.set = {};
  }
  node.negative = negative;
  return node;
}

PatternNode kiln::tokenizer::betweenPlaces(PatternNode place) {
  PatternNode any = setPattern(CodePointSet(0, lastCodePoint)), elsewhere;
  elsewhere.kind = PatternNode::Assertion;
  elsewhere.negative = true;
  elsewhere.children.push_back(std::move(place));
  return listPattern(
      PatternNode::Concat,
      {any, repeatPattern(listPattern(PatternNode::Concat, {std::move(elsewhere), any}), 0)});
}

bool PatternNode::takesNothing() const {
  if (kind == Concat || kind == Alternate)
    return !children.empty() &&
           llvm::all_of(children, [](const PatternNode &child) { return child.takesNothing(); });
  return isAssertion();
}

bool PatternNode::operator==(const PatternNode &other) const {
  return kind == other.kind && set == other.set && children == other.children &&
         negative == other.negative && behind == other.behind && minimum == other.minimum &&
         maximum == other.maximum && greedy == other.greedy;
}

PatternNode kiln::tokenizer::repeatPattern(PatternNode child, uint32_t minimum, uint32_t maximum) {
  PatternNode node;
  node.kind = PatternNode::Repeat;
  node.minimum = minimum;
  node.maximum = maximum;
  node.children.push_back(std::move(child));
  return node;
}

PatternNode kiln::tokenizer::listPattern(PatternNode::Kind kind,
                                         std::vector<PatternNode> children) {
  PatternNode node;
  node.kind = kind;
  node.children = std::move(children);
  return node;
}

PatternNode kiln::tokenizer::literalPattern(StringRef text) {
  PatternNode node;
  node.kind = PatternNode::Concat;
  for (size_t position = 0; position < text.size();) {
    uint32_t codePoint = decodeUtf8(text, position);
    node.children.push_back(setPattern(CodePointSet(codePoint, codePoint)));
  }
  return node;
}
