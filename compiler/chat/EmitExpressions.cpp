//===- EmitExpressions.cpp - Instructions for expressions ------------------===//
//
// Each expression leaves one value on the stack. Filters, tests and their arguments are resolved by
// name here, so that the machine knows numbers only.
//
//===----------------------------------------------------------------------===//

#include "compiler/chat/TemplateEmitter.h"
#include "compiler/chat/TemplateLexer.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringSwitch.h"
#include "llvm/ADT/Twine.h"

using namespace kiln::chat;
using namespace kiln::schema;
using llvm::StringRef;

llvm::Error TemplateEmitter::takeError() {
  return message.empty() ? llvm::Error::success() : templateError(failedLine, message);
}

void TemplateEmitter::load(Variable variable) {
  unsigned levels = function->slots.level - variable.level;
  if (levels == 0)
    program.add(ChatOp_load, variable.slot);
  else
    program.add(ChatOp_load_outer, int64_t(levels) << 16 | variable.slot);
}

void TemplateEmitter::storeTo(Variable variable) { program.add(ChatOp_store, variable.slot); }

void TemplateEmitter::pushVariable(unsigned line, const std::string &name) {
  std::optional<Variable> variable = scope->find(name);
  bool fromCall = scope->findStart(name) == TemplateScope::Start::Resolve;
  if (fromCall && function->slots.level > 0 && (name == "varargs" || name == "kwargs"))
    fail(line, "'" + name + "' in a macro is not supported");
  if (variable)
    load(*variable);
  else
    program.add(ChatOp_resolve, program.text(name)); // a name that only a filter's arguments have
}

void TemplateEmitter::push(const Node &node) {
  if (!message.empty())
    return;
  program.line = node.line;
  switch (node.kind) {
  case Node::NoneValue:
    program.add(ChatOp_push_none);
    return;
  case Node::TrueValue:
    program.add(ChatOp_push_true);
    return;
  case Node::FalseValue:
    program.add(ChatOp_push_false);
    return;
  case Node::IntegerValue:
    return program.pushInteger(node.integer);
  case Node::RealValue:
    return program.pushReal(node.real);
  case Node::TextValue:
    program.add(ChatOp_push_text, program.text(node.text));
    return;
  case Node::Name:
    return pushVariable(node.line, node.text);
  case Node::Tuple:
  case Node::List:
  case Node::Dict:
    if (node.parts.size() > 4096)
      return fail(node.line, "a list or dict of more than 4096 values");
    for (const NodePtr &part : node.parts)
      push(*part);
    program.line = node.line;
    program.add(node.kind == Node::Tuple  ? ChatOp_build_tuple
                : node.kind == Node::List ? ChatOp_build_list
                                          : ChatOp_build_dict,
                int64_t(node.kind == Node::Dict ? node.parts.size() / 2 : node.parts.size()));
    return;
  case Node::Negative:
    if (node.parts[0]->kind == Node::IntegerValue)
      return program.pushInteger(-node.parts[0]->integer);
    push(*node.parts[0]);
    program.add(ChatOp_negate);
    return;
  case Node::Positive:
    push(*node.parts[0]);
    program.add(ChatOp_plus);
    return;
  case Node::Not:
    push(*node.parts[0]);
    program.add(ChatOp_logical_not);
    return;
  case Node::And:
  case Node::Or: {
    push(*node.parts[0]);
    unsigned known =
        program.add(node.kind == Node::And ? ChatOp_jump_if_false_keep : ChatOp_jump_if_true_keep);
    push(*node.parts[1]);
    program.land(known);
    return;
  }
  case Node::Binary:
    return pushBinary(node);
  case Node::Compare:
    return pushCompare(node);
  case Node::Concatenate:
    if (node.parts.size() > 4096)
      return fail(node.line, "more than 4096 texts put together");
    for (const NodePtr &part : node.parts)
      push(*part);
    program.line = node.line;
    program.add(ChatOp_concatenate, int64_t(node.parts.size()));
    return;
  case Node::Condition:
    return pushCondition(node);
  case Node::Attribute:
    push(*node.parts[0]);
    program.line = node.line;
    program.add(ChatOp_attribute, program.text(node.text));
    return;
  case Node::Item:
    push(*node.parts[0]);
    if (node.parts[1]->kind == Node::TextValue) {
      program.line = node.line;
      program.add(ChatOp_item_named, program.text(node.parts[1]->text));
      return;
    }
    push(*node.parts[1]);
    program.line = node.line;
    program.add(ChatOp_item);
    return;
  case Node::Slice:
    return pushSlice(node);
  case Node::Call:
    return pushCall(node);
  case Node::Filter:
    return pushFilter(node);
  case Node::Test:
    return pushTest(node);
  default:
    return fail(node.line, "expected an expression");
  }
}

