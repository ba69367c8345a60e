//===- ParseStatements.cpp - The statements of a Jinja template ------------===//
//
// Statements become nodes with bodies. What Jinja has and chat templates have no use for (template
// inheritance, imports, autoescape) is refused by name.
//
//===----------------------------------------------------------------------===//

#include "compiler/chat/TemplateParser.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/Twine.h"

using namespace kiln::chat;
using llvm::StringRef;

constexpr size_t kMaxSource = 4u << 20;

std::nullptr_t TemplateParser::fail(unsigned line, const llvm::Twine &what) {
  if (message.empty()) {
    failedLine = line;
    message = what.str();
  }
  position = tokens.size() - 1; // nothing more is read
  return nullptr;
}

llvm::Error TemplateParser::takeError() {
  return failed() ? templateError(failedLine, message) : llvm::Error::success();
}

std::string TemplateParser::describe(const Token &token) const {
  switch (token.kind) {
  case Token::End:
    return "the end of the template";
  case Token::BlockEnd:
    return "'%}'";
  case Token::VariableEnd:
    return "'}}'";
  case Token::Text:
    return "a string";
  case Token::Data:
  case Token::BlockBegin:
  case Token::VariableBegin:
    return "text";
  default:
    return "'" + token.text + "'";
  }
}

bool TemplateParser::skipOperator(StringRef text) {
  bool found = isOperator(text);
  if (found)
    advance();
  return found;
}

bool TemplateParser::skipName(StringRef text) {
  bool found = isName(text);
  if (found)
    advance();
  return found;
}

bool TemplateParser::expectOperator(StringRef text) {
  if (skipOperator(text))
    return true;
  fail(current().line, "expected '" + text + "', found " + describe(current()));
  return false;
}

bool TemplateParser::expectName(std::string &name) {
  if (current().kind != Token::Name) {
    fail(current().line, "expected a name, found " + describe(current()));
    return false;
  }
  name = current().text;
  advance();
  return true;
}

bool TemplateParser::endBlockHead() {
  skipOperator(":");
  if (current().kind != Token::BlockEnd) {
    fail(current().line, "expected '%}', found " + describe(current()));
    return false;
  }
  advance();
  return true;
}

NodeList TemplateParser::parseStatements(llvm::ArrayRef<StringRef> ends) {
  NodeList statements;
  unsigned start = current().line;
  while (!failed()) {
    const Token &token = current();
    if (token.kind == Token::End) {
      if (!ends.empty())
        fail(start, "expected '" + ends.back() + "' before the end of the template");
      break;
    }
    if (token.kind == Token::Data) {
      auto data = std::make_unique<Node>(Node::Data, token.line);
      data->text = token.text;
      statements.push_back(std::move(data));
      advance();
    } else if (token.kind == Token::VariableBegin) {
      auto output = std::make_unique<Node>(Node::Output, token.line);
      advance();
      output->parts.push_back(parseTuple());
      if (!failed() && current().kind != Token::VariableEnd)
        fail(current().line, "expected '}}', found " + describe(current()));
      advance();
      statements.push_back(std::move(output));
    } else {
      advance(); // '{%'
      if (current().kind == Token::Name && llvm::is_contained(ends, StringRef(current().text)))
        return statements;
      NodePtr statement = parseStatement();
      if (failed())
        break;
      statements.push_back(std::move(statement));
      if (current().kind != Token::BlockEnd)
        fail(current().line, "expected '%}', found " + describe(current()));
      advance();
    }
  }
  return statements;
}

bool TemplateParser::parseBody(NodeList &body, StringRef end) {
  if (!endBlockHead())
    return false;
  body = parseStatements(end);
  if (failed())
    return false;
  advance(); // its name
  return true;
}

NodePtr TemplateParser::parseStatement() {
  const Token token = current();
  if (token.kind != Token::Name)
    return fail(token.line, "expected the name of a tag, found " + describe(token));
  if (depth > 100)
    return fail(token.line, "blocks are nested deeper than 100");
  ++depth;
  NodePtr node;
  advance();
  auto leaf = [&](Node::Kind kind) { node = std::make_unique<Node>(kind, token.line); };
  StringRef name = token.text;
  if (name == "if")
    node = parseIf();
  else if (name == "for")
    node = parseFor();
  else if (name == "set")
    node = parseSet();
  else if (name == "macro")
    node = parseMacro();
  else if (name == "call")
    node = parseCallBlock();
  else if (name == "filter")
    node = parseFilterBlock();
  else if (name == "with")
    node = parseWith();
  else if (name == "break")
    leaf(Node::Break);
  else if (name == "continue")
    leaf(Node::Continue);
  else if (name == "generation") {
    leaf(Node::Scope);
    parseBody(node->body, "endgeneration");
  } else if (name == "print") {
    leaf(Node::Output);
    do
      node->parts.push_back(parseExpression());
    while (!failed() && skipOperator(","));
  } else if (llvm::is_contained({"block", "extends", "include", "import", "from", "autoescape"},
                                name))
    fail(token.line, "the statement '" + name + "' is not supported");
  else
    fail(token.line, "unknown tag '" + name + "'");
  --depth;
  if (failed())
    return nullptr;
  node->line = token.line;
  return node;
}

NodePtr TemplateParser::parseIf() {
  auto node = std::make_unique<Node>(Node::If, current().line);
  node->parts.push_back(parseTuple(/*withCondition=*/false));
  if (!endBlockHead())
    return nullptr;
  node->body = parseStatements({"elif", "else", "endif"});
  if (failed())
    return nullptr;
  if (skipName("elif")) {
    if (++depth > 2000)
      return fail(current().line, "too many branches");
    node->orElse.push_back(parseIf());
    --depth;
  } else if (skipName("else")) {
    parseBody(node->orElse, "endif");
  } else {
    advance(); // endif
  }
  return node;
}

