//===- TemplateParser.h - A recursive descent parser for Jinja -------------===//

#ifndef KILN_COMPILER_CHAT_TEMPLATEPARSER_H
#define KILN_COMPILER_CHAT_TEMPLATEPARSER_H

#include "compiler/chat/TemplateLexer.h"
#include "compiler/chat/TemplateSyntax.h"

#include "llvm/ADT/ArrayRef.h"

namespace kiln::chat {

/// Functions that parse return null once something is wrong; `takeError` tells what. The grammar is
/// Jinja's (jinja.palletsprojects.com, "Template Designer Documentation"), the order of precedence
/// that of its parser.
class TemplateParser {
public:
  explicit TemplateParser(std::vector<Token> tokens) : tokens(std::move(tokens)) {}

  /// Statements up to one whose name is in `ends`, or to the end where there are none. The block
  /// that ends them has been entered, and its name is the current token.
  NodeList parseStatements(llvm::ArrayRef<llvm::StringRef> ends);
  llvm::Error takeError();
  bool failed() const { return !message.empty(); }

private:
  // Tokens
  const Token &current() const { return tokens[position]; }
  const Token &ahead() const { return tokens[std::min(position + 1, tokens.size() - 1)]; }
  void advance() { position += position + 1 < tokens.size(); }
  bool isOperator(llvm::StringRef text) const {
    return current().kind == Token::Operator && current().text == text;
  }
  bool isName(llvm::StringRef text) const {
    return current().kind == Token::Name && current().text == text;
  }
  bool skipOperator(llvm::StringRef text);
  bool skipName(llvm::StringRef text);
  bool expectOperator(llvm::StringRef text);
  bool expectName(std::string &name);
  std::string describe(const Token &token) const;
  /// Keeps the first problem; returns null for the callers' convenience.
  std::nullptr_t fail(unsigned line, const llvm::Twine &what);

  // Statements
  NodePtr parseStatement();
  NodePtr parseIf();
  NodePtr parseFor();
  NodePtr parseSet();
  NodePtr parseMacro();
  NodePtr parseCallBlock();
  NodePtr parseFilterBlock();
  NodePtr parseWith();
  bool parseSignature(Node &node);
  /// `body` up to the statement `end`, which is passed.
  bool parseBody(NodeList &body, llvm::StringRef end);
  bool endBlockHead();
  NodePtr parseTarget(bool withMembers, llvm::StringRef end);

  // Expressions, from the loosest to the tightest
  NodePtr parseExpression(bool withCondition = true);
  NodePtr parseOr();
  NodePtr parseAnd();
  NodePtr parseNot();
  NodePtr parseCompare();
  NodePtr parseSum();
  NodePtr parseConcatenation();
  NodePtr parseProduct();
  NodePtr parsePower();
  NodePtr parseUnary(bool withFilter = true);
  NodePtr parsePrimary();
  NodePtr parsePostfix(NodePtr node);
  NodePtr parseFilters(NodePtr node);
  NodePtr parseFilter(NodePtr node);
  NodePtr parseTest(NodePtr node);
  NodePtr parseSubscript(NodePtr node);
  NodePtr parseTuple(bool withCondition = true, llvm::StringRef end = "", bool inBrackets = false);
  NodePtr parseList();
  NodePtr parseDict();
  bool parseArguments(Node &node);
  NodePtr makeBinary(Node::Kind kind, unsigned line, NodePtr left, NodePtr right,
                     llvm::StringRef text = "");

  std::vector<Token> tokens;
  size_t position = 0;
  unsigned depth = 0; // of expressions and statements
  unsigned failedLine = 0;
  std::string message;

  struct Deeper;
};

} // namespace kiln::chat

#endif // KILN_COMPILER_CHAT_TEMPLATEPARSER_H
