//===- EmitStatements.cpp - Instructions for statements --------------------===//
//
// Between statements the stack holds the loops that are running and the marks of the captures that
// are open, nothing else. A macro's body lies where the macro stands, and is jumped over.
//
//===----------------------------------------------------------------------===//

#include "compiler/chat/TemplateEmitter.h"

#include "llvm/ADT/ScopeExit.h"
#include "llvm/ADT/Twine.h"

using namespace kiln::chat;
using namespace kiln::schema;
using llvm::StringRef;

void TemplateEmitter::fail(unsigned line, const llvm::Twine &what) {
  if (message.empty()) {
    failedLine = line;
    message = what.str();
  }
}

void TemplateEmitter::emitTemplate(const NodeList &statements) {
  Function root;
  function = &root;
  TemplateScope rootScope(nullptr, root.slots);
  scope = &rootScope;
  program.functions.emplace_back();
  rootScope.look(statements);
  enter(rootScope);
  emit(statements);
  program.add(ChatOp_finish);
  if (root.slots.count > 65535)
    fail(1, "more than 65535 variables");
  program.functions[0] =
      ChatFunction(0, program.text("template"), 0, 0, uint16_t(root.slots.count), -1);
}

void TemplateEmitter::emit(const NodeList &statements) {
  for (const NodePtr &statement : statements)
    emit(*statement);
}

void TemplateEmitter::emit(const Node &node) {
  if (!message.empty())
    return;
  if (program.here() > 1u << 21)
    return fail(node.line, "the template is too large");
  program.line = node.line;
  switch (node.kind) {
  case Node::Data:
    program.add(ChatOp_write_text, program.text(node.text));
    return;
  case Node::Output:
    for (const NodePtr &part : node.parts) {
      if (part->kind == Node::TextValue) {
        program.add(ChatOp_write_text, program.text(part->text));
        continue;
      }
      push(*part);
      program.add(ChatOp_write);
    }
    return;
  case Node::If:
    return emitIf(node);
  case Node::For:
    return emitFor(node);
  case Node::Set:
    return emitSet(node);
  case Node::SetBlock:
    return emitSetBlock(node);
  case Node::Macro: {
    emitMacro(node, node.text);
    storeTo(*scope->find(node.text));
    return;
  }
  case Node::CallBlock:
    return emitCallBlock(node);
  case Node::FilterBlock:
    return emitFilterBlock(node);
  case Node::With:
    return emitWith(node);
  case Node::Scope:
    return inScope([&](TemplateScope &inner) { inner.look(node.body); }, [&] { emit(node.body); });
  default:
    return emitLoopExit(node);
  }
}

void TemplateEmitter::enter(const TemplateScope &entered) {
  for (const auto &[name, start] : entered.getStarts()) {
    switch (start.kind) {
    case TemplateScope::Start::Parameter:
      continue;
    case TemplateScope::Start::Undefined:
      program.add(ChatOp_push_undefined, program.text(name));
      break;
    case TemplateScope::Start::Resolve:
      program.add(ChatOp_resolve, program.text(name));
      break;
    case TemplateScope::Start::Copy:
      load(start.outer);
      break;
    }
    storeTo(*entered.find(name));
  }
}

void TemplateEmitter::inScope(llvm::function_ref<void(TemplateScope &)> look,
                              llvm::function_ref<void()> body) {
  TemplateScope inner(scope, function->slots);
  look(inner);
  TemplateScope *outer = scope;
  bool wasSoft = soft;
  scope = &inner;
  soft = false;
  enter(inner);
  body();
  scope = outer;
  soft = wasSoft;
}

void TemplateEmitter::beginCapture() {
  program.add(ChatOp_begin_capture);
  ++function->captures;
}

void TemplateEmitter::endCapture() {
  program.add(ChatOp_end_capture);
  --function->captures;
}

