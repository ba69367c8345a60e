// The memory of a rendering: chunks that go all at once when it ends, the text that it writes, and
// the way out of it when something fails. Whatever is allocated, written or handled counts against
// the limits of the call.

#include "llm/chat_value.h"

#include "core/error.h"
#include "llm/utf8.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

namespace kiln {
namespace chat {

struct chunk_t {
  chunk_t *next;
  uint64_t bytes;
};

constexpr uint64_t chunk_bytes = 64u << 10;

void raise(machine_t *m, kiln_status_t status, const char *format, ...) {
  char text[sizeof(kiln_error::text)];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof(text), format, arguments);
  va_end(arguments);
  m->status = fail(m->error, status, "%s", text);
  longjmp(m->escape, 1);
}

void raise_here(machine_t *m, const char *format, ...) {
  char text[sizeof(kiln_error::text)];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof(text), format, arguments);
  va_end(arguments);
  raise(m, KILN_CHAT_FAILED, "chat template, line %u: %s", m->line, text);
}

void work(machine_t *m, uint64_t bytes) {
  m->steps += 1 + bytes / 16;
  if (m->steps > m->max_steps)
    raise(m, KILN_CHAT_LIMIT, "chat template, line %u: more than %llu steps", m->line,
          (unsigned long long)m->max_steps);
}

static void take_memory(machine_t *m, uint64_t bytes) {
  if (bytes > m->max_memory_bytes - m->memory_bytes)
    raise(m, KILN_CHAT_LIMIT, "chat template, line %u: more than %llu bytes of memory", m->line,
          (unsigned long long)m->max_memory_bytes);
  m->memory_bytes += bytes;
}

static void *allocate_aligned(machine_t *m, uint64_t bytes, uint64_t alignment) {
  work(m, bytes);
  uint64_t skip = -(uint64_t)(uintptr_t)m->free_begin & (alignment - 1);
  uint64_t left = (uint64_t)(m->free_end - m->free_begin);
  if (!m->free_begin || skip > left || bytes > left - skip) {
    if (bytes > m->max_memory_bytes) // also keeps the sum below from wrapping
      take_memory(m, bytes);
    uint64_t wanted = sizeof(chunk_t) + (bytes > chunk_bytes / 4 ? bytes : chunk_bytes);
    take_memory(m, wanted);
    chunk_t *chunk = static_cast<chunk_t *>(malloc(wanted));
    if (!chunk)
      raise(m, KILN_OUT_OF_MEMORY, "chat template: %llu bytes", (unsigned long long)wanted);
    chunk->bytes = wanted;
    chunk->next = m->chunks;
    m->chunks = chunk;
    char *begin = reinterpret_cast<char *>(chunk + 1);
    if (bytes > chunk_bytes / 4) // a chunk of its own
      return begin;
    m->free_begin = begin;
    m->free_end = begin + chunk_bytes;
    skip = 0;
  }
  char *result = m->free_begin + skip;
  m->free_begin = result + bytes;
  return result;
}

void *allocate(machine_t *m, uint64_t bytes) { return allocate_aligned(m, bytes, 16); }

value_t *allocate_values(machine_t *m, uint64_t count) {
  if (count > UINT32_MAX)
    raise(m, KILN_CHAT_LIMIT, "chat template, line %u: a list is too long", m->line);
  return static_cast<value_t *>(allocate(m, count * sizeof(value_t)));
}

entry_t *allocate_entries(machine_t *m, uint64_t count) {
  if (count > UINT32_MAX)
    raise(m, KILN_CHAT_LIMIT, "chat template, line %u: a dict is too large", m->line);
  return static_cast<entry_t *>(allocate(m, count * sizeof(entry_t)));
}

void release(machine_t *m) {
  while (chunk_t *chunk = m->chunks) {
    m->chunks = chunk->next;
    free(chunk);
  }
  free(m->output);
  m->output = nullptr;
}

void put(machine_t *m, const char *text, uint64_t bytes) {
  work(m, bytes);
  if (bytes > m->max_output_bytes - m->output_bytes)
    raise(m, KILN_CHAT_LIMIT, "chat template, line %u: more than %llu bytes of text", m->line,
          (unsigned long long)m->max_output_bytes);
  uint64_t wanted = m->output_bytes + bytes;
  if (wanted > m->output_capacity) {
    uint64_t capacity = wanted < 2048 ? 4096 : 2 * wanted;
    char *grown = static_cast<char *>(realloc(m->output, capacity));
    if (!grown)
      raise(m, KILN_OUT_OF_MEMORY, "chat template: %llu bytes of text",
            (unsigned long long)capacity);
    m->output = grown;
    m->output_capacity = capacity;
  }
  if (bytes)
    memcpy(m->output + m->output_bytes, text, bytes);
  m->output_bytes = wanted;
}

void put_character(machine_t *m, char c) { put(m, &c, 1); }

void put_code_point(machine_t *m, uint32_t c) {
  char bytes[4];
  uint32_t count = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
  for (uint32_t i = count; i-- > 1; c >>= 6)
    bytes[i] = (char)(0x80 | (c & 0x3F));
  bytes[0] = (char)(count == 1 ? c : c | (0xF00u >> count & 0xFF));
  put(m, bytes, count);
}

value_t take(machine_t *m, uint64_t mark) {
  uint64_t bytes = m->output_bytes - mark;
  if (bytes >= UINT32_MAX)
    raise(m, KILN_CHAT_LIMIT, "chat template, line %u: a text is too long", m->line);
  char *text = static_cast<char *>(allocate_aligned(m, bytes, 1));
  if (bytes)
    memcpy(text, m->output + mark, bytes);
  m->output_bytes = mark;
  return make_text(text, bytes);
}

// A template that gathers its text in a variable adds to it over and over: a sum of some size gets
// room behind it, and what is added to the newest such sums goes there.
value_t concatenate(machine_t *m, const value_t &a, const value_t &b) {
  uint64_t bytes = (uint64_t)a.count + b.count;
  if (bytes >= UINT32_MAX)
    raise(m, KILN_CHAT_LIMIT, "chat template, line %u: a text is too long", m->line);
  bool safe = a.safe || b.safe;
  if (b.count == 0)
    return make_text(a.text, a.count, safe);
  for (auto &tail : m->tails)
    if (a.count && tail.used_end == a.text + a.count &&
        (uint64_t)(tail.end - tail.used_end) >= b.count) {
      work(m, b.count);
      memcpy(tail.used_end, b.text, b.count);
      tail.used_end += b.count;
      return make_text(a.text, bytes, safe);
    }
  uint64_t room = bytes < 64 ? bytes : 2 * bytes;
  char *text = static_cast<char *>(allocate_aligned(m, room, 1));
  if (a.count)
    memcpy(text, a.text, a.count);
  memcpy(text + a.count, b.text, b.count);
  if (room > bytes) {
    m->tails[m->next_tail] = {text + bytes, text + room};
    m->next_tail = (m->next_tail + 1) % 4;
  }
  return make_text(text, bytes, safe);
}

deeper_t::deeper_t(machine_t *m, uint32_t limit) : m(m) {
  if (m->depth >= limit)
    raise(m, KILN_CHAT_LIMIT, "chat template, line %u: calls or values are nested deeper than %u",
          m->line, limit);
  ++m->depth;
}

value_t make_generator(machine_t *m, const value_t *items, uint32_t count) {
  generator_t *generator = static_cast<generator_t *>(allocate(m, sizeof(generator_t)));
  *generator = {items, count};
  value_t value = make(type_generator);
  value.generator = generator;
  return value;
}

} // namespace chat
} // namespace kiln
