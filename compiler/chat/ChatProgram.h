//===- ChatProgram.h - The program that a template becomes -----------------===//

#ifndef KILN_COMPILER_CHAT_CHATPROGRAM_H
#define KILN_COMPILER_CHAT_CHATPROGRAM_H

#include "chat_generated.h"

#include "compiler/chat/ChatTemplate.h"

#include <map>
#include <string>
#include <vector>

namespace kiln::chat {

/// The tables of runtime/schema/chat.fbs while they grow.
class ChatProgram {
public:
  /// Appends an instruction and returns its index.
  unsigned add(schema::ChatOp op, int64_t argument = 0);
  /// Lets the jump at `instruction` lead to what comes next.
  void land(unsigned instruction);
  unsigned here() const { return unsigned(code.size()); }
  unsigned text(llvm::StringRef text);
  void pushInteger(int64_t value);
  void pushReal(double value);
  unsigned addParameter(llvm::StringRef name);

  std::vector<uint8_t> write(const ChatVariables &variables);

  unsigned line = 1; // of the instructions to come
  std::vector<schema::ChatFunction> functions;
  unsigned parameterCount() const { return unsigned(parameters.size()); }

private:
  std::vector<uint32_t> code, parameters;
  std::vector<uint16_t> lines;
  std::vector<int64_t> integers;
  std::vector<double> reals;
  std::vector<std::string> texts;
  std::map<std::string, unsigned> textIndices;
};

} // namespace kiln::chat

#endif // KILN_COMPILER_CHAT_CHATPROGRAM_H
