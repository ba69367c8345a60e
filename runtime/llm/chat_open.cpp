// Opens the chat section: verifies the flatbuffer, then every index that an instruction or a table
// holds. An error names the table and the entry.

#include "llm/chat_value.h"

#include "core/checked.h"
#include "core/error.h"
#include "kiln/artifact.h"

#include <stdlib.h>
#include <string.h>

namespace kiln {
namespace chat {
namespace {

constexpr uint32_t max_instructions = 1u << 22;

template <typename T> table_t<T> table(const flatbuffers::Vector<T> *vector) {
  return {vector->data(), vector->size()};
}

struct opening_t {
  kiln_chat *chat;
  const schema::ChatTemplate *source;
  kiln_error *error;

  kiln_status_t corrupt(const char *what, uint32_t index) const {
    return fail(error, KILN_CORRUPT, "chat section: %s (entry %u)", what, index);
  }
  kiln_status_t check_texts() const;
  kiln_status_t check_functions() const;
  kiln_status_t check_instruction(uint32_t index) const;
  kiln_status_t check_all() const;
};

kiln_status_t opening_t::check_texts() const {
  table_t<uint32_t> offsets = table(source->text_offsets());
  uint32_t bytes = source->text_bytes()->size();
  if (offsets.size == 0 || offsets[0] != 0 || offsets[offsets.size - 1] != bytes)
    return corrupt("text_offsets do not cover the texts", 0);
  for (uint32_t i = 1; i < offsets.size; ++i)
    if (offsets[i - 1] > offsets[i])
      return corrupt("text_offsets are not ascending", i);
  chat->text_count = offsets.size - 1;
  chat->text_offsets = offsets.data;
  chat->text_bytes = reinterpret_cast<const char *>(source->text_bytes()->data());
  chat->names = source->names()->data();
  if (source->names()->size() != chat->text_count)
    return corrupt("expected one of names for each text", source->names()->size());
  for (uint32_t i = 0; i < chat->text_count; ++i)
    if (chat->names[i] > schema::ChatName_MAX)
      return corrupt("a name of unknown meaning", i);
  chat->parameters = table(source->parameters());
  chat->variables = table(source->variables());
  for (uint32_t i = 0; i < chat->parameters.size; ++i)
    if (chat->parameters[i] >= chat->text_count)
      return corrupt("a parameter without a name", i);
  if (chat->variables.size % 2 != 0)
    return corrupt("a variable without a value", chat->variables.size);
  for (uint32_t i = 0; i < chat->variables.size; ++i)
    if (chat->variables[i] >= chat->text_count)
      return corrupt("a variable without a text", i);
  return KILN_OK;
}

kiln_status_t opening_t::check_functions() const {
  const auto *functions = source->functions();
  static_assert(sizeof(schema::ChatFunction) == 20, "read in place");
  chat->functions = {reinterpret_cast<const schema::ChatFunction *>(functions->Data()),
                     functions->size()};
  if (functions->size() == 0)
    return corrupt("there is no function", 0);
  for (uint32_t i = 0; i < functions->size(); ++i) {
    const schema::ChatFunction &function = chat->functions[i];
    uint64_t end = (uint64_t)function.first_parameter() + function.parameter_count();
    if (function.first() >= chat->code.size || function.name() >= chat->text_count ||
        end > chat->parameters.size || function.parameter_count() > function.slot_count() ||
        function.caller_slot() < -1 || function.caller_slot() >= function.slot_count())
      return corrupt("a function refers to what is not there", i);
  }
  return KILN_OK;
}

kiln_status_t opening_t::check_instruction(uint32_t index) const {
  using namespace schema;
  int32_t instruction = (int32_t)chat->code[index];
  uint32_t op = (uint32_t)instruction & 0xFF, argument = (uint32_t)(instruction >> 8);
  uint64_t limit; // what the argument must be below
  switch (op) {
  case ChatOp_push_text:
  case ChatOp_push_undefined:
  case ChatOp_resolve:
  case ChatOp_write_text:
  case ChatOp_attribute:
  case ChatOp_item_named:
  case ChatOp_set_attribute:
  case ChatOp_fail_with:
    limit = chat->text_count;
    break;
  case ChatOp_push_integer:
    limit = chat->integers.size;
    break;
  case ChatOp_push_real:
    limit = chat->reals.size;
    break;
  case ChatOp_jump:
  case ChatOp_jump_if_present:
  case ChatOp_jump_if_false:
  case ChatOp_jump_if_true:
  case ChatOp_jump_if_false_keep:
  case ChatOp_jump_if_true_keep:
  case ChatOp_next_item:
  case ChatOp_jump_if_iterated:
    limit = chat->code.size;
    break;
  case ChatOp_make_macro:
    limit = chat->functions.size;
    break;
  case ChatOp_filter:
    limit = 1u << 16;
    argument |= (argument & 0xFF) > ChatFilter_MAX ? 1u << 31 : 0;
    break;
  case ChatOp_test:
    limit = 1u << 16;
    argument |= (argument & 0xFF) > ChatTest_MAX ? 1u << 31 : 0;
    break;
  case ChatOp_concatenate:
  case ChatOp_build_list:
  case ChatOp_build_tuple:
  case ChatOp_build_dict:
  case ChatOp_unpack:
    limit = max_stack / 2 + 1;
    break;
  default:
    limit = op <= ChatOp_MAX ? UINT64_MAX : 0;
  }
  if (argument >= limit)
    return corrupt("an instruction refers to what is not there", index);
  return KILN_OK;
}

kiln_status_t opening_t::check_all() const {
  if (source->version() != 1)
    return fail(error, KILN_UNSUPPORTED_VERSION, "chat section: expected version 1, found %u",
                source->version());
  chat->code = table(source->code());
  chat->lines = source->lines()->data();
  chat->integers = table(source->integers());
  chat->reals = table(source->reals());
  if (chat->code.size == 0 || chat->code.size > max_instructions ||
      source->lines()->size() != chat->code.size)
    return corrupt("expected instructions, and a line for each", chat->code.size);
  if (kiln_status_t status = check_texts())
    return status;
  if (kiln_status_t status = check_functions())
    return status;
  for (uint32_t i = 0; i < chat->code.size; ++i)
    if (kiln_status_t status = check_instruction(i))
      return status;
  return KILN_OK;
}

} // namespace
} // namespace chat
} // namespace kiln