void TemplateEmitter::assign(const Node &target) {
  switch (target.kind) {
  case Node::Tuple:
    program.add(ChatOp_unpack, int64_t(target.parts.size()));
    for (const NodePtr &part : target.parts)
      assign(*part);
    return;
  case Node::SetMember: {
    Variable value = {function->slots.level, function->slots.count++};
    storeTo(value);
    pushVariable(target.line, target.text);
    load(value);
    program.add(ChatOp_set_attribute, program.text(target.operators[0]));
    return;
  }
  default:
    storeTo(*scope->find(target.text));
  }
}

void TemplateEmitter::emitIf(const Node &node) {
  push(*node.parts[0]);
  bool wasSoft = soft;
  soft = true;
  unsigned otherwise = program.add(ChatOp_jump_if_false);
  emit(node.body);
  if (node.orElse.empty()) {
    program.land(otherwise);
  } else {
    unsigned end = program.add(ChatOp_jump);
    program.land(otherwise);
    emit(node.orElse);
    program.land(end);
  }
  soft = wasSoft;
}

/// Whether a name is read somewhere below.
static bool mentions(const Node *node, StringRef name);
static bool mentions(const NodeList &nodes, StringRef name) {
  for (const NodePtr &node : nodes)
    if (mentions(node.get(), name))
      return true;
  return false;
}
static bool mentions(const Node *node, StringRef name) {
  if (!node)
    return false;
  if (node->kind == Node::Name && node->text == name)
    return true;
  for (const auto &keyword : node->keywords)
    if (mentions(keyword.second.get(), name))
      return true;
  for (const auto &parameter : node->parameters)
    if (mentions(parameter.second.get(), name))
      return true;
  return mentions(node->parts, name) || mentions(node->body, name) || mentions(node->orElse, name);
}

void TemplateEmitter::emitFor(const Node &node) {
  const Node &target = *node.parts[0];
  if (mentions(&target, "loop"))
    return fail(node.line, "can't assign to the special variable 'loop'");
  push(*node.parts[1]);
  program.add(ChatOp_begin_loop);
  if (const Node *test = node.parts[2].get()) {
    unsigned next = program.add(ChatOp_next_item);
    inScope(
        [&](TemplateScope &inner) {
          inner.lookTarget(&target, /*asParameter=*/true);
          inner.look(test);
        },
        [&] {
          assign(target);
          push(*test);
        });
    program.add(ChatOp_keep_item);
    program.add(ChatOp_jump, next);
    program.land(next);
    program.add(ChatOp_restart_loop);
  }
  Function &within = *function;
  unsigned next = program.add(ChatOp_next_item);
  within.loops.push_back({next, {}, within.captures});
  inScope(
      [&](TemplateScope &inner) {
        if (mentions(node.body, "loop"))
          inner.declareParameter("loop");
        inner.lookTarget(&target, /*asParameter=*/true);
        inner.look(node.body);
      },
      [&] {
        assign(target);
        auto loop = scope->find("loop");
        if (loop && mentions(node.body, "loop")) {
          program.add(ChatOp_copy);
          storeTo(*loop);
        }
        emit(node.body);
      });
  program.add(ChatOp_jump, next);
  program.land(next);
  Loop loop = std::move(within.loops.back());
  within.loops.pop_back();
  if (!node.orElse.empty()) {
    unsigned iterated = program.add(ChatOp_jump_if_iterated);
    inScope([&](TemplateScope &inner) { inner.look(node.orElse); }, [&] { emit(node.orElse); });
    program.land(iterated);
  }
  for (unsigned jump : loop.breaks)
    program.land(jump);
  program.add(ChatOp_pop);
}

void TemplateEmitter::emitLoopExit(const Node &node) {
  if (function->loops.empty())
    return fail(node.line,
                node.kind == Node::Break ? "'break' outside a loop" : "'continue' outside a loop");
  Loop &loop = function->loops.back();
  for (unsigned i = loop.captures; i < function->captures; ++i) {
    program.add(ChatOp_end_capture);
    program.add(ChatOp_pop);
  }
  if (node.kind == Node::Continue)
    program.add(ChatOp_jump, loop.next);
  else
    loop.breaks.push_back(program.add(ChatOp_jump));
}

