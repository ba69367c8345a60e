//===- TemplateScope.cpp - Which variable a name means ---------------------===//
//
// Jinja's rules of scoping, seen from its documentation and behaviour: see "Scoping Behavior" in
// the Template Designer Documentation. The order of reading matters: a name that is assigned before
// it is read begins undefined, one that is assigned in a branch only begins as what it is outside.
//
//===----------------------------------------------------------------------===//

#include "compiler/chat/TemplateScope.h"

using namespace kiln::chat;

std::optional<Variable> TemplateScope::find(const std::string &name) const {
  for (const TemplateScope *scope = this; scope; scope = scope->parent)
    if (auto found = scope->variables.find(name); found != scope->variables.end())
      return found->second;
  return std::nullopt;
}

std::optional<TemplateScope::Start::Kind> TemplateScope::findStart(const std::string &name) const {
  for (const TemplateScope *scope = this; scope; scope = scope->parent)
    if (auto found = scope->starts.find(name); found != scope->starts.end())
      return found->second.kind;
  return std::nullopt;
}

Variable TemplateScope::define(const std::string &name, Start start) {
  auto [slot, isNew] = slots.try_emplace(name, function->count);
  function->count += isNew;
  starts[name] = start;
  return variables[name] = {function->level, slot->second};
}

Variable TemplateScope::declareParameter(const std::string &name) {
  stores.insert(name);
  return define(name, {Start::Parameter});
}

void TemplateScope::load(const std::string &name) {
  if (!find(name))
    define(name, {Start::Resolve});
}

void TemplateScope::store(const std::string &name) {
  stores.insert(name);
  if (variables.count(name))
    return;
  std::optional<Variable> outer = parent ? parent->find(name) : std::nullopt;
  define(name, outer ? Start{Start::Copy, *outer} : Start{Start::Undefined});
}

void TemplateScope::lookTarget(const Node *target, bool asParameter) {
  if (target->kind == Node::Tuple) {
    for (const NodePtr &part : target->parts)
      lookTarget(part.get(), asParameter);
  } else if (target->kind == Node::SetMember) {
    load(target->text);
  } else if (asParameter) {
    declareParameter(target->text);
  } else {
    store(target->text);
  }
}

void TemplateScope::look(const NodeList &nodes) {
  for (const NodePtr &node : nodes)
    look(node.get());
}

void TemplateScope::lookBranches(const Node &node) {
  look(node.parts[0].get());
  // Each branch sees what was known before the statement; slots are shared.
  TemplateScope before = *this;
  std::set<std::string> stored;
  for (const NodeList *branch : {&node.body, &node.orElse}) {
    TemplateScope inside = before;
    inside.slots = slots;
    inside.look(*branch);
    slots = inside.slots;
    for (const auto &[name, variable] : inside.variables)
      variables[name] = variable;
    for (const auto &[name, start] : inside.starts)
      starts[name] = start;
    stored.insert(inside.stores.begin(), inside.stores.end());
  }
  for (const std::string &name : stored) {
    if (before.stores.count(name))
      continue;
    std::optional<Variable> outer = parent ? parent->find(name) : std::nullopt;
    starts[name] = outer ? Start{Start::Copy, *outer} : Start{Start::Resolve};
  }
  stores.insert(stored.begin(), stored.end());
}

void TemplateScope::look(const Node *node) {
  if (!node)
    return;
  switch (node->kind) {
  case Node::Name:
    return load(node->text);
  case Node::If:
    return lookBranches(*node);
  case Node::For:
    return look(node->parts[1].get());
  case Node::Set:
    look(node->parts[1].get());
    return lookTarget(node->parts[0].get(), false);
  case Node::SetBlock:
    return lookTarget(node->parts[0].get(), false);
  case Node::Macro:
    return store(node->text);
  case Node::With:
    for (size_t i = 1; i < node->parts.size(); i += 2)
      look(node->parts[i].get());
    return;
  case Node::Scope:
    return;
  default: // expressions; of call and filter blocks the head
    look(node->parts);
    for (const auto &keyword : node->keywords)
      look(keyword.second.get());
  }
}
