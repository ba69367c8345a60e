// Compiles any bytes as a chat template; what compiles must open, and run within its limits.

#include "compiler/chat/ChatTemplate.h"
#include "kiln/chat.h"

#include "llvm/Support/Error.h"

#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  llvm::StringRef source(reinterpret_cast<const char *>(data), size);
  auto section = kiln::compileChatTemplate(source, {{"bos_token", "<s>"}});
  if (!section) {
    llvm::consumeError(section.takeError());
    return 0;
  }
  kiln_chat_t *chat = nullptr;
  if (kiln_chat_open_memory(section->data(), section->size(), &chat, nullptr) != KILN_OK)
    std::abort();
  constexpr char conversation[] =
      R"({"messages": [{"role": "user", "content": "Ünï 👍", "n": [1, 2.5, null]},
          {"role": "assistant", "content": [{"type": "text", "text": "a b"}]}], "tools": [{"a": {"b": "c"}}]})";
  kiln_chat_options options = {};
  options.local_time_s = 1753747200;
  options.max_steps = 200000;
  options.max_memory_bytes = 16u << 20;
  options.max_output_bytes = 1u << 20;
  char text[64];
  size_t text_bytes;
  kiln_chat_render(chat, conversation, sizeof conversation - 1, &options, text, sizeof text,
                   &text_bytes, nullptr);
  kiln_chat_close(chat);
  return 0;
}
