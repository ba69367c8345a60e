// What Python does with values of any type: truth, equality, order, membership, attributes, items,
// slices. Where Python raises, so does this, with words like Python's.

#include "llm/chat_value.h"

#include <string.h>

namespace kiln {
namespace chat {

const char *type_name(const value_t &value) {
  static const char names[][12] = {"absent", "Undefined", "NoneType",  "bool",  "int",
                                   "float",  "int",       "str",       "list",  "tuple",
                                   "range",  "dict_view", "generator", "dict",  "Namespace",
                                   "loop",   "Macro",     "function",  "method"};
  return names[value.type];
}

bool is_number(const value_t &value) {
  return value.type >= type_boolean && value.type <= type_big;
}

double real_of(machine_t *m, const value_t &value) {
  if (value.type == type_real)
    return value.real;
  if (value.type == type_big)
    raise_here(m, "integers of more than 64 bits cannot be computed with");
  return (double)integer_of(value);
}

void raise_undefined(machine_t *m, const value_t &value) {
  int bytes = value.count < 150 ? (int)value.count : 150;
  switch (value.extra & 0xFF) {
  case undefined_variable:
    raise_here(m, "'%.*s' is undefined", bytes, value.text);
  case undefined_member: {
    value_t object = make((type_t)(value.extra >> 8));
    raise_here(m, "'%s object' has no attribute '%.*s'", type_name(object), bytes, value.text);
  }
  case undefined_parameter:
    raise_here(m, "parameter '%.*s' was not provided", bytes, value.text);
  case undefined_unsafe:
    raise_here(m, "access to attribute '%.*s' is unsafe: it would change its object", bytes,
               value.text);
  default:
    raise_here(m, "%.*s", bytes, value.text);
  }
}

static bool is_sequence(const value_t &value) {
  return value.type >= type_list && value.type <= type_view;
}

bool truth(const value_t &value) {
  switch (value.type) {
  case type_absent:
  case type_undefined:
  case type_none:
    return false;
  case type_boolean:
    return value.boolean;
  case type_integer:
    return value.integer != 0;
  case type_real:
    return value.real != 0;
  case type_text:
  case type_list:
  case type_tuple:
  case type_range:
  case type_view:
  case type_dict:
    return value.count != 0;
  case type_loop:
    return value.loop->count != 0;
  default:
    return true;
  }
}

bool same_text(const value_t &a, const value_t &b) {
  return a.count == b.count && (a.count == 0 || memcmp(a.text, b.text, a.count) == 0);
}

static bool equal_items(machine_t *m, const value_t &a, const value_t &b) {
  if (a.count != b.count)
    return false;
  for (uint32_t i = 0; i < a.count; ++i)
    if (!equal(m, a.items[i], b.items[i]))
      return false;
  return true;
}

bool equal(machine_t *m, const value_t &a, const value_t &b) {
  if (a.type != b.type) {
    if (!is_number(a) || !is_number(b) || a.type == type_big || b.type == type_big)
      return false;
    if (is_integral(a) && is_integral(b))
      return integer_of(a) == integer_of(b);
    return real_of(m, a) == real_of(m, b);
  }
  work(m, a.type == type_text && a.count == b.count ? a.count : 0);
  deeper_t deeper(m, max_depth + max_value_depth);
  bool result = false;
  switch (a.type) {
  case type_absent:
  case type_undefined:
  case type_none:
    result = true;
    break;
  case type_boolean:
    result = a.boolean == b.boolean;
    break;
  case type_integer:
    result = a.integer == b.integer;
    break;
  case type_real:
    result = a.real == b.real;
    break;
  case type_big:
  case type_text:
    result = same_text(a, b);
    break;
  case type_list:
  case type_tuple:
  case type_range:
    result = equal_items(m, a, b);
    break;
  case type_dict:
    result = a.count == b.count;
    for (uint32_t i = 0; result && i < a.count; ++i) {
      const value_t *other = find_entry(m, b, a.entries[i].key);
      result = other && equal(m, a.entries[i].value, *other);
    }
    break;
  case type_function:
    result = a.extra == b.extra;
    break;
  default: // the same object
    result = a.items == b.items && a.extra == b.extra;
  }
  deeper.leave();
  return result;
}

[[noreturn]] static void raise_order(machine_t *m, const value_t &a, const value_t &b) {
  if (a.type == type_undefined)
    raise_undefined(m, a);
  if (b.type == type_undefined)
    raise_undefined(m, b);
  raise_here(m, "'<' not supported between instances of '%s' and '%s'", type_name(a), type_name(b));
}

int order(machine_t *m, const value_t &a, const value_t &b) {
  if (is_number(a) && is_number(b)) {
    if (is_integral(a) && is_integral(b)) {
      int64_t x = integer_of(a), y = integer_of(b);
      return x < y ? -1 : x > y;
    }
    double x = real_of(m, a), y = real_of(m, b);
    return x < y ? -1 : x > y ? 1 : x == y ? 0 : 2;
  }
  if (a.type != b.type)
    raise_order(m, a, b);
  if (a.type == type_text) {
    uint32_t common = a.count < b.count ? a.count : b.count;
    work(m, common);
    int sign = common ? memcmp(a.text, b.text, common) : 0;
    return sign ? (sign < 0 ? -1 : 1) : a.count < b.count ? -1 : a.count > b.count;
  }
  if (a.type != type_list && a.type != type_tuple)
    raise_order(m, a, b);
  work(m, 0);
  deeper_t deeper(m, max_depth + max_value_depth);
  int result = a.count < b.count ? -1 : a.count > b.count;
  for (uint32_t i = 0; i < a.count && i < b.count; ++i)
    if (!equal(m, a.items[i], b.items[i])) {
      result = order(m, a.items[i], b.items[i]);
      break;
    }
  deeper.leave();
  return result;
}

const value_t *find_entry(machine_t *m, const value_t &dict, const value_t &key) {
  for (uint32_t i = 0; i < dict.count; ++i) {
    const entry_t &entry = dict.entries[i];
    if (key.type == type_text && entry.key.type == type_text) {
      if (entry.key.count == key.count) {
        work(m, key.count);
        if (same_text(entry.key, key))
          return &entry.value;
      }
    } else if (equal(m, entry.key, key)) {
      return &entry.value;
    }
  }
  work(m, dict.count);
  return nullptr;
}

static bool is_hashable(const value_t &value) {
  return value.type != type_list && value.type != type_dict && value.type != type_view;
}

bool contains(machine_t *m, const value_t &container, const value_t &item) {
  switch (container.type) {
  case type_text:
    if (item.type == type_undefined)
      raise_undefined(m, item);
    if (item.type != type_text)
      raise_here(m, "'in <string>' requires string as left operand, not %s", type_name(item));
    work(m, container.count);
    return find_text(container, item, container.text) != nullptr;
  case type_dict:
    if (!is_hashable(item))
      raise_here(m, "unhashable type: '%s'", type_name(item));
    return find_entry(m, container, item) != nullptr;
  case type_undefined:
    return false;
  default:
    if (!is_iterable(container))
      raise_here(m, "argument of type '%s' is not iterable", type_name(container));
  }
  table_t<value_t> items = iterate(m, container);
  work(m, items.size);
  for (uint32_t i = 0; i < items.size; ++i)
    if (equal(m, items[i], item))
      return true;
  return false;
}

bool has_length(const value_t &value) {
  return is_sequence(value) || value.type == type_text || value.type == type_dict ||
         value.type == type_undefined || value.type == type_loop;
}

int64_t length(machine_t *m, const value_t &value) {
  if (!has_length(value))
    raise_here(m, "object of type '%s' has no len()", type_name(value));
  if (value.type == type_text)
    return code_points(m, value);
  if (value.type == type_loop)
    return value.loop->count;
  return value.type == type_undefined ? 0 : value.count;
}

bool is_iterable(const value_t &value) {
  return (value.type >= type_text && value.type <= type_dict) || value.type == type_undefined;
}

table_t<value_t> iterate(machine_t *m, const value_t &value) {
  if (is_sequence(value))
    return {value.items, value.count};
  if (value.type == type_undefined)
    return {nullptr, 0};
  if (value.type == type_generator) {
    table_t<value_t> rest = {value.generator->items, value.generator->count};
    value.generator->count = 0;
    return rest;
  }
  if (value.type == type_dict) {
    value_t *keys = allocate_values(m, value.count);
    for (uint32_t i = 0; i < value.count; ++i)
      keys[i] = value.entries[i].key;
    return {keys, value.count};
  }
  if (value.type != type_text)
    raise_here(m, "'%s' object is not iterable", type_name(value));
  uint32_t count = (uint32_t)code_points(m, value), c;
  value_t *characters = allocate_values(m, count);
  const char *at = value.text, *end = value.text + value.count;
  for (uint32_t i = 0; i < count; ++i) {
    uint32_t bytes = read_code_point(at, end, &c);
    characters[i] = make_text(at, bytes);
    at += bytes;
  }
  return {characters, count};
}

/* ---- Attributes */

static value_t loop_attribute(const value_t &value, const value_t &name, uint8_t id) {
  const loop_t &loop = *value.loop;
  int64_t index0 = (int64_t)loop.next - 1;
  switch (id) {
  case schema::ChatName_n_index:
    return make_integer(index0 + 1);
  case schema::ChatName_n_index0:
    return make_integer(index0);
  case schema::ChatName_n_revindex:
    return make_integer(loop.count - index0);
  case schema::ChatName_n_revindex0:
    return make_integer(loop.count - index0 - 1);
  case schema::ChatName_n_first:
    return make_boolean(index0 == 0);
  case schema::ChatName_n_last:
    return make_boolean(index0 + 1 >= loop.count);
  case schema::ChatName_n_length:
    return make_integer(loop.count);
  case schema::ChatName_n_depth:
    return make_integer(1);
  case schema::ChatName_n_depth0:
    return make_integer(0);
  case schema::ChatName_n_previtem:
    if (index0 >= 1 && index0 <= loop.count)
      return loop.items[index0 - 1];
    return make_undefined(undefined_hint, make_text("there is no previous item", 25));
  case schema::ChatName_n_nextitem:
    if (index0 + 1 < loop.count)
      return loop.items[index0 + 1];
    return make_undefined(undefined_hint, make_text("there is no next item", 21));
  default:
    return make_undefined((undefined_as_t)(undefined_member | type_loop << 8), name);
  }
}

enum attribute_kind_t { no_attribute, bound_method, unsafe_attribute };

static attribute_kind_t attribute_kind(type_t type, uint8_t id) {
  bool counts = id == schema::ChatName_n_count || id == schema::ChatName_n_index;
  switch (type) {
  case type_text:
    return id >= schema::ChatName_n_capitalize && id <= schema::ChatName_n_zfill ? bound_method
                                                                                 : no_attribute;
  case type_list:
    if (id == schema::ChatName_n_mutator || id == schema::ChatName_n_list_mutator)
      return unsafe_attribute;
    return counts || id == schema::ChatName_n_copy ? bound_method : no_attribute;
  case type_tuple:
  case type_range:
    return counts ? bound_method : no_attribute;
  case type_dict:
    if (id == schema::ChatName_n_mutator || id == schema::ChatName_n_dict_mutator)
      return unsafe_attribute;
    return id >= schema::ChatName_n_copy && id <= schema::ChatName_n_values ? bound_method
                                                                            : no_attribute;
  case type_loop:
    return id == schema::ChatName_n_changed || id == schema::ChatName_n_cycle ? bound_method
                                                                              : no_attribute;
  default:
    return no_attribute;
  }
}

/* What Python's getattr gives; false where it raises AttributeError. */
static bool own_attribute(machine_t *m, const value_t &value, const value_t &name, uint8_t id,
                          value_t *result) {
  if (value.type == type_namespace) {
    value_t entries = make(type_dict);
    entries.entries = value.space->entries;
    entries.count = value.space->count;
    const value_t *found = find_entry(m, entries, name);
    if (found)
      *result = *found;
    return found;
  }
  if (value.type == type_tuple && value.extra && value.count == 2) {
    bool list = same_text(name, make_text("list", 4));
    if (list || same_text(name, make_text("grouper", 7))) {
      *result = value.items[list];
      return true;
    }
  }
  attribute_kind_t kind = attribute_kind(value.type, id);
  if (kind == no_attribute) {
    if (value.type != type_loop)
      return false;
    *result = loop_attribute(value, name, id);
    return true;
  }
  if (kind == unsafe_attribute) {
    *result = make_undefined(undefined_unsafe, name);
    return true;
  }
  value_t *self = allocate_values(m, 1);
  *self = value;
  *result = make(type_method);
  result->extra = id;
  result->self = self;
  return true;
}

static value_t no_member(machine_t *m, const value_t &value, const value_t &name) {
  return make_undefined((undefined_as_t)(undefined_member | value.type << 8), to_text(m, name));
}

value_t get_attribute(machine_t *m, const value_t &value, const value_t &name, uint8_t id) {
  if (value.type == type_undefined)
    raise_undefined(m, value);
  value_t result;
  if (own_attribute(m, value, name, id, &result))
    return result;
  if (value.type == type_dict)
    if (const value_t *found = find_entry(m, value, name))
      return *found;
  return no_member(m, value, name);
}

value_t get_item(machine_t *m, const value_t &value, const value_t &key, uint8_t id) {
  if (value.type == type_undefined)
    raise_undefined(m, value);
  if (value.type == type_dict && is_hashable(key)) {
    if (const value_t *found = find_entry(m, value, key))
      return *found;
  } else if (is_integral(key) &&
             (value.type == type_text || (value.type >= type_list && value.type <= type_range))) {
    int64_t count = length(m, value), index = integer_of(key);
    index += index < 0 ? count : 0;
    if (index >= 0 && index < count) {
      if (value.type != type_text)
        return value.items[index];
      const char *at = place_of(value, index);
      uint32_t c, bytes = read_code_point(at, value.text + value.count, &c);
      return make_text(at, bytes, value.safe);
    }
  }
  value_t result;
  if (key.type == type_text && own_attribute(m, value, key, id, &result))
    return result;
  return no_member(m, value, key);
}

static int64_t slice_bound(machine_t *m, const value_t &bound, int64_t count, int64_t step,
                           int64_t absent) {
  if (bound.type == type_none)
    return absent;
  if (bound.type == type_undefined)
    raise_undefined(m, bound);
  if (!is_integral(bound))
    raise_here(m, "slice indices must be integers or None, not '%s'", type_name(bound));
  int64_t index = integer_of(bound), least = step < 0 ? -1 : 0;
  if (index < 0) {
    index += count;
    return index < 0 ? least : index;
  }
  return index < count ? index : count + least;
}

value_t get_slice(machine_t *m, const value_t &value, const value_t &start, const value_t &stop,
                  const value_t &step_value) {
  if (value.type == type_undefined)
    raise_undefined(m, value);
  if (value.type != type_text && !(value.type >= type_list && value.type <= type_range))
    return no_member(m, value, make_text("slice", 5));
  int64_t count = length(m, value), step = 1;
  if (step_value.type != type_none) {
    if (!is_integral(step_value))
      raise_here(m, "slice indices must be integers or None, not '%s'", type_name(step_value));
    step = integer_of(step_value);
    if (step == 0)
      raise_here(m, "slice step cannot be zero");
    if (step < -INT64_MAX)
      step = -INT64_MAX;
  }
  int64_t first = slice_bound(m, start, count, step, step < 0 ? count - 1 : 0);
  int64_t last = slice_bound(m, stop, count, step, step < 0 ? -1 : count);
  int64_t taken = 0;
  if (step > 0 && first < last)
    taken = (last - first - 1) / step + 1;
  else if (step < 0 && last < first)
    taken = (first - last - 1) / -step + 1;
  if (value.type == type_text && step == 1) {
    const char *begin = place_of(value, first);
    const char *end = place_of(value, taken ? last : first);
    return make_text(begin, (uint64_t)(end - begin), value.safe);
  }
  if (value.type != type_text && step == 1)
    return make_sequence(value.type, taken ? value.items + first : nullptr, (uint32_t)taken);
  table_t<value_t> items = iterate(m, value);
  value_t *slice = allocate_values(m, (uint64_t)taken);
  for (int64_t i = 0; i < taken; ++i)
    slice[i] = items[(uint32_t)(first + i * step)];
  if (value.type != type_text)
    return make_sequence(value.type, slice, (uint32_t)taken);
  uint64_t mark = m->output_bytes;
  for (int64_t i = 0; i < taken; ++i)
    put(m, slice[i].text, slice[i].count);
  value_t text = take(m, mark);
  text.safe = value.safe;
  return text;
}

} // namespace chat
} // namespace kiln
