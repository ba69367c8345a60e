//===- ParseExpressions.cpp - The expressions of a Jinja template ----------===//
//
// One function for each level of precedence, from the loosest (the inline if) to the tightest
// (attributes, items, calls). Two of Jinja's peculiarities: `~` binds tighter than `+`, and filters
// and tests bind tighter than the signs in front of a number do.
//
//===----------------------------------------------------------------------===//

#include "compiler/chat/TemplateParser.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/Twine.h"

#include <cstdlib>

using namespace kiln::chat;
using llvm::StringRef;

struct TemplateParser::Deeper {
  explicit Deeper(TemplateParser &parser) : parser(parser) {
    if (++parser.depth > 200)
      parser.fail(parser.current().line, "expressions are nested deeper than 200");
  }
  ~Deeper() { --parser.depth; }
  TemplateParser &parser;
};

NodePtr TemplateParser::makeBinary(Node::Kind kind, unsigned line, NodePtr left, NodePtr right,
                                   StringRef text) {
  auto node = std::make_unique<Node>(kind, line);
  node->text = text.str();
  node->parts.push_back(std::move(left));
  node->parts.push_back(std::move(right));
  return node;
}

NodePtr TemplateParser::parseExpression(bool withCondition) {
  Deeper deeper(*this);
  if (failed())
    return nullptr;
  unsigned line = current().line;
  NodePtr value = parseOr();
  while (withCondition && !failed() && skipName("if")) {
    auto node = std::make_unique<Node>(Node::Condition, line);
    node->parts.push_back(parseOr());
    node->parts.push_back(std::move(value));
    node->parts.push_back(!failed() && skipName("else") ? parseExpression() : nullptr);
    value = std::move(node);
  }
  return failed() ? nullptr : std::move(value);
}

NodePtr TemplateParser::parseOr() {
  unsigned line = current().line;
  NodePtr left = parseAnd();
  while (!failed() && skipName("or"))
    left = makeBinary(Node::Or, line, std::move(left), parseAnd());
  return left;
}

NodePtr TemplateParser::parseAnd() {
  unsigned line = current().line;
  NodePtr left = parseNot();
  while (!failed() && skipName("and"))
    left = makeBinary(Node::And, line, std::move(left), parseNot());
  return left;
}

NodePtr TemplateParser::parseNot() {
  Deeper deeper(*this);
  if (failed() || !isName("not"))
    return failed() ? nullptr : parseCompare();
  auto node = std::make_unique<Node>(Node::Not, current().line);
  advance();
  node->parts.push_back(parseNot());
  return node;
}

NodePtr TemplateParser::parseCompare() {
  static const StringRef operators[] = {"==", "!=", "<", "<=", ">", ">="};
  auto node = std::make_unique<Node>(Node::Compare, current().line);
  node->parts.push_back(parseSum());
  while (!failed()) {
    if (current().kind == Token::Operator &&
        llvm::is_contained(operators, StringRef(current().text))) {
      node->operators.push_back(current().text);
      advance();
    } else if (skipName("in")) {
      node->operators.emplace_back("in");
    } else if (isName("not") && ahead().kind == Token::Name && ahead().text == "in") {
      advance();
      advance();
      node->operators.emplace_back("not in");
    } else {
      break;
    }
    node->parts.push_back(parseSum());
  }
  if (node->operators.empty())
    return std::move(node->parts[0]);
  return node;
}

NodePtr TemplateParser::parseSum() {
  unsigned line = current().line;
  NodePtr left = parseConcatenation();
  while (!failed() && (isOperator("+") || isOperator("-"))) {
    std::string sign = current().text;
    advance();
    left = makeBinary(Node::Binary, line, std::move(left), parseConcatenation(), sign);
  }
  return left;
}

NodePtr TemplateParser::parseConcatenation() {
  auto node = std::make_unique<Node>(Node::Concatenate, current().line);
  node->parts.push_back(parseProduct());
  while (!failed() && skipOperator("~"))
    node->parts.push_back(parseProduct());
  if (node->parts.size() == 1)
    return std::move(node->parts[0]);
  return node;
}

NodePtr TemplateParser::parseProduct() {
  unsigned line = current().line;
  NodePtr left = parsePower();
  while (!failed() && (isOperator("*") || isOperator("/") || isOperator("//") || isOperator("%"))) {
    std::string sign = current().text;
    advance();
    left = makeBinary(Node::Binary, line, std::move(left), parsePower(), sign);
  }
  return left;
}

NodePtr TemplateParser::parsePower() {
  unsigned line = current().line;
  NodePtr left = parseUnary();
  while (!failed() && skipOperator("**"))
    left = makeBinary(Node::Binary, line, std::move(left), parseUnary(), "**");
  return left;
}