void TemplateEmitter::pushBinary(const Node &node) {
  push(*node.parts[0]);
  push(*node.parts[1]);
  program.line = node.line;
  program.add(llvm::StringSwitch<ChatOp>(node.text)
                  .Case("+", ChatOp_add)
                  .Case("-", ChatOp_subtract)
                  .Case("*", ChatOp_multiply)
                  .Case("/", ChatOp_divide)
                  .Case("//", ChatOp_floor_divide)
                  .Case("%", ChatOp_modulo)
                  .Default(ChatOp_power));
}

static ChatOp comparison(StringRef text) {
  return llvm::StringSwitch<ChatOp>(text)
      .Case("==", ChatOp_equal)
      .Case("!=", ChatOp_not_equal)
      .Case("<", ChatOp_less)
      .Case("<=", ChatOp_less_equal)
      .Case(">", ChatOp_greater)
      .Case(">=", ChatOp_greater_equal)
      .Case("in", ChatOp_contained)
      .Default(ChatOp_not_contained);
}

void TemplateEmitter::pushCompare(const Node &node) {
  // a < b < c is a < b and b < c, with b computed once.
  std::vector<unsigned> ends;
  push(*node.parts[0]);
  for (size_t i = 0; i < node.operators.size(); ++i) {
    bool last = i + 1 == node.operators.size();
    push(*node.parts[i + 1]);
    Variable middle = {function->slots.level, function->slots.count};
    if (!last) {
      ++function->slots.count;
      program.add(ChatOp_copy);
      storeTo(middle);
    }
    program.line = node.line;
    program.add(comparison(node.operators[i]));
    if (!last) {
      ends.push_back(program.add(ChatOp_jump_if_false_keep));
      load(middle);
    }
  }
  for (unsigned end : ends)
    program.land(end);
}

void TemplateEmitter::pushCondition(const Node &node) {
  push(*node.parts[0]);
  bool wasSoft = soft;
  soft = true;
  unsigned otherwise = program.add(ChatOp_jump_if_false);
  push(*node.parts[1]);
  unsigned end = program.add(ChatOp_jump);
  program.land(otherwise);
  if (node.parts[2])
    push(*node.parts[2]);
  else
    program.add(ChatOp_push_undefined, program.text("the value of an if without else"));
  program.land(end);
  soft = wasSoft;
}

void TemplateEmitter::pushSlice(const Node &node) {
  push(*node.parts[0]);
  for (size_t i = 1; i < 4; ++i)
    if (node.parts[i])
      push(*node.parts[i]);
    else
      program.add(ChatOp_push_none);
  program.line = node.line;
  program.add(ChatOp_slice);
}

void TemplateEmitter::pushCall(const Node &node, llvm::function_ref<void()> extra) {
  const Node &callee = *node.parts[0];
  if (callee.kind == Node::Attribute && isUnsupportedMethod(callee.text))
    return fail(callee.line, "the method '" + callee.text + "' is not supported");
  if (callee.kind == Node::Name && isUnsupportedGlobal(callee.text) &&
      scope->findStart(callee.text) == TemplateScope::Start::Resolve)
    return fail(callee.line, "the function '" + callee.text + "' is not supported");
  for (const NodePtr &part : node.parts)
    push(*part);
  for (const auto &[name, value] : node.keywords) {
    program.add(ChatOp_push_text, program.text(name));
    push(*value);
  }
  if (extra)
    extra();
  size_t count = node.parts.size() - 1, keywords = node.keywords.size() + (extra ? 1 : 0);
  if (count > 255 || keywords > 255)
    return fail(node.line, "a call with more than 255 arguments");
  program.line = node.line;
  program.add(ChatOp_call, int64_t(count | keywords << 8));
}

const Node *TemplateEmitter::keyword(const Node &node, StringRef name) {
  for (const auto &keyword : node.keywords)
    if (keyword.first == name)
      return keyword.second.get();
  return nullptr;
}

void TemplateEmitter::failUnknown(const Node &node, StringRef what, bool known) {
  if (known)
    return fail(node.line, "the " + what + " '" + node.text + "' is not supported");
  if (!soft)
    return fail(node.line, "there is no " + what + " named '" + node.text + "'");
  // In a branch that may never be taken Jinja fails only when it is.
  program.line = node.line;
  program.add(ChatOp_fail_with, program.text(("no " + what + " named '" + node.text + "'").str()));
}

unsigned TemplateEmitter::pushArguments(const Node &node, size_t first, const FilterInfo &info) {
  size_t given = node.parts.size() - first;
  if (info.variadic) {
    if (!node.keywords.empty())
      fail(node.line, "the filter '" + node.text + "' with keyword arguments is not supported");
    for (size_t i = first; i < node.parts.size(); ++i)
      push(*node.parts[i]);
    return unsigned(given);
  }
  if (given > info.parameters.size())
    fail(node.line, "the filter '" + node.text + "' takes at most " +
                        llvm::Twine(info.parameters.size()) + " arguments");
  for (const auto &argument : node.keywords) {
    const auto *place = llvm::find(info.parameters, StringRef(argument.first));
    if (place == info.parameters.end() || size_t(place - info.parameters.begin()) < given)
      fail(node.line,
           "the filter '" + node.text + "' takes no further argument '" + argument.first + "'");
  }
  unsigned count = 0;
  for (size_t i = 0; i < info.parameters.size(); ++i)
    if (i < given || keyword(node, info.parameters[i]))
      count = unsigned(i + 1);
  for (size_t i = 0; i < count; ++i) {
    if (i < given)
      push(*node.parts[first + i]);
    else if (const Node *argument = keyword(node, info.parameters[i]))
      push(*argument);
    else
      program.add(ChatOp_push_absent);
  }
  if (count < info.required)
    fail(node.line, "the filter '" + node.text + "' lacks an argument");
  return count;
}

