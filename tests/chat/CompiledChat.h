// A chat template compiled and opened for a test.

#ifndef KILN_TESTS_CHAT_COMPILEDCHAT_H
#define KILN_TESTS_CHAT_COMPILEDCHAT_H

#include "compiler/chat/ChatTemplate.h"
#include "kiln/chat.h"

#include "llvm/Support/Error.h"

#include <string>
#include <vector>

namespace kiln::test {

class CompiledChat {
public:
  explicit CompiledChat(const std::string &source, const ChatVariables &variables = {}) {
    auto compiled = compileChatTemplate(source, variables);
    if (!compiled) {
      error = llvm::toString(compiled.takeError());
      return;
    }
    section = std::move(*compiled);
    kiln_error failure = {};
    if (kiln_chat_open_memory(section.data(), section.size(), &chat, &failure))
      error = failure.text;
  }
  ~CompiledChat() { kiln_chat_close(chat); }
  CompiledChat(const CompiledChat &) = delete;

  /// The text, or "status: error".
  std::string render(const std::string &conversation, kiln_chat_options options = {}) const {
    std::string text;
    auto take = [](void *user, const char *part, size_t size) {
      static_cast<std::string *>(user)->append(part, size);
      return 0;
    };
    kiln_error failure = {};
    kiln_status_t status = kiln_chat_render_to(chat, conversation.data(), conversation.size(),
                                               &options, take, &text, &failure);
    return status == KILN_OK ? text : std::to_string(status) + ": " + failure.text;
  }

  std::vector<uint8_t> section;
  kiln_chat_t *chat = nullptr;
  std::string error;
};

} // namespace kiln::test

#endif // KILN_TESTS_CHAT_COMPILEDCHAT_H
