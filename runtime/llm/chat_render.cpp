// Renders conversations: the JSON text or the messages become the template's variables, as
// transformers prepares them, and the program writes the text.

#include "llm/chat_value.h"

#include "core/error.h"

#include <stdlib.h>
#include <string.h>

namespace kiln {
namespace chat {
namespace {

value_t literal(const char *text) { return make_text(text, strlen(text)); }

/* Older names of the reasoning in a message count as the present one, and the present one as the
 * name that some templates read. */
value_t alias_reasoning(machine_t *m, const value_t &message) {
  value_t fields[] = {literal("reasoning_content"), literal("thinking"), literal("reasoning")};
  value_t reasoning = make(type_none);
  for (const value_t &field : fields) {
    const value_t *found = find_entry(m, message, field);
    if (found && found->type != type_none) {
      reasoning = *found;
      break;
    }
  }
  if (reasoning.type == type_none)
    return message;
  entry_t *entries = allocate_entries(m, (uint64_t)message.count + 2);
  value_t result = make(type_dict);
  result.entries = entries;
  entries[result.count++] = {fields[1], reasoning};
  for (uint32_t i = 0; i < message.count; ++i) {
    if (same_text(message.entries[i].key, fields[1]))
      entries[0].value = message.entries[i].value;
    else
      entries[result.count++] = message.entries[i];
  }
  if (const value_t *found = find_entry(m, result, fields[0]))
    *const_cast<value_t *>(found) = reasoning;
  else
    entries[result.count++] = {fields[0], reasoning};
  return result;
}

value_t prepare_messages(machine_t *m, const value_t &messages) {
  if (messages.type != type_list)
    raise(m, KILN_INVALID_ARGUMENT, "conversation: expected messages to be a list, found a %s",
          type_name(messages));
  value_t *prepared = allocate_values(m, messages.count);
  for (uint32_t i = 0; i < messages.count; ++i) {
    if (messages.items[i].type != type_dict)
      raise(m, KILN_INVALID_ARGUMENT, "conversation, message %u: expected an object, found a %s", i,
            type_name(messages.items[i]));
    prepared[i] = alias_reasoning(m, messages.items[i]);
  }
  return make_sequence(type_list, prepared, messages.count);
}

/* The variables of the call, the defaults of what it leaves out, then those of the model. */
void set_variables(machine_t *m, value_t conversation) {
  if (conversation.type == type_list) {
    entry_t *entry = allocate_entries(m, 1);
    *entry = {literal("messages"), conversation};
    conversation = make(type_dict);
    conversation.entries = entry;
    conversation.count = 1;
  }
  if (conversation.type != type_dict)
    raise(m, KILN_INVALID_ARGUMENT, "conversation: expected an object or an array, found a %s",
          type_name(conversation));
  const kiln_chat &program = *m->program;
  entry_t *entries =
      allocate_entries(m, (uint64_t)conversation.count + 3 + program.variables.size / 2);
  m->variables = make(type_dict);
  m->variables.entries = entries;
  auto add = [&](const value_t &name, const value_t &value) {
    if (!find_entry(m, m->variables, name))
      entries[m->variables.count++] = {name, value};
  };
  for (uint32_t i = 0; i < conversation.count; ++i)
    add(conversation.entries[i].key, conversation.entries[i].value);
  value_t *messages = const_cast<value_t *>(find_entry(m, m->variables, literal("messages")));
  if (!messages)
    raise(m, KILN_INVALID_ARGUMENT, "conversation: there are no messages");
  *messages = prepare_messages(m, *messages);
  bool prompt = !m->options || !m->options->no_generation_prompt;
  add(literal("tools"), make(type_none));
  add(literal("documents"), make(type_none));
  add(literal("add_generation_prompt"), make_boolean(prompt));
  for (uint32_t i = 0; i + 1 < program.variables.size; i += 2) {
    auto text = [&](uint32_t index) {
      uint32_t begin = program.text_offsets[index];
      return make_text(program.text_bytes + begin, program.text_offsets[index + 1] - begin);
    };
    add(text(program.variables[i]), text(program.variables[i + 1]));
  }
}

value_t make_message_list(machine_t *m, const kiln_chat_message *messages, size_t count) {
  value_t *items = allocate_values(m, count);
  for (size_t i = 0; i < count; ++i) {
    const kiln_chat_message &message = messages[i];
    if (!message.role || (!message.content && message.content_bytes) ||
        message.content_bytes >= UINT32_MAX)
      raise(m, KILN_INVALID_ARGUMENT, "message %zu: expected a role and a content below 4 GiB", i);
    entry_t *entries = allocate_entries(m, 2);
    entries[0] = {literal("role"), literal(message.role)};
    entries[1] = {literal("content"), make_text(message.content, message.content_bytes)};
    items[i] = make(type_dict);
    items[i].entries = entries;
    items[i].count = 2;
  }
  return make_sequence(type_list, items, (uint32_t)count);
}

struct input_t {
  const char *json;
  size_t json_bytes;
  const kiln_chat_message *messages; /* where json is NULL */
  size_t count;
};

/* The text is in m->output afterwards, and release(m) is to be called in any case. */
kiln_status_t render(machine_t *m, const kiln_chat *chat, const input_t &input,
                     const kiln_chat_options *options, kiln_error *error) {
  memset(m, 0, sizeof(*m));
  if (!chat || (!input.json && !input.messages && input.count))
    return fail(error, KILN_INVALID_ARGUMENT, "expected a chat template and a conversation");
  m->program = chat;
  m->options = options;
  m->error = error;
  m->max_steps = options && options->max_steps ? options->max_steps : 50000000;
  m->max_memory_bytes =
      options && options->max_memory_bytes ? options->max_memory_bytes : 256u << 20;
  m->max_output_bytes =
      options && options->max_output_bytes ? options->max_output_bytes : 64u << 20;
  if (setjmp(m->escape))
    return m->status;
  if (input.json && input.json_bytes >= UINT32_MAX)
    raise(m, KILN_INVALID_ARGUMENT, "conversation: expected less than 4 GiB");
  set_variables(m, input.json ? read_json(m, input.json, input.json_bytes)
                              : make_message_list(m, input.messages, input.count));
  run_template(m);
  return KILN_OK;
}

kiln_status_t render_into(const kiln_chat *chat, const input_t &input,
                          const kiln_chat_options *options, char *text, size_t capacity,
                          size_t *text_bytes, kiln_error *error) {
  if (!text_bytes || (!text && capacity))
    return fail(error, KILN_INVALID_ARGUMENT, "expected a place for the text and for its size");
  machine_t machine;
  kiln_status_t status = render(&machine, chat, input, options, error);
  if (status == KILN_OK) {
    *text_bytes = machine.output_bytes;
    if (machine.output_bytes > capacity)
      status = fail(error, KILN_BUFFER_TOO_SMALL, "the text has %llu bytes, the buffer %zu",
                    (unsigned long long)machine.output_bytes, capacity);
    else if (machine.output_bytes)
      memcpy(text, machine.output, machine.output_bytes);
  }
  release(&machine);
  return status;
}

} // namespace
} // namespace chat
} // namespace kiln