unsigned TemplateEmitter::pushTestArguments(const Node &node, size_t first, StringRef name,
                                            const TestInfo &info) {
  size_t given = node.parts.size() - first, taken = info.parameter.empty() ? 0 : 1;
  const Node *named = taken ? keyword(node, info.parameter) : nullptr;
  if (given + node.keywords.size() != taken || (!node.keywords.empty() && !named)) {
    fail(node.line, "the test '" + name + "' takes " + (taken ? "one argument" : "no arguments"));
    return 0;
  }
  if (taken)
    push(named ? *named : *node.parts[first]);
  return unsigned(taken);
}

/// map, select, reject, selectattr, rejectattr: their arguments name a filter or a test.
void TemplateEmitter::pushMapOrSelect(const Node &node) {
  auto filter = llvm::StringSwitch<ChatFilter>(node.text)
                    .Case("map", ChatFilter_f_map)
                    .Case("select", ChatFilter_f_select)
                    .Case("reject", ChatFilter_f_reject)
                    .Case("selectattr", ChatFilter_f_selectattr)
                    .Default(ChatFilter_f_rejectattr);
  size_t given = node.parts.size() - 1;
  unsigned count = 0;
  if (filter == ChatFilter_f_map && given == 0 && keyword(node, "attribute")) {
    filter = ChatFilter_f_map_attribute;
    static const StringRef parameters[] = {"attribute", "default"};
    count = pushArguments(node, 1, {filter, parameters, 1, false});
  } else {
    bool byAttribute = filter == ChatFilter_f_selectattr || filter == ChatFilter_f_rejectattr;
    size_t at = byAttribute ? 2 : 1; // of the name among the parts
    if (given < at - 1 || (given == 0 && filter == ChatFilter_f_map))
      return fail(node.line, "the filter '" + node.text + "' lacks an argument");
    if (byAttribute) {
      push(*node.parts[1]);
      ++count;
    }
    if (given >= at) {
      if (node.parts[at]->kind != Node::TextValue)
        return fail(node.line,
                    "the filter '" + node.text + "' with a name that is computed is not supported");
      const std::string &name = node.parts[at]->text;
      auto mapped = findFilter(name);
      auto test = findTest(name);
      if (filter == ChatFilter_f_map ? !mapped : !test)
        return fail(node.line,
                    "the filter '" + node.text + "' with '" + name + "' is not supported");
      program.pushInteger(filter == ChatFilter_f_map ? int64_t(mapped->filter)
                                                     : int64_t(test->test));
      count += 1 + (filter == ChatFilter_f_map ? pushArguments(node, at + 1, *mapped)
                                               : pushTestArguments(node, at + 1, name, *test));
    }
  }
  program.line = node.line;
  program.add(ChatOp_filter, int64_t(filter) | int64_t(count) << 8);
}

void TemplateEmitter::pushFilter(const Node &node) {
  if (node.parts[0])
    push(*node.parts[0]); // else it is on the stack: what a block has captured
  if (llvm::is_contained({"map", "select", "reject", "selectattr", "rejectattr"}, node.text))
    return pushMapOrSelect(node);
  auto info = findFilter(node.text);
  if (!info)
    return failUnknown(node, "filter", isUnsupportedFilter(node.text));
  unsigned count = pushArguments(node, 1, *info);
  if (count > 255)
    return fail(node.line, "a filter with more than 255 arguments");
  program.line = node.line;
  program.add(ChatOp_filter, int64_t(info->filter) | int64_t(count) << 8);
}

void TemplateEmitter::pushTest(const Node &node) {
  if ((node.text == "filter" || node.text == "test") && node.parts.size() == 1) {
    const Node &name = *node.parts[0];
    if (name.kind != Node::TextValue)
      return fail(node.line, "the test '" + node.text + "' of a computed name is not supported");
    bool known = node.text == "test"
                     ? findTest(name.text) || name.text == "filter" || name.text == "test"
                     : findFilter(name.text) || isUnsupportedFilter(name.text) ||
                           llvm::is_contained(
                               {"map", "select", "reject", "selectattr", "rejectattr"}, name.text);
    program.add(known ? ChatOp_push_true : ChatOp_push_false);
    return;
  }
  push(*node.parts[0]);
  auto info = findTest(node.text);
  if (!info)
    return failUnknown(node, "test", false);
  unsigned count = pushTestArguments(node, 1, node.text, *info);
  program.line = node.line;
  program.add(ChatOp_test, int64_t(info->test) | int64_t(count) << 8);
}
