// JSON in and out: the conversation comes in as JSON, and templates write tools and arguments as
// JSON (the filter tojson, which is Python's json.dumps). Objects keep the order of their keys, and
// numbers come out as Python would spell what it had read.

#include "llm/chat_value.h"

#include "llm/utf8.h"

#include <string.h>

namespace kiln {
namespace chat {
namespace {

constexpr uint32_t max_values = 4u << 20;

struct reader_t {
  machine_t *m;
  const char *begin, *at, *end;
  uint32_t values;
  /* What is inside the arrays and objects that are open. */
  value_t *pending;
  uint32_t pending_count, pending_capacity;

  [[noreturn]] void refuse(const char *expected) {
    raise(m, KILN_INVALID_ARGUMENT, "conversation, byte %llu of %llu: expected %s",
          (unsigned long long)(at - begin), (unsigned long long)(end - begin), expected);
  }
  void skip_space() {
    while (at < end && (*at == ' ' || *at == '\n' || *at == '\r' || *at == '\t'))
      ++at;
  }
  bool next_is(char c) {
    skip_space();
    if (at == end || *at != c)
      return false;
    ++at;
    return true;
  }
  void push(const value_t &value) {
    if (pending_count == pending_capacity) {
      uint32_t doubled = pending_capacity ? 2 * pending_capacity : 64;
      value_t *grown = allocate_values(m, doubled);
      if (pending_count)
        memcpy(grown, pending, pending_count * sizeof(value_t));
      pending = grown;
      pending_capacity = doubled;
    }
    pending[pending_count++] = value;
  }

