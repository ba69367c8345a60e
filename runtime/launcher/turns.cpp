// Reads turns from stdin, and keeps an interrupt from ending the program: at the prompt it comes
// through a pipe, since it may come just before the read and on any thread.

#include "launcher/turns.h"

#include "launcher/loaded_model.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

namespace kiln {
namespace {

volatile sig_atomic_t answering = 0;
kiln_llm_t *interrupted = nullptr;
int interrupts[2] = {-1, -1};

void on_interrupt(int) {
  int saved = errno;
  if (answering)
    kiln_llm_cancel(interrupted);
  else if (write(interrupts[1], "", 1) < 0) {
    // The pipe is full of interrupts: one more would say nothing new.
  }
  errno = saved;
}

/* Waits for a line on a terminal; false for an interrupt. */
bool await_line() {
  pollfd sources[] = {{STDIN_FILENO, POLLIN, 0}, {interrupts[0], POLLIN, 0}};
  while (poll(sources, 2, -1) < 0 && errno == EINTR) {
  }
  char bytes[64];
  bool interrupt = false;
  while (read(interrupts[0], bytes, sizeof(bytes)) > 0)
    interrupt = true;
  return !interrupt;
}

/* The line without its end; false where there is none. */
bool read_line(turn_reader_t *reader, const char *prompt, size_t *size) {
  while (true) {
    if (reader->terminal)
      fprintf(stderr, "%s", prompt);
    if (reader->terminal && !await_line()) {
      fprintf(stderr, "\n(/exit or Ctrl-D ends)\n");
      continue;
    }
    ssize_t found = getline(&reader->line, &reader->capacity, stdin);
    if (found < 0)
      return false;
    *size = (size_t)found;
    while (*size && (reader->line[*size - 1] == '\n' || reader->line[*size - 1] == '\r'))
      --*size;
    return true;
  }
}

constexpr char quotes[] = "\"\"\"";
constexpr size_t quotes_size = 3;

bool ends_with_quotes(const char *text, size_t size) {
  return size >= quotes_size && memcmp(text + size - quotes_size, quotes, quotes_size) == 0;
}

/* From behind the quotes that begin it, which are in the line. */
bool read_block(turn_reader_t *reader, size_t size, array_t<char> *turn) {
  const char *text = reader->line + quotes_size;
  size -= quotes_size;
  while (!ends_with_quotes(text, size)) {
    if (!append_text(turn, text, size) || !append_text(turn, "\n", 1))
      return false;
    if (!read_line(reader, "  ", &size))
      return true;
    text = reader->line;
  }
  return append_text(turn, text, size - quotes_size);
}

} // namespace

bool interrupts_handle(kiln_llm_t *llm) {
  interrupted = llm;
  if (pipe(interrupts) != 0)
    return false;
  for (int end : interrupts)
    if (fcntl(end, F_SETFD, FD_CLOEXEC) != 0 || fcntl(end, F_SETFL, O_NONBLOCK) != 0)
      return false;
  struct sigaction action = {};
  action.sa_handler = on_interrupt;
  action.sa_flags = SA_RESTART;
  return sigaction(SIGINT, &action, nullptr) == 0;
}

void answer_begin(void) {
  kiln_llm_uncancel(interrupted);
  answering = 1;
}

void answer_end(void) { answering = 0; }

bool turn_read(turn_reader_t *reader, array_t<char> *turn) {
  turn->count = 0;
  size_t size = 0;
  if (!read_line(reader, "> ", &size))
    return false;
  if (size >= quotes_size && memcmp(reader->line, quotes, quotes_size) == 0)
    return read_block(reader, size, turn);
  while (size && reader->line[size - 1] == '\\') {
    if (!append_text(turn, reader->line, size - 1) || !append_text(turn, "\n", 1))
      return false;
    if (!read_line(reader, "  ", &size))
      return true;
  }
  return append_text(turn, reader->line, size);
}

} // namespace kiln