using namespace kiln;
using namespace kiln::chat;

kiln_status_t kiln_chat_render(const kiln_chat_t *chat, const char *conversation,
                               size_t conversation_bytes, const kiln_chat_options *options,
                               char *text, size_t capacity, size_t *text_bytes, kiln_error *error) {
  return render_into(chat, {conversation ? conversation : "", conversation_bytes, nullptr, 0},
                     options, text, capacity, text_bytes, error);
}

kiln_status_t kiln_chat_render_messages(const kiln_chat_t *chat, const kiln_chat_message *messages,
                                        size_t count, const kiln_chat_options *options, char *text,
                                        size_t capacity, size_t *text_bytes, kiln_error *error) {
  return render_into(chat, {nullptr, 0, messages, count}, options, text, capacity, text_bytes,
                     error);
}

kiln_status_t kiln_chat_render_to(const kiln_chat_t *chat, const char *conversation,
                                  size_t conversation_bytes, const kiln_chat_options *options,
                                  kiln_chat_write_fn write, void *user, kiln_error *error) {
  if (!write)
    return fail(error, KILN_INVALID_ARGUMENT, "expected a function that takes the text");
  machine_t machine;
  kiln_status_t status =
      render(&machine, chat, {conversation ? conversation : "", conversation_bytes, nullptr, 0},
             options, error);
  if (status == KILN_OK && machine.output_bytes &&
      write(user, machine.output, machine.output_bytes) != 0)
    status = fail(error, KILN_CANCELLED, "cancelled while the text was written");
  release(&machine);
  return status;
}
