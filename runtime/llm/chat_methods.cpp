// The methods of texts, lists, dicts and loops that do not change their object, and the global
// functions that transformers gives to templates.

#include "llm/chat_value.h"

#include <string.h>

namespace kiln {
namespace chat {
namespace {

using namespace schema;

/* The arguments of a call, by place or by keyword. */
struct call_t {
  machine_t *m;
  const arguments_t *arguments;
  uint32_t keywords_used;

  value_t get(uint32_t index, const char *name) {
    if (index < arguments->count)
      return arguments->values[index];
    for (uint32_t i = 0; name && i < arguments->keyword_count; ++i) {
      const value_t &keyword = arguments->keywords[2 * i];
      if (keyword.count == strlen(name) && memcmp(keyword.text, name, keyword.count) == 0) {
        ++keywords_used;
        return arguments->keywords[2 * i + 1];
      }
    }
    return make(type_absent);
  }
  value_t text(uint32_t index) {
    value_t value = get(index, nullptr);
    if (value.type == type_undefined)
      raise_undefined(m, value);
    if (value.type != type_text)
      raise_here(m, "argument %u must be str, not %s", index + 1,
                 value.type == type_absent ? "nothing" : type_name(value));
    return value;
  }
  void check(uint32_t least, uint32_t most) {
    if (arguments->count < least || arguments->count > most)
      raise_here(m, "expected %u to %u arguments, found %u", least, most, arguments->count);
  }
  void check_keywords() {
    if (keywords_used < arguments->keyword_count) {
      const value_t &name = arguments->keywords[0];
      raise_here(m, "an unexpected keyword argument, '%.*s' or another",
                 (int)(name.count < 60 ? name.count : 60), name.text);
    }
  }
};

/* The part of a text that optional start and end arguments leave. */
value_t bounded(call_t *call, const value_t &self, int64_t *skipped) {
  value_t none = make(type_none), start = call->get(1, nullptr), stop = call->get(2, nullptr);
  if (start.type == type_absent)
    start = none;
  if (stop.type == type_absent)
    stop = none;
  value_t part = get_slice(call->m, self, start, stop, none);
  value_t before = make_text(self.text, (uint64_t)(part.text - self.text));
  *skipped = code_points(call->m, before);
  return part;
}

int64_t find_index(call_t *call, const value_t &self, bool last, bool must) {
  machine_t *m = call->m;
  call->check(1, 3);
  int64_t skipped;
  value_t part = call->text(0), text = bounded(call, self, &skipped);
  work(m, text.count);
  const char *found = nullptr;
  const char *end = text.text + text.count;
  for (const char *at = text.text; (at = find_text(text, part, at)); ++at) {
    found = at;
    if (!last || at == end)
      break;
  }
  if (last && part.count == 0)
    found = end;
  if (!found) {
    if (must)
      raise_here(m, "substring not found");
    return -1;
  }
  return skipped + code_points(m, make_text(text.text, (uint64_t)(found - text.text)));
}

int64_t count_parts(call_t *call, const value_t &self) {
  call->check(1, 3);
  int64_t skipped, count = 0;
  value_t part = call->text(0), text = bounded(call, self, &skipped);
  if (part.count == 0)
    return code_points(call->m, text) + 1;
  work(call->m, text.count);
  for (const char *at = text.text; (at = find_text(text, part, at)); at += part.count)
    ++count;
  return count;
}

bool begins_or_ends(call_t *call, const value_t &self, bool ends) {
  call->check(1, 3);
  int64_t skipped;
  value_t text = bounded(call, self, &skipped), given = call->get(0, nullptr);
  table_t<value_t> parts = {&given, 1};
  if (given.type == type_tuple)
    parts = {given.items, given.count};
  for (uint32_t i = 0; i < parts.size; ++i) {
    const value_t &part = parts[i];
    if (part.type == type_undefined)
      raise_undefined(call->m, part);
    if (part.type != type_text)
      raise_here(call->m, "%s first arg must be str or a tuple of str, not %s",
                 ends ? "endswith" : "startswith", type_name(part));
    if (part.count <= text.count &&
        (part.count == 0 ||
         memcmp(text.text + (ends ? text.count - part.count : 0), part.text, part.count) == 0))
      return true;
  }
  return false;
}

value_t partition(call_t *call, const value_t &self, bool last) {
  call->check(1, 1);
  value_t part = call->text(0);
  if (part.count == 0)
    raise_here(call->m, "empty separator");
  work(call->m, self.count);
  const char *end = self.text + self.count, *found = nullptr;
  for (const char *at = self.text; (at = find_text(self, part, at)); ++at) {
    found = at;
    if (!last)
      break;
  }
  value_t *items = allocate_values(call->m, 3);
  if (found) {
    items[0] = make_text(self.text, (uint64_t)(found - self.text));
    items[1] = part;
    items[2] = make_text(found + part.count, (uint64_t)(end - found) - part.count);
  } else {
    items[0] = items[1] = items[2] = make_text("", 0);
    items[last ? 2 : 0] = self;
  }
  return make_sequence(type_tuple, items, 3);
}

/* center, ljust, rjust, zfill */
value_t pad(call_t *call, const value_t &self, uint8_t name) {
  machine_t *m = call->m;
  call->check(1, name == ChatName_n_zfill ? 1 : 2);
  value_t fill = call->get(1, nullptr);
  if (fill.type == type_absent)
    fill = make_text(name == ChatName_n_zfill ? "0" : " ", 1);
  if (fill.type != type_text || code_points(m, fill) != 1)
    raise_here(m, "The fill character must be exactly one character long");
  int64_t width = integer_argument(m, call->get(0, nullptr), 0);
  int64_t missing = width - code_points(m, self);
  if (missing <= 0)
    return self;
  int64_t before = missing;
  if (name == ChatName_n_ljust)
    before = 0;
  else if (name == ChatName_n_center)
    before = missing / 2 + (missing & width & 1);
  uint64_t mark = m->output_bytes;
  uint32_t sign =
      name == ChatName_n_zfill && self.count && (*self.text == '-' || *self.text == '+');
  put(m, self.text, sign);
  for (int64_t i = 0; i < before; ++i)
    put(m, fill.text, fill.count);
  put(m, self.text + sign, self.count - sign);
  for (int64_t i = before; i < missing; ++i)
    put(m, fill.text, fill.count);
  return take(m, mark);
}

/* The tests that hold for all characters of a text that is not empty. */
bool all_are(machine_t *m, const value_t &self, uint8_t name) {
  if (name == ChatName_n_isascii || name == ChatName_n_isspace) {
    const char *end = self.text + self.count;
    for (const char *at = self.text; at < end;) {
      uint32_t c;
      at += read_code_point(at, end, &c);
      if (name == ChatName_n_isascii ? c >= 0x80 : !is_space(c))
        return false;
    }
    return name == ChatName_n_isascii || self.count > 0;
  }
  bool letters = name == ChatName_n_isalpha || name == ChatName_n_isalnum;
  bool digits = name != ChatName_n_isalpha;
  for (uint32_t i = 0; i < self.count; ++i) {
    char c = self.text[i], letter = (char)(c | 0x20);
    if ((uint8_t)c >= 0x80)
      raise_here(m, "letters and digits are told apart in ASCII only");
    if (!(letters && letter >= 'a' && letter <= 'z') && !(digits && c >= '0' && c <= '9'))
      return false;
  }
  return self.count > 0;
}

value_t swap_case(machine_t *m, const value_t &self) {
  uint64_t mark = m->output_bytes;
  const char *end = self.text + self.count;
  for (const char *at = self.text; at < end;) {
    uint32_t c, bytes = read_code_point(at, end, &c);
    value_t character = make_text(at, bytes);
    value_t swapped = lower_of(c) != c ? lower(m, character) : upper(m, character);
    put(m, swapped.text, swapped.count);
    at += bytes;
  }
  return take(m, mark);
}

value_t join(call_t *call, const value_t &self) {
  machine_t *m = call->m;
  call->check(1, 1);
  table_t<value_t> items = iterate(m, call->get(0, nullptr));
  uint64_t mark = m->output_bytes;
  for (uint32_t i = 0; i < items.size; ++i) {
    if (items[i].type == type_undefined)
      raise_undefined(m, items[i]);
    if (items[i].type != type_text)
      raise_here(m, "sequence item %u: expected str instance, %s found", i, type_name(items[i]));
    if (i)
      put(m, self.text, self.count);
    put(m, items[i].text, items[i].count);
  }
  return take(m, mark);
}

value_t text_method(call_t *call, const value_t &self, uint8_t name) {
  machine_t *m = call->m;
  switch (name) {
  case ChatName_n_strip:
  case ChatName_n_lstrip:
  case ChatName_n_rstrip:
    call->check(0, 1);
    return strip(m, self, call->get(0, nullptr),
                 name == ChatName_n_strip    ? strip_left | strip_right
                 : name == ChatName_n_lstrip ? strip_left
                                             : strip_right);
  case ChatName_n_split:
  case ChatName_n_rsplit: {
    call->check(0, 2);
    value_t separator = call->get(0, "sep");
    return split(m, self, separator, integer_argument(m, call->get(1, "maxsplit"), -1),
                 name == ChatName_n_rsplit);
  }
  case ChatName_n_splitlines:
    call->check(0, 1);
    return split_lines(m, self, truth_argument(call->get(0, "keepends")));
  case ChatName_n_startswith:
  case ChatName_n_endswith:
    return make_boolean(begins_or_ends(call, self, name == ChatName_n_endswith));
  case ChatName_n_replace: {
    call->check(2, 3);
    value_t from = call->text(0), to = call->text(1);
    return replace(m, self, from, to, integer_argument(m, call->get(2, nullptr), -1));
  }
  case ChatName_n_find:
  case ChatName_n_rfind:
  case ChatName_n_index:
  case ChatName_n_rindex:
    return make_integer(find_index(call, self,
                                   name == ChatName_n_rfind || name == ChatName_n_rindex,
                                   name == ChatName_n_index || name == ChatName_n_rindex));
  case ChatName_n_count:
    return make_integer(count_parts(call, self));
  case ChatName_n_join:
    return join(call, self);
  case ChatName_n_partition:
  case ChatName_n_rpartition:
    return partition(call, self, name == ChatName_n_rpartition);
  case ChatName_n_center:
  case ChatName_n_ljust:
  case ChatName_n_rjust:
  case ChatName_n_zfill:
    return pad(call, self, name);
  case ChatName_n_removeprefix:
  case ChatName_n_removesuffix: {
    call->check(1, 1);
    value_t part = call->text(0);
    bool suffix = name == ChatName_n_removesuffix;
    if (part.count == 0 || !begins_or_ends(call, self, suffix))
      return self;
    return make_text(self.text + (suffix ? 0 : part.count), self.count - part.count, self.safe);
  }
  default:
    break;
  }
  call->check(0, 0);
  switch (name) {
  case ChatName_n_lower:
    return lower(m, self);
  case ChatName_n_upper:
    return upper(m, self);
  case ChatName_n_capitalize:
    return capitalize(m, self);
  case ChatName_n_title:
    return title(m, self, false);
  case ChatName_n_swapcase:
    return swap_case(m, self);
  case ChatName_n_islower:
  case ChatName_n_isupper:
    return make_boolean(is_cased(self, name == ChatName_n_isupper));
  case ChatName_n_istitle:
    return make_boolean((is_cased(self, true) || !is_cased(self, false)) &&
                        same_text(self, title(m, self, false)));
  default:
    return make_boolean(all_are(m, self, name));
  }
}

value_t list_method(call_t *call, const value_t &self, uint8_t name) {
  machine_t *m = call->m;
  if (name == ChatName_n_copy)
    return self;
  call->check(1, 1);
  value_t item = call->get(0, nullptr);
  int64_t count = 0;
  for (uint32_t i = 0; i < self.count; ++i)
    if (equal(m, self.items[i], item)) {
      if (name == ChatName_n_index)
        return make_integer(i);
      ++count;
    }
  if (name == ChatName_n_index)
    raise_here(m, "the value is not in the list");
  return make_integer(count);
}

value_t dict_method(call_t *call, const value_t &self, uint8_t name) {
  machine_t *m = call->m;
  if (name == ChatName_n_copy)
    return self;
  if (name == ChatName_n_get) {
    call->check(1, 2);
    const value_t *found = find_entry(m, self, call->get(0, nullptr));
    value_t absent = call->get(1, nullptr);
    return found ? *found : absent.type == type_absent ? make(type_none) : absent;
  }
  call->check(0, 0);
  value_t *items = allocate_values(m, self.count);
  for (uint32_t i = 0; i < self.count; ++i) {
    const entry_t &entry = self.entries[i];
    if (name == ChatName_n_items) {
      value_t *pair = allocate_values(m, 2);
      pair[0] = entry.key;
      pair[1] = entry.value;
      items[i] = make_sequence(type_tuple, pair, 2);
    } else {
      items[i] = name == ChatName_n_keys ? entry.key : entry.value;
    }
  }
  value_t view = make_sequence(type_view, items, self.count);
  view.extra = name == ChatName_n_items  ? view_items
               : name == ChatName_n_keys ? view_keys
                                         : view_values;
  return view;
}

value_t loop_method(call_t *call, const value_t &self, uint8_t name) {
  machine_t *m = call->m;
  loop_t *loop = self.loop;
  const arguments_t &arguments = *call->arguments;
  if (name == ChatName_n_cycle) {
    if (arguments.count == 0)
      raise_here(m, "no items for cycling given");
    return arguments.values[(loop->next ? loop->next - 1 : 0) % arguments.count];
  }
  value_t *items = allocate_values(m, arguments.count);
  for (uint32_t i = 0; i < arguments.count; ++i)
    items[i] = arguments.values[i];
  value_t seen = make_sequence(type_tuple, items, arguments.count);
  bool changed = !loop->changed_known || !equal(m, loop->changed, seen);
  loop->changed_known = true;
  loop->changed = seen;
  return make_boolean(changed);
}

/* dict(…) and namespace(…): a mapping or pairs, then keywords. */
table_t<entry_t> build_entries(call_t *call, uint32_t room) {
  machine_t *m = call->m;
  const arguments_t &arguments = *call->arguments;
  call->check(0, 1);
  value_t given = call->get(0, nullptr);
  table_t<value_t> pairs = {nullptr, 0};
  uint32_t copied = 0;
  if (given.type == type_undefined)
    raise_undefined(m, given);
  if (given.type == type_dict)
    copied = given.count;
  else if (given.type != type_absent)
    pairs = iterate(m, given);
  entry_t *entries =
      allocate_entries(m, (uint64_t)copied + pairs.size + arguments.keyword_count + room);
  value_t dict = make(type_dict);
  dict.entries = entries;
  auto set = [&](const value_t &key, const value_t &value) {
    const value_t *found = find_entry(m, dict, key);
    if (found)
      *const_cast<value_t *>(found) = value;
    else
      entries[dict.count++] = {key, value};
  };
  for (uint32_t i = 0; i < copied; ++i)
    entries[dict.count++] = given.entries[i];
  for (uint32_t i = 0; i < pairs.size; ++i) {
    table_t<value_t> pair = iterate(m, pairs[i]);
    if (pair.size != 2)
      raise_here(m, "dictionary update sequence element %u has length %u; 2 is required", i,
                 pair.size);
    set(pair[0], pair[1]);
  }
  for (uint32_t i = 0; i < arguments.keyword_count; ++i)
    set(arguments.keywords[2 * i], arguments.keywords[2 * i + 1]);
  return {entries, dict.count};
}

value_t make_range(call_t *call) {
  machine_t *m = call->m;
  call->check(1, 3);
  bool single = call->arguments->count == 1;
  int64_t start = single ? 0 : integer_argument(m, call->get(0, nullptr), 0);
  int64_t stop = integer_argument(m, call->get(single ? 0 : 1, nullptr), 0);
  int64_t step = integer_argument(m, call->get(2, nullptr), 1);
  if (step == 0)
    raise_here(m, "range() arg 3 must not be zero");
  constexpr uint32_t most = 100000; // Jinja's limit
  uint64_t distance = step > 0 ? (start < stop ? (uint64_t)stop - (uint64_t)start : 0)
                               : (stop < start ? (uint64_t)start - (uint64_t)stop : 0);
  uint64_t stride = step > 0 ? (uint64_t)step : 0 - (uint64_t)step;
  uint64_t count = distance / stride + (distance % stride != 0);
  if (count > most)
    raise_here(m, "Range too big: more than %u items", most);
  value_t *items = allocate_values(m, count);
  for (uint64_t i = 0; i < count; ++i)
    items[i] = make_integer((int64_t)((uint64_t)start + i * (uint64_t)step));
  return make_sequence(type_range, items, (uint32_t)count);
}

} // namespace

value_t call_method(machine_t *m, const value_t &self, uint8_t name, const arguments_t &arguments) {
  call_t call = {m, &arguments, 0};
  if (self.type == type_text && name == ChatName_n_format)
    return format_braces(m, self, arguments);
  value_t result;
  switch (self.type) {
  case type_text:
    result = text_method(&call, self, name);
    break;
  case type_dict:
    result = dict_method(&call, self, name);
    break;
  case type_loop:
    result = loop_method(&call, self, name);
    break;
  default:
    result = list_method(&call, self, name);
  }
  call.check_keywords();
  return result;
}

value_t call_function(machine_t *m, uint8_t name, const arguments_t &arguments) {
  call_t call = {m, &arguments, 0};
  switch (name) {
  case ChatName_n_namespace: {
    table_t<entry_t> entries = build_entries(&call, 0);
    for (uint32_t i = 0; i < entries.size; ++i)
      if (entries[i].key.type == type_text && entries[i].key.count && *entries[i].key.text == '_')
        raise_here(m, "a namespace stores no names that begin with an underscore");
    value_t value = make(type_namespace);
    value.space = static_cast<namespace_t *>(allocate(m, sizeof(namespace_t)));
    *value.space = {const_cast<entry_t *>(entries.data), entries.size, entries.size};
    return value;
  }
  case ChatName_n_dict: {
    table_t<entry_t> entries = build_entries(&call, 0);
    value_t value = make(type_dict);
    value.entries = entries.data;
    value.count = entries.size;
    return value;
  }
  case ChatName_n_range: {
    value_t range = make_range(&call);
    call.check_keywords();
    return range;
  }
  case ChatName_n_strftime_now: {
    call.check(0, 1);
    value_t format = call.get(0, "format");
    if (format.type != type_text)
      raise_here(m, "strftime_now takes a text");
    uint64_t mark = m->output_bytes;
    put_time(m, format);
    call.check_keywords();
    return take(m, mark);
  }
  default: {
    value_t message = to_text(m, call.get(0, "message"));
    raise(m, KILN_CHAT_REFUSED, "%.*s", (int)(message.count < 255 ? message.count : 255),
          message.text);
  }
  }
}

int64_t integer_argument(machine_t *m, const value_t &value, int64_t absent) {
  if (value.type == type_absent)
    return absent;
  if (value.type == type_undefined)
    raise_undefined(m, value);
  if (!is_integral(value))
    raise_here(m, "'%s' object cannot be interpreted as an integer", type_name(value));
  return integer_of(value);
}

value_t text_argument(machine_t *m, const value_t &value, const char *absent) {
  return value.type == type_absent ? make_text(absent, strlen(absent)) : to_text(m, value);
}

} // namespace chat
} // namespace kiln