using namespace kiln;
using namespace kiln::chat;

kiln_status_t kiln_chat_open_memory(const void *data, size_t size_bytes, kiln_chat_t **chat,
                                    kiln_error *error) {
  if (!data || !chat)
    return fail(error, KILN_INVALID_ARGUMENT, "expected bytes and a place for the template");
  if (!is_aligned(data, 8))
    return fail(error, KILN_INVALID_ARGUMENT, "chat section: not aligned to 8 bytes");
  flatbuffers::Verifier verifier(static_cast<const uint8_t *>(data), size_bytes, 16);
  if (size_bytes >= FLATBUFFERS_MAX_BUFFER_SIZE || !schema::VerifyChatTemplateBuffer(verifier))
    return fail(error, KILN_CORRUPT, "chat section: not a chat template of %zu bytes", size_bytes);
  kiln_chat *result = static_cast<kiln_chat *>(calloc(1, sizeof(kiln_chat)));
  if (!result)
    return fail(error, KILN_OUT_OF_MEMORY, "a chat template");
  opening_t opening = {result, schema::GetChatTemplate(data), error};
  if (kiln_status_t status = opening.check_all()) {
    free(result);
    return status;
  }
  *chat = result;
  return KILN_OK;
}

kiln_status_t kiln_chat_open(const kiln_model_t *model, kiln_chat_t **chat, kiln_error *error) {
  if (!model || !chat)
    return fail(error, KILN_INVALID_ARGUMENT, "expected a model and a place for the template");
  const void *data = nullptr;
  size_t size_bytes = 0;
  if (kiln_model_section(model, KILN_SECTION_CHAT, &data, &size_bytes) != KILN_OK)
    return fail(error, KILN_NO_CHAT_TEMPLATE, "the artifact has no chat template");
  return kiln_chat_open_memory(data, size_bytes, chat, error);
}

void kiln_chat_close(kiln_chat_t *chat) { free(chat); }

int kiln_chat_uses(const kiln_chat_t *chat, const char *variable) {
  if (!chat || !variable)
    return 0;
  size_t size = strlen(variable);
  for (uint32_t i = 0; i < chat->code.size; ++i) {
    uint32_t text = chat->code[i] >> 8;
    if ((chat->code[i] & 0xFF) != schema::ChatOp_resolve)
      continue;
    uint32_t begin = chat->text_offsets[text];
    if (chat->text_offsets[text + 1] - begin == size &&
        memcmp(chat->text_bytes + begin, variable, size) == 0)
      return 1;
  }
  return 0;
}