NodePtr TemplateParser::parseFor() {
  auto node = std::make_unique<Node>(Node::For, current().line);
  node->parts.push_back(parseTarget(/*withMembers=*/false, "in"));
  if (!failed() && !skipName("in"))
    return fail(current().line, "expected 'in', found " + describe(current()));
  node->parts.push_back(parseTuple(/*withCondition=*/false, "recursive"));
  node->parts.push_back(skipName("if") ? parseExpression() : nullptr);
  if (isName("recursive"))
    return fail(current().line, "recursive loops are not supported");
  if (!endBlockHead())
    return nullptr;
  node->body = parseStatements({"else", "endfor"});
  if (failed())
    return nullptr;
  if (skipName("else"))
    parseBody(node->orElse, "endfor");
  else
    advance();
  return node;
}

NodePtr TemplateParser::parseTarget(bool withMembers, StringRef end) {
  unsigned line = current().line;
  NodeList targets;
  bool many = false;
  while (!failed()) {
    if (!targets.empty() &&
        (isOperator("=") || isOperator(")") || isName(end) || current().kind == Token::BlockEnd))
      break;
    auto target = std::make_unique<Node>(Node::Name, current().line);
    if (skipOperator("(")) {
      if (++depth > 100)
        return fail(target->line, "targets are nested deeper than 100");
      target = parseTarget(withMembers, end);
      --depth;
      if (!failed())
        expectOperator(")");
    } else if (!expectName(target->text)) {
      return nullptr;
    } else if (llvm::is_contained({"true", "false", "none", "True", "False", "None"},
                                  target->text)) {
      return fail(target->line, "can't assign to '" + target->text + "'");
    } else if (withMembers && skipOperator(".")) {
      target->kind = Node::SetMember;
      target->operators.emplace_back();
      expectName(target->operators[0]);
    }
    targets.push_back(std::move(target));
    if (!skipOperator(","))
      break;
    many = true;
  }
  if (failed())
    return nullptr;
  if (!many)
    return std::move(targets[0]);
  auto tuple = std::make_unique<Node>(Node::Tuple, line);
  tuple->parts = std::move(targets);
  return tuple;
}

NodePtr TemplateParser::parseSet() {
  unsigned line = current().line;
  NodePtr target = parseTarget(/*withMembers=*/true, "");
  if (failed())
    return nullptr;
  bool plain = skipOperator("=");
  auto node = std::make_unique<Node>(plain ? Node::Set : Node::SetBlock, line);
  node->parts.push_back(std::move(target));
  if (plain) {
    node->parts.push_back(parseTuple());
    return node;
  }
  NodePtr filters;
  while (!failed() && skipOperator("|"))
    filters = parseFilter(std::move(filters));
  node->parts.push_back(std::move(filters));
  parseBody(node->body, "endset");
  return node;
}

bool TemplateParser::parseSignature(Node &node) {
  if (!expectOperator("("))
    return false;
  while (!failed() && !isOperator(")")) {
    if (!node.parameters.empty() && !expectOperator(","))
      return false;
    unsigned line = current().line;
    std::string name;
    if (!expectName(name))
      return false;
    NodePtr absent = skipOperator("=") ? parseExpression() : nullptr;
    if (!absent && !node.parameters.empty() && node.parameters.back().second)
      fail(line, "a parameter without a default follows one with a default");
    node.parameters.emplace_back(std::move(name), std::move(absent));
  }
  return !failed() && expectOperator(")");
}

NodePtr TemplateParser::parseMacro() {
  auto node = std::make_unique<Node>(Node::Macro, current().line);
  if (expectName(node->text) && parseSignature(*node))
    parseBody(node->body, "endmacro");
  return node;
}

NodePtr TemplateParser::parseCallBlock() {
  auto node = std::make_unique<Node>(Node::CallBlock, current().line);
  if (isOperator("(") && !parseSignature(*node))
    return nullptr;
  node->parts.push_back(parseExpression());
  if (!failed() && node->parts[0]->kind != Node::Call)
    return fail(node->line, "expected a call");
  parseBody(node->body, "endcall");
  return node;
}

NodePtr TemplateParser::parseFilterBlock() {
  auto node = std::make_unique<Node>(Node::FilterBlock, current().line);
  NodePtr filters = parseFilter(nullptr);
  while (!failed() && skipOperator("|"))
    filters = parseFilter(std::move(filters));
  node->parts.push_back(std::move(filters));
  parseBody(node->body, "endfilter");
  return node;
}

NodePtr TemplateParser::parseWith() {
  auto node = std::make_unique<Node>(Node::With, current().line);
  while (!failed() && current().kind != Token::BlockEnd) {
    if (!node->parts.empty() && !expectOperator(","))
      return nullptr;
    node->parts.push_back(parseTarget(/*withMembers=*/false, ""));
    if (!failed() && expectOperator("="))
      node->parts.push_back(parseExpression());
  }
  parseBody(node->body, "endwith");
  return node;
}

llvm::Expected<NodeList> kiln::chat::parseTemplate(StringRef source) {
  if (source.size() > kMaxSource)
    return templateError(1, "expected at most " + llvm::Twine(kMaxSource) + " bytes, found " +
                                llvm::Twine(source.size()));
  auto tokens = tokenizeTemplate(source);
  if (!tokens)
    return tokens.takeError();
  TemplateParser parser(std::move(*tokens));
  NodeList statements = parser.parseStatements({});
  if (llvm::Error error = parser.takeError())
    return error;
  return statements;
}
