// Texts as Python's str: indexed by code points, stripped, split, searched and replaced. Texts are
// slices of UTF-8; an operation that only takes away gives a slice of what it was given. A byte
// that is no UTF-8 counts as one code point and stays what it is.

#include "llm/chat_value.h"

#include "llm/utf8.h"

#include <string.h>

namespace kiln {
namespace chat {

bool is_space(uint32_t c) { return is_white_space(c) || (c >= 0x1C && c <= 0x1F); }

bool is_line_end(uint32_t c) {
  return (c >= 0x0A && c <= 0x0D) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 ||
         c == 0x2029;
}

uint32_t read_code_point(const char *at, const char *end, uint32_t *c) {
  return utf8_read(reinterpret_cast<const uint8_t *>(at), (uint32_t)(end - at), c);
}

/* The start of the code point that ends before `at`. */
static const char *previous(const char *begin, const char *at, uint32_t *c) {
  for (uint32_t bytes = 4; bytes > 1; --bytes)
    if (bytes <= (uint64_t)(at - begin) && read_code_point(at - bytes, at, c) == bytes)
      return at - bytes;
  read_code_point(at - 1, at, c);
  return at - 1;
}

int64_t code_points(machine_t *m, const value_t &text) {
  work(m, text.count);
  int64_t count = 0;
  uint32_t c;
  for (const char *at = text.text, *end = at + text.count; at < end; ++count)
    at += read_code_point(at, end, &c);
  return count;
}

const char *place_of(const value_t &text, int64_t index) {
  const char *at = text.text, *end = at + text.count;
  uint32_t c;
  for (; index > 0 && at < end; --index)
    at += read_code_point(at, end, &c);
  return at;
}

const char *find_text(const value_t &text, const value_t &part, const char *from) {
  const char *end = text.text + text.count;
  if (part.count == 0)
    return from;
  while ((uint64_t)(end - from) >= part.count) {
    const void *first = memchr(from, part.text[0], (size_t)(end - from) - part.count + 1);
    if (!first)
      return nullptr;
    from = static_cast<const char *>(first);
    if (memcmp(from, part.text, part.count) == 0)
      return from;
    ++from;
  }
  return nullptr;
}

static bool has_code_point(const value_t &text, uint32_t wanted) {
  uint32_t c;
  for (const char *at = text.text, *end = at + text.count; at < end;) {
    at += read_code_point(at, end, &c);
    if (c == wanted)
      return true;
  }
  return false;
}

value_t strip(machine_t *m, const value_t &text, const value_t &characters, int sides) {
  bool spaces = characters.type == type_none || characters.type == type_absent;
  if (!spaces && characters.type != type_text)
    raise_here(m, "strip arg must be None or str, not %s", type_name(characters));
  const char *begin = text.text, *end = begin + text.count;
  uint32_t c;
  while ((sides & strip_left) && begin < end) {
    uint32_t bytes = read_code_point(begin, end, &c);
    work(m, spaces ? 0 : characters.count);
    if (!(spaces ? is_space(c) : has_code_point(characters, c)))
      break;
    begin += bytes;
  }
  while ((sides & strip_right) && begin < end) {
    const char *last = previous(begin, end, &c);
    work(m, spaces ? 0 : characters.count);
    if (!(spaces ? is_space(c) : has_code_point(characters, c)))
      break;
    end = last;
  }
  return make_text(begin, (uint64_t)(end - begin), text.safe);
}

value_t replace(machine_t *m, const value_t &text, const value_t &from, const value_t &to,
                int64_t count) {
  const char *at = text.text, *end = at + text.count;
  uint64_t mark = m->output_bytes;
  work(m, text.count);
  if (count < 0)
    count = INT64_MAX;
  if (from.count == 0) {
    uint32_t c;
    for (; count > 0; --count) {
      put(m, to.text, to.count);
      if (at == end)
        break;
      uint32_t bytes = read_code_point(at, end, &c);
      put(m, at, bytes);
      at += bytes;
    }
  } else {
    for (; count > 0; --count) {
      const char *found = find_text(text, from, at);
      if (!found)
        break;
      put(m, at, (uint64_t)(found - at));
      put(m, to.text, to.count);
      at = found + from.count;
    }
    if (at == text.text)
      return text;
  }
  put(m, at, (uint64_t)(end - at));
  value_t result = take(m, mark);
  result.safe = text.safe;
  return result;
}

/* A list that grows by doubling in the machine's memory. */
struct pieces_t {
  machine_t *m;
  value_t *items;
  uint32_t count, capacity;

