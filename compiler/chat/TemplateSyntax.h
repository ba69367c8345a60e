//===- TemplateSyntax.h - The syntax tree of a Jinja template --------------===//

#ifndef KILN_COMPILER_CHAT_TEMPLATESYNTAX_H
#define KILN_COMPILER_CHAT_TEMPLATESYNTAX_H

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace kiln::chat {

struct Node;
using NodePtr = std::unique_ptr<Node>;
using NodeList = std::vector<NodePtr>;

/// A statement or an expression. Which members a kind uses is said beside it; `parts` are
/// expressions, some of them may be null where the source leaves them out.
struct Node {
  enum Kind {
    // Expressions
    NoneValue,
    TrueValue,
    FalseValue,
    IntegerValue, // integer
    RealValue,    // real
    TextValue,    // text
    Name,         // text
    Tuple,        // parts
    List,         // parts
    Dict,         // parts: key, value, key, value, …
    Not,          // parts[0]
    Negative,
    Positive,
    And, // parts[0], parts[1]
    Or,
    Binary,      // text: the operator; parts[0], parts[1]
    Compare,     // parts[0], then parts[i] with operators[i - 1]
    Concatenate, // parts
    Condition,   // parts: test, then, else (or null)
    Attribute,   // parts[0], text
    Item,        // parts[0], parts[1]
    Slice,       // parts: value, start, stop, step; the last three may be null
    Call,        // parts[0]: callee, then arguments; keywords
    Filter,      // text; parts[0]: value (null in a block), then arguments; keywords
    Test,        // as Filter
    // Statements
    Data,        // text
    Output,      // parts
    If,          // parts[0]; body; orElse
    For,         // parts: target, iterated, test or null; body; orElse
    Set,         // parts: target, value
    SetBlock,    // parts: target, filter or null; body
    SetMember,   // a target only: text.operators[0]
    Macro,       // text; parameters; body
    CallBlock,   // parts[0]: the call; parameters; body
    FilterBlock, // parts[0]: the filter; body
    With,        // parts: target, value, target, value, …; body
    Scope,       // body: statements with variables of their own
    Break,
    Continue
  };

  Node(Kind kind, unsigned line) : kind(kind), line(line) {}

  Kind kind;
  unsigned line;
  std::string text;
  int64_t integer = 0;
  double real = 0;
  NodeList parts;
  std::vector<std::string> operators;
  std::vector<std::pair<std::string, NodePtr>> keywords;
  /// Names, with defaults where they have one.
  std::vector<std::pair<std::string, NodePtr>> parameters;
  NodeList body, orElse;
};

/// Parses a template into its statements.
llvm::Expected<NodeList> parseTemplate(llvm::StringRef source);

} // namespace kiln::chat

#endif // KILN_COMPILER_CHAT_TEMPLATESYNTAX_H
