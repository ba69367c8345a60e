/* Chat templates: a conversation becomes the text that the model was trained to continue.
 *
 * The template is the model's own (Jinja, as Hugging Face transformers evaluates it), compiled with
 * the model into a small program. It is a stranger's program, so it gets no file, no network and no
 * memory but its own, and ends within limits of steps, depth, memory and output. It may read the
 * clock (strftime_now). The rules of kiln.h hold: C ABI, no exception, no output, statuses with a
 * text. Memory is taken for the time of a call only.
 *
 * A typical use:
 *
 *   kiln_chat_message messages[] = {{"system", "Be brief.", 9}, {"user", "Hello!", 6}};
 *   kiln_chat_render_messages(chat, messages, 2, NULL, text, sizeof text, &size, &error);
 *   kiln_tokenizer_encode(tokenizer, text, size, 0, ids, capacity, &count, &error);
 *
 * The template writes begin-of-text tokens itself: encode without KILN_ENCODE_TEMPLATE.
 */
#ifndef KILN_CHAT_H
#define KILN_CHAT_H

#include "kiln/llm.h"

#ifdef __cplusplus
extern "C" {
#endif
#ifdef __GNUC__
#pragma GCC visibility push(default)
#endif

/* A model's chat template. Immutable after opening; may be used from any number of threads. */
typedef struct kiln_chat kiln_chat_t;

/* Uses the artifact's chat section in place: the model must outlive the template.
 * KILN_NO_CHAT_TEMPLATE where the artifact has none. */
kiln_status_t kiln_chat_open(const kiln_model_t *model, kiln_chat_t **chat, kiln_error *error);
/* The same from the bytes of a chat section (runtime/schema/chat.fbs), aligned to 8 bytes, which
 * must outlive the template. */
kiln_status_t kiln_chat_open_memory(const void *data, size_t size_bytes, kiln_chat_t **chat,
                                    kiln_error *error);
void kiln_chat_close(kiln_chat_t *chat); /* NULL is allowed */

/* Whether the template asks for a variable that it does not set itself ("tools",
 * "enable_thinking"): 1 or 0. */
int kiln_chat_uses(const kiln_chat_t *chat, const char *variable);

/* A zero in any field of limits means the default. */
typedef struct kiln_chat_options {
  int no_generation_prompt;  /* 1: do not open the answer of the assistant at the end */
  int64_t local_time_s;      /* what strftime_now shows: seconds since 1970-01-01 00:00, local time;
                                0: the system's clock in the system's time zone */
  uint64_t max_steps;        /* instructions, and 1 for every 16 bytes they handle: 50 million */
  uint64_t max_memory_bytes; /* values and texts at the time of the call: 256 MiB */
  uint64_t max_output_bytes; /* 64 MiB */
} kiln_chat_options;

/* Renders a conversation given as JSON: an object whose members are the template's variables, or an
 * array, which is taken as its "messages".
 *
 *   {"messages": [{"role": "user", "content": "…"}], "tools": […], "documents": […],
 *    "add_generation_prompt": true, "enable_thinking": false}
 *
 * messages is required; each has at least a "role" and mostly a "content" (a string, or a list of
 * parts). What is not given is as transformers has it: tools and documents are none,
 * add_generation_prompt is as in `options`; bos_token, eos_token and their like come from the
 * model. Objects keep the order of their keys. Depth at most 64, values at most 4 million.
 * `options` may be NULL.
 *
 * *text_bytes is the size of the rendered text also where it does not fit (KILN_BUFFER_TOO_SMALL),
 * so that a first call may pass NULL and capacity 0. The text is not zero-terminated.
 *
 * KILN_INVALID_ARGUMENT: the JSON is not valid; the text names the byte. KILN_CHAT_REFUSED: the
 * template called raise_exception; the text is its message. KILN_CHAT_FAILED: an operation of the
 * template failed on this conversation (Python would have raised); the text names the line.
 * KILN_CHAT_LIMIT: a limit was reached. */
kiln_status_t kiln_chat_render(const kiln_chat_t *chat, const char *conversation,
                               size_t conversation_bytes, const kiln_chat_options *options,
                               char *text, size_t capacity, size_t *text_bytes, kiln_error *error);

/* Takes the rendered text, or the next part of it. A non-zero result stops with KILN_CANCELLED. */
typedef int (*kiln_chat_write_fn)(void *user, const char *text, size_t text_bytes);
/* The same, but the text goes to a function. Nothing is written unless the whole conversation could
 * be rendered. */
kiln_status_t kiln_chat_render_to(const kiln_chat_t *chat, const char *conversation,
                                  size_t conversation_bytes, const kiln_chat_options *options,
                                  kiln_chat_write_fn write, void *user, kiln_error *error);

typedef struct kiln_chat_message {
  const char *role;    /* zero-terminated: "system", "user", "assistant", "tool" */
  const char *content; /* UTF-8 */
  size_t content_bytes;
} kiln_chat_message;
/* kiln_chat_render for messages of plain text. */
kiln_status_t kiln_chat_render_messages(const kiln_chat_t *chat, const kiln_chat_message *messages,
                                        size_t count, const kiln_chat_options *options, char *text,
                                        size_t capacity, size_t *text_bytes, kiln_error *error);

/* Makes a conversation, rendered by the template and encoded, the text of the sequence as
 * kiln_sequence_assign does. With each turn of a chat only what is new is evaluated. */
kiln_status_t kiln_sequence_assign_messages(kiln_llm_t *llm, uint32_t sequence,
                                            const kiln_chat_t *chat,
                                            const kiln_chat_message *messages, size_t count,
                                            const kiln_chat_options *options, size_t *reused,
                                            kiln_error *error);

#ifdef __GNUC__
#pragma GCC visibility pop
#endif
#ifdef __cplusplus
}
#endif

#endif /* KILN_CHAT_H */
