//===- TemplateEmitter.h - From syntax tree to instructions ----------------===//

#ifndef KILN_COMPILER_CHAT_TEMPLATEEMITTER_H
#define KILN_COMPILER_CHAT_TEMPLATEEMITTER_H

#include "compiler/chat/Builtins.h"
#include "compiler/chat/ChatProgram.h"
#include "compiler/chat/TemplateScope.h"

#include "llvm/ADT/STLFunctionalExtras.h"

namespace kiln::chat {

/// Writes the instructions of a template. The first problem is kept and ends the work's use, not
/// the walk.
class TemplateEmitter {
public:
  void emitTemplate(const NodeList &statements);
  llvm::Error takeError();
  ChatProgram program;

private:
  /// A loop whose body is being emitted.
  struct Loop {
    unsigned next;                // the instruction that fetches an item
    std::vector<unsigned> breaks; // jumps to its end
    unsigned captures;            // that were open when it began
  };
  /// A function whose body is being emitted.
  struct Function {
    FunctionSlots slots;
    std::vector<Loop> loops;
    unsigned captures = 0;
    Function *outer = nullptr;
  };

  void fail(unsigned line, const llvm::Twine &what);

  // Statements
  void emit(const NodeList &statements);
  void emit(const Node &node);
  void emitIf(const Node &node);
  void emitFor(const Node &node);
  void emitLoopExit(const Node &node);
  void emitSet(const Node &node);
  void emitSetBlock(const Node &node);
  void emitCallBlock(const Node &node);
  void emitFilterBlock(const Node &node);
  void emitWith(const Node &node);
  void emitMacro(const Node &node, llvm::StringRef name);
  /// Pops a value into a target.
  void assign(const Node &target);
  /// Runs `body` with a scope of its own; `look` finds what it uses.
  void inScope(llvm::function_ref<void(TemplateScope &)> look, llvm::function_ref<void()> body);
  void enter(const TemplateScope &scope);
  void beginCapture();
  void endCapture();

  // Expressions: each leaves one value on the stack
  void push(const Node &node);
  void pushVariable(unsigned line, const std::string &name);
  void load(Variable variable);
  void storeTo(Variable variable);
  void pushBinary(const Node &node);
  void pushCompare(const Node &node);
  void pushCondition(const Node &node);
  void pushSlice(const Node &node);
  /// `extra` pushes a further keyword and its value.
  void pushCall(const Node &node, llvm::function_ref<void()> extra = nullptr);
  void pushFilter(const Node &node);
  void pushTest(const Node &node);
  void pushMapOrSelect(const Node &node);
  /// The arguments of a filter in their order, from parts[first] on; returns how many.
  unsigned pushArguments(const Node &node, size_t first, const FilterInfo &info);
  unsigned pushTestArguments(const Node &node, size_t first, llvm::StringRef name,
                             const TestInfo &info);
  const Node *keyword(const Node &node, llvm::StringRef name);
  void failUnknown(const Node &node, llvm::StringRef what, bool known);

  TemplateScope *scope = nullptr;
  Function *function = nullptr;
  bool soft = false; // inside a branch, where Jinja forgives unknown filters
  unsigned depth = 0;
  unsigned failedLine = 0;
  std::string message;
};

} // namespace kiln::chat

#endif // KILN_COMPILER_CHAT_TEMPLATEEMITTER_H
