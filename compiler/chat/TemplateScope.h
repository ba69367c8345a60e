//===- TemplateScope.h - Which variable a name means -----------------------===//

#ifndef KILN_COMPILER_CHAT_TEMPLATESCOPE_H
#define KILN_COMPILER_CHAT_TEMPLATESCOPE_H

#include "compiler/chat/TemplateSyntax.h"

#include <map>
#include <optional>
#include <set>
#include <string>

namespace kiln::chat {

/// A function of the program while its slots are given out.
struct FunctionSlots {
  unsigned level = 0; // how many functions it stands in
  unsigned count = 0;
};

/// A variable: a slot of the function at a level.
struct Variable {
  unsigned level, slot;
  bool operator==(const Variable &other) const {
    return level == other.level && slot == other.slot;
  }
};

/// The names of one scope: a function's body, a loop's, a block's with variables of its own. Which
/// variable a name means is decided once for a whole scope, before it runs: a name that the scope
/// assigns is its own variable throughout, and begins as a copy of the outer one; a name that it
/// only reads is the outer one's, or a variable of the call. This is how Jinja does it.
class TemplateScope {
public:
  TemplateScope(TemplateScope *parent, FunctionSlots &function)
      : parent(parent), function(&function) {}

  /// How a variable begins when the scope is entered.
  struct Start {
    enum Kind { Undefined, Parameter, Resolve, Copy } kind;
    Variable outer = {0, 0}; // of a copy
  };

  std::optional<Variable> find(const std::string &name) const;
  /// How the variable that `name` means begins, in whatever scope it is.
  std::optional<Start::Kind> findStart(const std::string &name) const;
  Variable declareParameter(const std::string &name);
  void load(const std::string &name);
  void store(const std::string &name);

  /// Looks through statements or an expression as this scope sees them, not into inner scopes.
  void look(const NodeList &nodes);
  void look(const Node *node);
  void lookTarget(const Node *target, bool asParameter);

  const std::map<std::string, Start> &getStarts() const { return starts; }

private:
  Variable define(const std::string &name, Start start);
  void lookBranches(const Node &node);

  TemplateScope *parent;
  FunctionSlots *function;
  std::map<std::string, unsigned> slots; // by name, those given out
  std::map<std::string, Variable> variables;
  std::map<std::string, Start> starts;
  std::set<std::string> stores;
};

} // namespace kiln::chat

#endif // KILN_COMPILER_CHAT_TEMPLATESCOPE_H
