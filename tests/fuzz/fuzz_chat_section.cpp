// Any bytes as a chat section and a conversation: the first four say how long the section is. What
// opens must run within its limits, or end with an error.

#include "kiln/chat.h"

#include <cstdlib>
#include <cstring>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  uint32_t section_bytes;
  if (size < sizeof section_bytes)
    return 0;
  std::memcpy(&section_bytes, data, sizeof section_bytes);
  data += sizeof section_bytes;
  size -= sizeof section_bytes;
  if (section_bytes > size)
    section_bytes = (uint32_t)size;
  void *section = std::malloc(section_bytes ? section_bytes : 1); // aligned
  std::memcpy(section, data, section_bytes);
  kiln_chat_t *chat = nullptr;
  if (kiln_chat_open_memory(section, section_bytes, &chat, nullptr) == KILN_OK) {
    kiln_chat_options options = {};
    options.local_time_s = 1753747200;
    options.max_steps = 200000;
    options.max_memory_bytes = 16u << 20;
    options.max_output_bytes = 1u << 20;
    char text[64];
    size_t text_bytes;
    kiln_error error;
    kiln_chat_render(chat, reinterpret_cast<const char *>(data) + section_bytes,
                     size - section_bytes, &options, text, sizeof text, &text_bytes, &error);
    kiln_chat_close(chat);
  }
  std::free(section);
  return 0;
}
