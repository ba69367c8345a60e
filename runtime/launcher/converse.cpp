// A conversation: `kiln chat` without the compiler. The whole of it is rendered by the model's
// template for every turn and assigned to the sequence, which evaluates what is new. A model
// without a template goes on with what is said, one turn right behind the other.

#include "launcher/loaded_model.h"
#include "launcher/turns.h"

#include "core/error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

namespace kiln {
namespace {

struct conversation_t {
  loaded_model_t *loaded;
  const options_t *options;
  array_t<kiln_chat_message> messages; /* contents are this conversation's own */

  ~conversation_t() {
    reset(0);
    messages.release();
  }

  /* Forgets all messages but the first `kept`. */
  void reset(uint32_t kept) {
    while (messages.count > kept)
      free(const_cast<char *>(messages[--messages.count].content));
  }

  bool say(const char *role, const char *text, size_t size) {
    char *copy = static_cast<char *>(malloc(size ? size : 1));
    if (!copy)
      return false;
    memcpy(copy, text, size);
    if (messages.push({role, copy, size}))
      return true;
    free(copy);
    return false;
  }
};

/* What sliding leaves in place: the system prompt, or a few tokens, but at most half the context.
 */
uint32_t tokens_to_keep(const conversation_t *talk) {
  const loaded_model_t *loaded = talk->loaded;
  size_t count = 4, size = 0;
  kiln_chat_options options = {};
  options.no_generation_prompt = 1;
  if (loaded->chat && talk->messages.count &&
      kiln_chat_render_messages(loaded->chat, talk->messages.data, 1, &options, nullptr, 0, &size,
                                nullptr) == KILN_BUFFER_TOO_SMALL) {
    char *text = static_cast<char *>(malloc(size));
    if (text && kiln_chat_render_messages(loaded->chat, talk->messages.data, 1, &options, text,
                                          size, &size, nullptr) == KILN_OK)
      kiln_tokenizer_encode(kiln_llm_tokenizer(loaded->llm), text, size, 0, nullptr, 0, &count,
                            nullptr);
    free(text);
  }
  uint32_t half = loaded->info.context_length / 2;
  return count < half ? (uint32_t)count : half;
}

/* Back to the system prompt. */
kiln_status_t begin(conversation_t *talk, kiln_error *error) {
  loaded_model_t *loaded = talk->loaded;
  talk->reset(0);
  const char *system = talk->options->system;
  if (system && !talk->say("system", system, strlen(system)))
    return fail(error, KILN_OUT_OF_MEMORY, "the system prompt");
  kiln_status_t status = kiln_sequence_truncate(loaded->llm, loaded->sequence, 0, error);
  // One answer ends with the context; a conversation goes on.
  if (!status && !talk->options->prompt)
    status = kiln_sequence_set_overflow(loaded->llm, loaded->sequence, KILN_OVERFLOW_SLIDE,
                                        tokens_to_keep(talk), error);
  return status;
}

/* Puts the messages into the sequence, the last one being new. */
kiln_status_t evaluate(conversation_t *talk, kiln_error *error) {
  loaded_model_t *loaded = talk->loaded;
  if (loaded->chat)
    return kiln_sequence_assign_messages(loaded->llm, loaded->sequence, loaded->chat,
                                         talk->messages.data, talk->messages.count, nullptr,
                                         nullptr, error);
  uint32_t length = 0;
  kiln_sequence_tokens(loaded->llm, loaded->sequence, &length);
  array_t<char> text = {};
  bool good = true;
  // At the beginning of the text: the system prompt, then what was said.
  for (uint32_t i = length ? talk->messages.count - 1 : 0; i < talk->messages.count; ++i)
    good = good && (text.count == 0 || append_text(&text, "\n", 1)) &&
           append_text(&text, talk->messages[i].content, talk->messages[i].content_bytes);
  kiln_status_t status =
      good ? kiln_sequence_append_text(loaded->llm, loaded->sequence, text.data, text.count,
                                       length ? 0 : KILN_ENCODE_TEMPLATE, error)
           : fail(error, KILN_OUT_OF_MEMORY, "a text of %u bytes", text.count);
  text.release();
  return status;
}

kiln_status_t answer(conversation_t *talk, const char *turn, size_t size, kiln_error *error) {
  loaded_model_t *loaded = talk->loaded;
  if (!talk->say("user", turn, size))
    return fail(error, KILN_OUT_OF_MEMORY, "a turn of %zu bytes", size);
  uint32_t before = kiln_sequence_length(loaded->llm, loaded->sequence);
  uint64_t started = clock_ns();
  kiln_status_t status = evaluate(talk, error);
  uint64_t prompt_ns = clock_ns() - started;
  if (status) {
    talk->reset(talk->messages.count - 1);
    return status;
  }
  uint32_t length = kiln_sequence_length(loaded->llm, loaded->sequence);
  array_t<char> said = {};
  kiln_llm_stats stats = {};
  status =
      generate(loaded, talk->options, nullptr, 0, talk->options->max_tokens, &said, &stats, error);
  bool stopped = status == KILN_CANCELLED;
  if (stopped)
    status = KILN_OK;
  if (!status && !talk->say("assistant", said.data, said.count))
    status = fail(error, KILN_OUT_OF_MEMORY, "an answer of %u bytes", said.count);
  said.release();
  if (!status && !talk->options->quiet) {
    auto rate = [](uint64_t tokens, uint64_t ns) {
      return ns ? (double)tokens * 1e9 / (double)ns : 0;
    };
    uint64_t prompt_tokens = length > before ? length - before : length;
    fprintf(stderr, "[%s%llu tokens, %.1f tokens/s; prompt %llu tokens, %.1f tokens/s]\n",
            stopped ? "stopped after " : "", (unsigned long long)stats.generated_tokens,
            rate(stats.generated_tokens, stats.generated_ns), (unsigned long long)prompt_tokens,
            rate(prompt_tokens, prompt_ns));
  }
  return status;
}

bool is_command(const array_t<char> &turn, const char *command) {
  return turn.count == strlen(command) && memcmp(turn.data, command, turn.count) == 0;
}

/* A line that begins with "/". *ended is set by /exit. */
kiln_status_t obey(conversation_t *talk, const array_t<char> &turn, bool *ended,
                   kiln_error *error) {
  if (is_command(turn, "/exit") || is_command(turn, "/quit")) {
    *ended = true;
    return KILN_OK;
  }
  if (is_command(turn, "/reset"))
    return begin(talk, error);
  if (is_command(turn, "/help")) {
    fprintf(stderr, "/reset      begin again, with the system prompt\n"
                    "/exit       end, as Ctrl-D does\n"
                    "A line that ends with \\ goes on in the next; \"\"\" begins and ends several "
                    "lines.\n");
    return KILN_OK;
  }
  return fail(error, KILN_INVALID_ARGUMENT, "%.*s: expected /reset, /help or /exit",
              (int)(turn.count < 100 ? turn.count : 100), turn.data);
}

int talk_with_stdin(conversation_t *talk) {
  loaded_model_t *loaded = talk->loaded;
  turn_reader_t reader = {isatty(STDIN_FILENO) == 1, nullptr, 0};
  if (!talk->options->quiet && reader.terminal)
    fprintf(stderr, "/help lists the commands; Ctrl-C stops an answer.\n");
  array_t<char> turn = {};
  bool ended = false, failed = false;
  while (!ended && turn_read(&reader, &turn)) {
    if (turn.count == 0)
      continue;
    kiln_error error = {};
    kiln_status_t status;
    if (turn[0] == '/') {
      status = obey(talk, turn, &ended, &error);
    } else {
      answer_begin();
      status = answer(talk, turn.data, turn.count, &error);
      answer_end();
    }
    if (status)
      report_failure(loaded, status, &error);
    failed = status != KILN_OK;
    if (ferror(stdout))
      break;
  }
  turn.release();
  free(reader.line);
  // A script learns of a failure; somebody at a terminal has seen it and gone on.
  return failed && (!reader.terminal || ferror(stdout)) ? 1 : 0;
}

} // namespace

int converse(loaded_model_t *loaded, const options_t *options) {
  conversation_t talk = {loaded, options, {}};
  kiln_error error = {};
  kiln_status_t status = begin(&talk, &error);
  if (!status && !loaded->chat && !options->quiet)
    fprintf(stderr, "The model has no chat template: it goes on with what you write.\n");
  if (!status && options->prompt)
    status = answer(&talk, options->prompt, strlen(options->prompt), &error);
  else if (!status && interrupts_handle(loaded->llm))
    return talk_with_stdin(&talk);
  else if (!status)
    status = fail(&error, KILN_IO, "interrupts cannot be handled: %s", strerror(errno));
  return status ? report_failure(loaded, status, &error) : 0;
}

} // namespace kiln