  void add(const char *begin, const char *end) {
    if (count == capacity) {
      uint32_t doubled = capacity ? 2 * capacity : 8;
      value_t *grown = allocate_values(m, doubled);
      if (count)
        memcpy(grown, items, count * sizeof(value_t));
      items = grown;
      capacity = doubled;
    }
    items[count++] = make_text(begin, (uint64_t)(end - begin));
  }
};

static void split_at_spaces(pieces_t *pieces, const char *at, const char *end, int64_t count) {
  uint32_t c;
  while (true) {
    uint32_t bytes = 0;
    while (at < end && (bytes = read_code_point(at, end, &c), is_space(c)))
      at += bytes;
    if (at == end)
      return;
    if (count-- == 0)
      return pieces->add(at, end);
    const char *begin = at;
    while (at < end && (bytes = read_code_point(at, end, &c), !is_space(c)))
      at += bytes;
    pieces->add(begin, at);
  }
}

/* Pieces from the right come in reverse order. */
static void split_from_right(pieces_t *pieces, const value_t &text, const value_t *separator,
                             int64_t count) {
  const char *begin = text.text, *end = begin + text.count;
  uint32_t c;
  if (!separator) {
    while (true) {
      const char *before;
      while (end > begin && (before = previous(begin, end, &c), is_space(c)))
        end = before;
      if (end == begin)
        break;
      const char *at = end;
      if (count-- == 0) {
        pieces->add(begin, end);
        break;
      }
      while (at > begin && (before = previous(begin, at, &c), !is_space(c)))
        at = before;
      pieces->add(at, end);
      end = at;
    }
  } else {
    for (const char *at = end; count > 0 && (uint64_t)(at - begin) >= separator->count;) {
      if (memcmp(at - separator->count, separator->text, separator->count) != 0) {
        --at;
        continue;
      }
      pieces->add(at, end);
      end = at -= separator->count;
      --count;
    }
    pieces->add(begin, end);
  }
  for (uint32_t i = 0; i < pieces->count / 2; ++i) {
    value_t other = pieces->items[i];
    pieces->items[i] = pieces->items[pieces->count - 1 - i];
    pieces->items[pieces->count - 1 - i] = other;
  }
}

value_t split(machine_t *m, const value_t &text, const value_t &separator, int64_t count,
              bool from_right) {
  bool spaces = separator.type == type_none || separator.type == type_absent;
  if (!spaces && separator.type != type_text)
    raise_here(m, "must be str or None, not %s", type_name(separator));
  if (!spaces && separator.count == 0)
    raise_here(m, "empty separator");
  work(m, text.count);
  pieces_t pieces = {m, nullptr, 0, 0};
  const char *at = text.text, *end = at + text.count;
  if (from_right) {
    split_from_right(&pieces, text, spaces ? nullptr : &separator, count < 0 ? INT64_MAX : count);
  } else if (spaces) {
    split_at_spaces(&pieces, at, end, count);
  } else {
    for (const char *found; count != 0 && (found = find_text(text, separator, at)); --count) {
      pieces.add(at, found);
      at = found + separator.count;
    }
    pieces.add(at, end);
  }
  for (uint32_t i = 0; i < pieces.count; ++i)
    pieces.items[i].safe = text.safe;
  return make_sequence(type_list, pieces.items, pieces.count);
}

value_t split_lines(machine_t *m, const value_t &text, bool keep_ends) {
  work(m, text.count);
  pieces_t pieces = {m, nullptr, 0, 0};
  const char *at = text.text, *end = at + text.count, *begin = at;
  while (at < end) {
    uint32_t c;
    const char *next = at + read_code_point(at, end, &c);
    if (is_line_end(c)) {
      if (c == '\r' && next < end && *next == '\n')
        ++next;
      pieces.add(begin, keep_ends ? next : at);
      begin = next;
    }
    at = next;
  }
  if (begin < end)
    pieces.add(begin, end);
  return make_sequence(type_list, pieces.items, pieces.count);
}

value_t escape(machine_t *m, const value_t &value) {
  value_t text = to_text(m, value);
  if (text.safe)
    return text;
  uint64_t mark = m->output_bytes;
  for (uint32_t i = 0; i < text.count; ++i) {
    static const struct {
      char c;
      char name[6];
    } entities[] = {{'&', "&amp;"}, {'<', "&lt;"}, {'>', "&gt;"}, {'\'', "&#39;"}, {'"', "&#34;"}};
    const char *name = nullptr;
    for (const auto &entity : entities)
      if (entity.c == text.text[i])
        name = entity.name;
    name ? put(m, name, strnlen(name, 5)) : put_character(m, text.text[i]);
  }
  value_t result = take(m, mark);
  result.safe = true;
  return result;
}

/* ---- str and repr */

static bool is_printable(uint32_t c) {
  static const struct {
    uint32_t first, last;
  } others[] = {{0, 0x1F},          {0x7F, 0xA0},       {0xAD, 0xAD},       {0x600, 0x605},
                {0x61C, 0x61C},     {0x6DD, 0x6DD},     {0x70F, 0x70F},     {0x1680, 0x1680},
                {0x180E, 0x180E},   {0x2000, 0x200F},   {0x2028, 0x202F},   {0x205F, 0x206F},
                {0x3000, 0x3000},   {0xD800, 0xF8FF},   {0xFEFF, 0xFEFF},   {0xFFF0, 0xFFFB},
                {0xFFFE, 0xFFFF},   {0x110BD, 0x110BD}, {0x1BCA0, 0x1BCA3}, {0x1D173, 0x1D17A},
                {0xE0000, 0xE00FF}, {0xE01F0, 0x10FFFF}};
  for (const auto &range : others)
    if (c >= range.first && c <= range.last)
      return false;
  return true;
}

static void put_hex(machine_t *m, char letter, uint32_t c, int digits) {
  put_character(m, '\\');
  put_character(m, letter);
  for (int shift = 4 * (digits - 1); shift >= 0; shift -= 4)
    put_character(m, "0123456789abcdef"[c >> shift & 15]);
}

static void put_text_repr(machine_t *m, const value_t &text) {
  bool single = text.count && memchr(text.text, '\'', text.count);
  char quote = single && !memchr(text.text, '"', text.count) ? '"' : '\'';
  if (text.safe)
    put(m, "Markup(", 7);
  put_character(m, quote);
  for (const char *at = text.text, *end = at + text.count; at < end;) {
    uint32_t c, bytes = read_code_point(at, end, &c);
    if (c == (uint32_t)quote || c == '\\') {
      put_character(m, '\\');
      put_character(m, (char)c);
    } else if (c == '\n' || c == '\r' || c == '\t') {
      put_character(m, '\\');
      put_character(m, c == '\n' ? 'n' : c == '\r' ? 'r' : 't');
    } else if (is_printable(c)) {
      put(m, at, bytes);
    } else {
      put_hex(m, c < 0x100 ? 'x' : c < 0x10000 ? 'u' : 'U', c, c < 0x100 ? 2 : c < 0x10000 ? 4 : 8);
    }
    at += bytes;
  }
  put_character(m, quote);
  if (text.safe)
    put_character(m, ')');
}

static void put_items(machine_t *m, const value_t &value, const char *open, const char *close) {
  put(m, open, strlen(open));
  for (uint32_t i = 0; i < value.count; ++i) {
    if (i)
      put(m, ", ", 2);
    put_repr(m, value.items[i]);
  }
  if (value.type == type_tuple && value.count == 1)
    put_character(m, ',');
  put(m, close, strlen(close));
}

static void put_entries(machine_t *m, const entry_t *entries, uint32_t count) {
  put_character(m, '{');
  for (uint32_t i = 0; i < count; ++i) {
    if (i)
      put(m, ", ", 2);
    put_repr(m, entries[i].key);
    put(m, ": ", 2);
    put_repr(m, entries[i].value);
  }
  put_character(m, '}');
}

void put_repr(machine_t *m, const value_t &value) {
  static const char *const views[] = {"dict_keys([", "dict_values([", "dict_items(["};
  deeper_t deeper(m, max_depth + max_value_depth);
  switch (value.type) {
  case type_none:
    put(m, "None", 4);
    break;
  case type_undefined:
    put(m, "Undefined", 9);
    break;
  case type_boolean:
    put(m, value.boolean ? "True" : "False", value.boolean ? 4 : 5);
    break;
  case type_integer:
    put_integer(m, value.integer);
    break;
  case type_real:
    put_real(m, value.real, false);
    break;
  case type_big:
    put(m, value.text, value.count);
    break;
  case type_text:
    put_text_repr(m, value);
    break;
  case type_list:
    put_items(m, value, "[", "]");
    break;
  case type_tuple:
    put_items(m, value, "(", ")");
    break;
  case type_view:
    put_items(m, value, views[value.extra % 3], "])");
    break;
  case type_dict:
    put_entries(m, value.entries, value.count);
    break;
  case type_namespace:
    put(m, "<Namespace ", 11);
    put_entries(m, value.space->entries, value.space->count);
    put_character(m, '>');
    break;
  default: // a place in Python's memory, which has no place in a prompt
    raise_here(m, "a %s cannot be written", type_name(value));
  }
  deeper.leave();
}

void put_text(machine_t *m, const value_t &value) {
  if (value.type == type_text)
    put(m, value.text, value.count);
  else if (value.type != type_undefined)
    put_repr(m, value);
}

value_t to_text(machine_t *m, const value_t &value) {
  if (value.type == type_text)
    return value;
  uint64_t mark = m->output_bytes;
  put_text(m, value);
  return take(m, mark);
}

} // namespace chat
} // namespace kiln
