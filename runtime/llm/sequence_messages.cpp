// A conversation as the text of a sequence: rendered by the model's own template, encoded,
// assigned.

#include "llm/llm.h"

#include "core/error.h"
#include "kiln/chat.h"

#include <stdlib.h>

using namespace kiln;

namespace {

struct buffers_t {
  char *text;
  int32_t *tokens;
  ~buffers_t() {
    free(text);
    free(tokens);
  }
};

} // namespace

static kiln_status_t render(const kiln_chat_t *chat, const kiln_chat_message *messages,
                            size_t count, const kiln_chat_options *options, char **text,
                            size_t *size, kiln_error *error) {
  kiln_status_t status =
      kiln_chat_render_messages(chat, messages, count, options, nullptr, 0, size, error);
  if (status != KILN_BUFFER_TOO_SMALL)
    return status;
  *text = static_cast<char *>(malloc(*size));
  if (!*text)
    return fail(error, KILN_OUT_OF_MEMORY, "a conversation of %zu bytes", *size);
  size_t capacity = *size;
  return kiln_chat_render_messages(chat, messages, count, options, *text, capacity, size, error);
}

kiln_status_t kiln_sequence_assign_messages(kiln_llm_t *llm, uint32_t sequence,
                                            const kiln_chat_t *chat,
                                            const kiln_chat_message *messages, size_t count,
                                            const kiln_chat_options *options, size_t *reused,
                                            kiln_error *error) {
  if (!llm || !chat || (!messages && count))
    return fail(error, KILN_INVALID_ARGUMENT,
                "expected a language model, a chat template and messages");
  if (!llm->tokenizer)
    return fail(error, KILN_NO_TOKENIZER, "the artifact has no tokenizer: assign token ids");
  if (!sequence_find(llm, sequence, error))
    return KILN_INVALID_ARGUMENT;
  buffers_t buffers = {};
  size_t size = 0, tokens = 0;
  if (kiln_status_t status = render(chat, messages, count, options, &buffers.text, &size, error))
    return status;
  // The template writes begin tokens itself.
  kiln_status_t status =
      kiln_tokenizer_encode(llm->tokenizer, buffers.text, size, 0, nullptr, 0, &tokens, error);
  if (status == KILN_BUFFER_TOO_SMALL) {
    buffers.tokens = static_cast<int32_t *>(calloc(tokens, sizeof(int32_t)));
    if (!buffers.tokens)
      return fail(error, KILN_OUT_OF_MEMORY, "a conversation of %zu tokens", tokens);
    status = kiln_tokenizer_encode(llm->tokenizer, buffers.text, size, 0, buffers.tokens, tokens,
                                   &tokens, error);
  }
  if (status)
    return status;
  return kiln_sequence_assign(llm, sequence, buffers.tokens, tokens, reused, error);
}