NodePtr TemplateParser::parseUnary(bool withFilter) {
  Deeper deeper(*this);
  if (failed())
    return nullptr;
  NodePtr node;
  if (isOperator("-") || isOperator("+")) {
    node =
        std::make_unique<Node>(isOperator("-") ? Node::Negative : Node::Positive, current().line);
    advance();
    node->parts.push_back(parseUnary(/*withFilter=*/false));
  } else {
    node = parsePrimary();
  }
  node = parsePostfix(std::move(node));
  return withFilter ? parseFilters(std::move(node)) : std::move(node);
}

/// The digits of an integer, decimal or with a mark of its base.
static bool readInteger(StringRef digits, int64_t &value) {
  unsigned base = 10;
  if (digits.size() > 2 && digits[0] == '0') {
    char mark = char(digits[1] | 0x20);
    base = mark == 'x' ? 16 : mark == 'o' ? 8 : mark == 'b' ? 2 : 10;
  }
  return !(base == 10 ? digits : digits.drop_front(2)).getAsInteger(base, value);
}

NodePtr TemplateParser::parsePrimary() {
  const Token token = current();
  auto node = std::make_unique<Node>(Node::Name, token.line);
  switch (token.kind) {
  case Token::Name:
    advance();
    if (token.text == "true" || token.text == "True")
      node->kind = Node::TrueValue;
    else if (token.text == "false" || token.text == "False")
      node->kind = Node::FalseValue;
    else if (token.text == "none" || token.text == "None")
      node->kind = Node::NoneValue;
    else
      node->text = token.text;
    return node;
  case Token::Text:
    node->kind = Node::TextValue;
    for (; current().kind == Token::Text; advance())
      node->text += current().text;
    return node;
  case Token::Integer:
    node->kind = Node::IntegerValue;
    if (!readInteger(token.text, node->integer))
      return fail(token.line, "the integer " + token.text + " needs more than 64 bits");
    advance();
    return node;
  case Token::Real:
    node->kind = Node::RealValue;
    StringRef(token.text).getAsDouble(node->real);
    advance();
    return node;
  default:
    break;
  }
  if (skipOperator("(")) {
    NodePtr inner = parseTuple(/*withCondition=*/true, "", /*inBrackets=*/true);
    if (!failed())
      expectOperator(")");
    return inner;
  }
  if (isOperator("["))
    return parseList();
  if (isOperator("{"))
    return parseDict();
  return fail(token.line, "unexpected " + describe(token));
}

NodePtr TemplateParser::parseTuple(bool withCondition, StringRef end, bool inBrackets) {
  Deeper deeper(*this);
  unsigned line = current().line;
  NodeList parts;
  bool many = false;
  auto atEnd = [&] {
    return current().kind == Token::VariableEnd || current().kind == Token::BlockEnd ||
           isOperator(")") || (!end.empty() && isName(end));
  };
  while (!failed() && !atEnd()) {
    parts.push_back(parseExpression(withCondition));
    if (failed() || !skipOperator(","))
      break;
    many = true;
  }
  if (failed())
    return nullptr;
  if (!many && !parts.empty())
    return std::move(parts[0]);
  if (!many && !inBrackets)
    return fail(line, "expected an expression, found " + describe(current()));
  auto tuple = std::make_unique<Node>(Node::Tuple, line);
  tuple->parts = std::move(parts);
  return tuple;
}

NodePtr TemplateParser::parseList() {
  auto node = std::make_unique<Node>(Node::List, current().line);
  advance();
  while (!failed() && !isOperator("]")) {
    if (!node->parts.empty() && !expectOperator(","))
      break;
    if (isOperator("]"))
      break;
    node->parts.push_back(parseExpression());
  }
  if (!failed())
    expectOperator("]");
  return node;
}

NodePtr TemplateParser::parseDict() {
  auto node = std::make_unique<Node>(Node::Dict, current().line);
  advance();
  while (!failed() && !isOperator("}")) {
    if (!node->parts.empty() && !expectOperator(","))
      break;
    if (isOperator("}"))
      break;
    node->parts.push_back(parseExpression());
    if (!failed() && expectOperator(":"))
      node->parts.push_back(parseExpression());
  }
  if (!failed())
    expectOperator("}");
  return node;
}

NodePtr TemplateParser::parsePostfix(NodePtr node) {
  unsigned chained = 0;
  while (!failed()) {
    if (++chained > 100)
      return fail(current().line, "a chain of more than 100 attributes and calls");
    if (isOperator(".") || isOperator("[")) {
      node = parseSubscript(std::move(node));
    } else if (isOperator("(")) {
      auto call = std::make_unique<Node>(Node::Call, current().line);
      call->parts.push_back(std::move(node));
      parseArguments(*call);
      node = std::move(call);
    } else {
      break;
    }
  }
  return node;
}

