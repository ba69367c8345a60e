//===- ChatTemplate.cpp - Compiles a chat template to a program ------------===//
//
// Source → tokens → syntax tree → instructions. Nothing is evaluated here; what the program may do
// at run time is bounded there.
//
//===----------------------------------------------------------------------===//

#include "compiler/chat/ChatTemplate.h"

#include "compiler/chat/TemplateEmitter.h"
#include "compiler/chat/TemplateSyntax.h"

#include "llvm/ADT/Twine.h"
#include "llvm/Support/ConvertUTF.h"

using namespace kiln;
using namespace kiln::chat;
using llvm::StringRef;

static llvm::Error within(StringRef name, llvm::Error error) {
  return llvm::createStringError(name + ": " + llvm::toString(std::move(error)));
}

llvm::Expected<std::vector<uint8_t>>
kiln::compileChatTemplate(StringRef source, const ChatVariables &variables, StringRef name) {
  const auto *bytes = reinterpret_cast<const llvm::UTF8 *>(source.data());
  if (!llvm::isLegalUTF8String(&bytes, bytes + source.size()))
    return llvm::createStringError(name + ": not UTF-8");
  auto statements = parseTemplate(source);
  if (!statements)
    return within(name, statements.takeError());
  TemplateEmitter emitter;
  emitter.emitTemplate(*statements);
  if (llvm::Error error = emitter.takeError())
    return within(name, std::move(error));
  return emitter.program.write(variables);
}