  uint32_t read_hex();
  value_t read_text();
  value_t read_array();
  value_t read_object();
  value_t read_value();
};

uint32_t reader_t::read_hex() {
  uint32_t c = 0;
  for (int i = 0; i < 4; ++i, ++at) {
    char digit = at < end ? *at : 0, letter = (char)(digit | 0x20);
    if (digit >= '0' && digit <= '9')
      c = c << 4 | (uint32_t)(digit - '0');
    else if (letter >= 'a' && letter <= 'f')
      c = c << 4 | (uint32_t)(letter - 'a' + 10);
    else
      refuse("four hexadecimal digits");
  }
  return c;
}

/* Behind the opening quote. A text without escapes is a slice of the input. */
value_t reader_t::read_text() {
  const char *first = at;
  uint64_t mark = m->output_bytes;
  bool escaped = false;
  while (true) {
    if (at == end)
      refuse("the end of a string");
    uint8_t byte = (uint8_t)*at;
    if (byte == '"')
      break;
    if (byte < 0x20)
      refuse("no control character in a string");
    if (byte >= 0x80) {
      uint32_t c, bytes = read_code_point(at, end, &c);
      if (bytes == 1)
        refuse("UTF-8");
      if (escaped)
        put(m, at, bytes);
      at += bytes;
      continue;
    }
    if (byte != '\\') {
      if (escaped)
        put_character(m, (char)byte);
      ++at;
      continue;
    }
    if (!escaped)
      put(m, first, (uint64_t)(at - first));
    escaped = true;
    static const char letters[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
    if (++at == end)
      refuse("an escape");
    const char *letter = static_cast<const char *>(memchr(letters, *at, 8));
    if (letter) {
      put_character(m, meanings[letter - letters]);
      ++at;
      continue;
    }
    if (*at != 'u')
      refuse("an escape that JSON knows");
    ++at;
    uint32_t c = read_hex();
    if (c >= 0xD800 && c < 0xDC00 && end - at >= 6 && at[0] == '\\' && at[1] == 'u') {
      at += 2;
      uint32_t low = read_hex();
      if (low < 0xDC00 || low > 0xDFFF)
        refuse("the other half of a surrogate pair before here");
      c = 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
    } else if (c >= 0xD800 && c <= 0xDFFF) {
      refuse("a whole surrogate pair before here");
    }
    put_code_point(m, c);
  }
  uint64_t bytes = (uint64_t)(at - first);
  ++at;
  if (escaped)
    return take(m, mark);
  work(m, bytes);
  return make_text(first, bytes);
}

value_t reader_t::read_array() {
  uint32_t base = pending_count;
  if (!next_is(']')) {
    do
      push(read_value());
    while (next_is(','));
    if (!next_is(']'))
      refuse("',' or ']'");
  }
  uint32_t count = pending_count - base;
  value_t *items = allocate_values(m, count);
  if (count)
    memcpy(items, pending + base, count * sizeof(value_t));
  pending_count = base;
  return make_sequence(type_list, items, count);
}

value_t reader_t::read_object() {
  uint32_t base = pending_count;
  if (!next_is('}')) {
    do {
      if (!next_is('"'))
        refuse("a key in quotes");
      value_t key = read_text();
      if (!next_is(':'))
        refuse("':'");
      value_t value = read_value();
      push(key);
      push(value);
    } while (next_is(','));
    if (!next_is('}'))
      refuse("',' or '}'");
  }
  uint32_t count = (pending_count - base) / 2;
  entry_t *entries = allocate_entries(m, count);
  value_t dict = make(type_dict);
  dict.entries = entries;
  for (uint32_t i = 0; i < count; ++i) {
    const value_t &key = pending[base + 2 * i];
    // Of a key that is given twice the last value counts.
    if (const value_t *found = find_entry(m, dict, key))
      *const_cast<value_t *>(found) = pending[base + 2 * i + 1];
    else
      entries[dict.count++] = {key, pending[base + 2 * i + 1]};
  }
  pending_count = base;
  return dict;
}

value_t reader_t::read_value() {
  if (++values > max_values)
    raise(m, KILN_CHAT_LIMIT, "conversation: more than %u values", max_values);
  deeper_t deeper(m, max_value_depth);
  skip_space();
  value_t value = make(type_none);
  const char *word = at;
  if (next_is('"')) {
    value = read_text();
  } else if (next_is('[')) {
    value = read_array();
  } else if (next_is('{')) {
    value = read_object();
  } else {
    while (at < end && ((*at >= '0' && *at <= '9') || (*at >= 'a' && *at <= 'z') || *at == '-' ||
                        *at == '+' || *at == '.' || *at == 'E'))
      ++at;
    uint64_t bytes = (uint64_t)(at - word);
    if (bytes == 4 && memcmp(word, "true", 4) == 0) {
      value = make_boolean(true);
    } else if (bytes == 5 && memcmp(word, "false", 5) == 0) {
      value = make_boolean(false);
    } else if (!(bytes == 4 && memcmp(word, "null", 4) == 0) && !read_number(m, word, at, &value)) {
      at = word;
      refuse("a JSON value");
    }
  }
  deeper.leave();
  return value;
}

struct writer_t {
  machine_t *m;
  bool ascii, sort_keys, pretty;
  value_t indent, item_separator, key_separator;

  void put_text(const value_t &text);
  void put_line(uint32_t depth);
  void put_key(const value_t &key);
  void put_value(const value_t &value, uint32_t depth);
  void put_dict(const value_t &value, uint32_t depth);
};

void put_escape(machine_t *m, uint32_t c) {
  put(m, "\\u", 2);
  for (int shift = 12; shift >= 0; shift -= 4)
    put_character(m, "0123456789abcdef"[c >> shift & 15]);
}

void writer_t::put_text(const value_t &text) {
  put_character(m, '"');
  const char *plain = text.text;
  for (const char *at = plain, *end = at + text.count;;) {
    uint32_t c = 0, bytes = 0;
    if (at < end) {
      bytes = read_code_point(at, end, &c);
      if (c >= 0x20 && c != '"' && c != '\\' && !(ascii && c >= 0x7F)) {
        at += bytes;
        continue;
      }
    }
    put(m, plain, (uint64_t)(at - plain));
    if (at == end)
      break;
    static const char controls[] = "\b\f\n\r\t\"\\", letters[] = "bfnrt\"\\";
    const void *control = c ? memchr(controls, (int)c, c < 0x80 ? 7 : 0) : nullptr;
    if (control) {
      put_character(m, '\\');
      put_character(m, letters[static_cast<const char *>(control) - controls]);
    } else if (c >= 0x10000) {
      put_escape(m, 0xD800 + ((c - 0x10000) >> 10));
      put_escape(m, 0xDC00 + (c & 0x3FF));
    } else {
      put_escape(m, c);
    }
    plain = at += bytes;
  }
  put_character(m, '"');
}

void writer_t::put_line(uint32_t depth) {
  if (!pretty)
    return;
  put_character(m, '\n');
  for (uint32_t i = 0; i < depth; ++i)
    put(m, indent.text, indent.count);
}

void writer_t::put_key(const value_t &key) {
  if (key.type == type_text)
    return put_text(key);
  if (!is_number(key) && key.type != type_none)
    raise_here(m, "keys must be str, int, float, bool or None, not %s", type_name(key));
  put_character(m, '"');
  put_value(key, 0);
  put_character(m, '"');
}

void writer_t::put_dict(const value_t &value, uint32_t depth) {
  const entry_t *entries = value.entries;
  if (sort_keys && value.count > 1) {
    entry_t *sorted = allocate_entries(m, value.count);
    for (uint32_t i = 0; i < value.count; ++i) { // by insertion: objects are small
      uint32_t place = i;
      for (; place > 0 && order(m, entries[i].key, sorted[place - 1].key) < 0; --place)
        sorted[place] = sorted[place - 1];
      sorted[place] = entries[i];
    }
    entries = sorted;
  }
  put_character(m, '{');
  for (uint32_t i = 0; i < value.count; ++i) {
    if (i)
      put(m, item_separator.text, item_separator.count);
    put_line(depth + 1);
    put_key(entries[i].key);
    put(m, key_separator.text, key_separator.count);
    put_value(entries[i].value, depth + 1);
  }
  if (value.count)
    put_line(depth);
  put_character(m, '}');
}

void writer_t::put_value(const value_t &value, uint32_t depth) {
  deeper_t deeper(m, max_depth + max_value_depth);
  switch (value.type) {
  case type_none:
    put(m, "null", 4);
    break;
  case type_boolean:
    put(m, value.boolean ? "true" : "false", value.boolean ? 4 : 5);
    break;
  case type_real:
    put_real(m, value.real, true);
    break;
  case type_integer:
  case type_big:
    put_repr(m, value);
    break;
  case type_text:
    put_text(value);
    break;
  case type_list:
  case type_tuple:
    put_character(m, '[');
    for (uint32_t i = 0; i < value.count; ++i) {
      if (i)
        put(m, item_separator.text, item_separator.count);
      put_line(depth + 1);
      put_value(value.items[i], depth + 1);
    }
    if (value.count)
      put_line(depth);
    put_character(m, ']');
    break;
  case type_dict:
    put_dict(value, depth);
    break;
  default:
    raise_here(m, "Object of type %s is not JSON serializable", type_name(value));
  }
  deeper.leave();
}

} // namespace

value_t read_json(machine_t *m, const char *text, uint64_t bytes) {
  reader_t reader = {m, text, text, text + bytes, 0, nullptr, 0, 0};
  value_t value = reader.read_value();
  reader.skip_space();
  if (reader.at != reader.end)
    reader.refuse("the end of the JSON text");
  return value;
}

value_t to_json(machine_t *m, const value_t &value, bool ascii, const value_t &indent,
                const value_t &separators, bool sort_keys) {
  writer_t writer = {
      m, ascii, sort_keys, false, make_text("", 0), make_text(", ", 2), make_text(": ", 2)};
  uint64_t mark = m->output_bytes;
  if (indent.type == type_text || is_integral(indent)) {
    writer.pretty = true;
    writer.item_separator = make_text(",", 1);
    writer.indent = indent;
    if (indent.type != type_text) {
      for (int64_t i = 0; i < integer_of(indent); ++i)
        put_character(m, ' ');
      writer.indent = take(m, mark);
    }
  } else if (indent.type != type_none && indent.type != type_absent) {
    raise_here(m, "tojson: indent is a %s", type_name(indent));
  }
  if (separators.type != type_none && separators.type != type_absent) {
    table_t<value_t> pair = iterate(m, separators);
    if (pair.size != 2 || pair[0].type != type_text || pair[1].type != type_text)
      raise_here(m, "tojson: separators are no pair of strings");
    writer.item_separator = pair[0];
    writer.key_separator = pair[1];
  }
  writer.put_value(value, 0);
  return take(m, mark);
}

} // namespace chat
} // namespace kiln