void TemplateEmitter::emitSet(const Node &node) {
  push(*node.parts[1]);
  assign(*node.parts[0]);
}

void TemplateEmitter::emitSetBlock(const Node &node) {
  const Node *filter = node.parts[1].get();
  inScope(
      [&](TemplateScope &inner) {
        inner.look(node.body);
        inner.look(filter);
      },
      [&] {
        beginCapture();
        emit(node.body);
        endCapture();
        if (filter)
          push(*filter);
      });
  assign(*node.parts[0]);
}

void TemplateEmitter::emitFilterBlock(const Node &node) {
  inScope(
      [&](TemplateScope &inner) {
        inner.look(node.body);
        inner.look(node.parts[0].get());
      },
      [&] {
        beginCapture();
        emit(node.body);
        endCapture();
        push(*node.parts[0]);
        program.add(ChatOp_write);
      });
}

void TemplateEmitter::emitWith(const Node &node) {
  TemplateScope *outer = scope;
  inScope(
      [&](TemplateScope &inner) {
        for (size_t i = 0; i < node.parts.size(); i += 2)
          inner.lookTarget(node.parts[i].get(), /*asParameter=*/true);
        inner.look(node.body);
      },
      [&] {
        TemplateScope *inner = scope;
        for (size_t i = 0; i + 1 < node.parts.size(); i += 2) {
          scope = outer; // values do not see their fellows
          push(*node.parts[i + 1]);
          scope = inner;
          assign(*node.parts[i]);
        }
        emit(node.body);
      });
}

void TemplateEmitter::emitMacro(const Node &node, StringRef name) {
  if (++depth > 100)
    return fail(node.line, "macros are nested deeper than 100");
  unsigned over = program.add(ChatOp_jump);
  unsigned index = unsigned(program.functions.size());
  program.functions.emplace_back();

  Function inner;
  inner.slots.level = function->slots.level + 1;
  inner.outer = function;
  TemplateScope innerScope(scope, inner.slots);
  unsigned firstParameter = program.parameterCount();
  bool declaresCaller = false;
  for (const auto &parameter : node.parameters) {
    innerScope.declareParameter(parameter.first);
    program.addParameter(parameter.first);
    declaresCaller |= parameter.first == "caller";
  }
  if (inner.slots.count != node.parameters.size())
    fail(node.line, "a parameter is given twice");
  int caller = -1;
  if (mentions(node.body, "caller") && !declaresCaller)
    caller = int(innerScope.declareParameter("caller").slot);
  for (const auto &parameter : node.parameters)
    innerScope.look(parameter.second.get());
  innerScope.look(node.body);

  TemplateScope *outerScope = scope;
  Function *outer = function;
  bool wasSoft = soft;
  scope = &innerScope;
  function = &inner;
  soft = false;
  unsigned first = program.here();
  enter(innerScope);
  for (const auto &[parameter, absent] : node.parameters) {
    Variable variable = *innerScope.find(parameter);
    load(variable);
    unsigned given = program.add(ChatOp_jump_if_present);
    if (absent)
      push(*absent);
    else
      program.add(ChatOp_push_undefined, program.text(parameter));
    storeTo(variable);
    program.land(given);
  }
  emit(node.body);
  program.add(ChatOp_finish);
  scope = outerScope;
  function = outer;
  soft = wasSoft;
  --depth;
  if (inner.slots.count > 65535 || node.parameters.size() > 255)
    return fail(node.line, "more than 65535 variables or 255 parameters");
  program.functions[index] =
      ChatFunction(first, program.text(name), firstParameter, uint16_t(node.parameters.size()),
                   uint16_t(inner.slots.count), caller);
  program.land(over);
  program.add(ChatOp_make_macro, index);
}

void TemplateEmitter::emitCallBlock(const Node &node) {
  pushCall(*node.parts[0], [&] {
    program.add(ChatOp_push_text, program.text("caller"));
    emitMacro(node, "caller");
  });
  program.add(ChatOp_write);
}