NodePtr TemplateParser::parseFilters(NodePtr node) {
  unsigned chained = 0;
  while (!failed()) {
    if (++chained > 100)
      return fail(current().line, "a chain of more than 100 filters and tests");
    if (skipOperator("|"))
      node = parseFilter(std::move(node));
    else if (skipName("is"))
      node = parseTest(std::move(node));
    else if (isOperator("(")) {
      auto call = std::make_unique<Node>(Node::Call, current().line);
      call->parts.push_back(std::move(node));
      parseArguments(*call);
      node = std::move(call);
    } else {
      break;
    }
  }
  return node;
}

NodePtr TemplateParser::parseFilter(NodePtr value) {
  auto node = std::make_unique<Node>(Node::Filter, current().line);
  expectName(node->text);
  while (!failed() && skipOperator(".")) {
    std::string part;
    expectName(part);
    node->text += "." + part;
  }
  node->parts.push_back(std::move(value));
  if (!failed() && isOperator("("))
    parseArguments(*node);
  return node;
}

NodePtr TemplateParser::parseTest(NodePtr value) {
  unsigned line = current().line;
  bool negated = skipName("not");
  auto node = std::make_unique<Node>(Node::Test, line);
  expectName(node->text);
  node->parts.push_back(std::move(value));
  const Token &next = current();
  bool operand = next.kind == Token::Text || next.kind == Token::Integer ||
                 next.kind == Token::Real || isOperator("[") || isOperator("{") ||
                 (next.kind == Token::Name && !isName("else") && !isName("or") && !isName("and"));
  if (failed())
    return nullptr;
  if (isOperator("(")) {
    parseArguments(*node);
  } else if (operand) {
    if (isName("is"))
      return fail(next.line, "tests cannot be chained with 'is'");
    NodePtr primary = parsePrimary();
    node->parts.push_back(failed() ? nullptr : parsePostfix(std::move(primary)));
  }
  if (!negated)
    return node;
  auto inverse = std::make_unique<Node>(Node::Not, line);
  inverse->parts.push_back(std::move(node));
  return inverse;
}

NodePtr TemplateParser::parseSubscript(NodePtr value) {
  unsigned line = current().line;
  auto node = std::make_unique<Node>(Node::Item, line);
  node->parts.push_back(std::move(value));
  if (skipOperator(".")) {
    if (current().kind == Token::Integer) {
      node->parts.push_back(parsePrimary());
      return node;
    }
    node->kind = Node::Attribute;
    expectName(node->text);
    return node;
  }
  advance(); // '['
  NodePtr bounds[3];
  unsigned found = 0;
  bool slice = false;
  for (; !failed() && !isOperator("]") && !isOperator(","); ++found) {
    if (found == 3)
      return fail(line, "a slice has at most three parts");
    if (!isOperator(":"))
      bounds[found] = parseExpression();
    if (failed() || !skipOperator(":"))
      break;
    slice = true;
  }
  if (failed())
    return nullptr;
  if (isOperator(","))
    return fail(line, "several subscripts at once are not supported");
  if (!slice && !bounds[0])
    return fail(line, "expected a subscript");
  if (slice) {
    node->kind = Node::Slice;
    for (NodePtr &bound : bounds)
      node->parts.push_back(std::move(bound));
  } else {
    node->parts.push_back(std::move(bounds[0]));
  }
  expectOperator("]");
  return node;
}

bool TemplateParser::parseArguments(Node &node) {
  unsigned line = current().line;
  if (!expectOperator("("))
    return false;
  bool first = true;
  while (!failed() && !isOperator(")")) {
    if (!first && !expectOperator(","))
      return false;
    first = false;
    if (isOperator(")"))
      break;
    if (isOperator("*") || isOperator("**")) {
      fail(line, "arguments with * and ** are not supported");
    } else if (current().kind == Token::Name && ahead().kind == Token::Operator &&
               ahead().text == "=") {
      std::string name = current().text;
      advance();
      advance();
      for (const auto &keyword : node.keywords)
        if (keyword.first == name)
          fail(line, "the keyword argument '" + name + "' is repeated");
      node.keywords.emplace_back(std::move(name), parseExpression());
    } else {
      if (!node.keywords.empty())
        fail(line, "a positional argument follows a keyword argument");
      node.parts.push_back(parseExpression());
    }
  }
  return !failed() && expectOperator(")");
}
