// Jinja's filters over sequences: what they select, map, sort and group, and whether they give a
// list or a generator that goes by once.

#include "llm/chat_value.h"

#include <string.h>

namespace kiln {
namespace chat {
namespace {

using namespace schema;

value_t ignoring_case(machine_t *m, const value_t &value) {
  return value.type == type_text ? lower(m, value) : value;
}

/* What items are compared by: the items, one of their attributes, or a list of several. */
struct keys_t {
  machine_t *m;
  value_t attribute;
  bool case_sensitive;

  value_t one(const value_t &item, const value_t &path, const value_t &absent) const {
    bool plain = path.type == type_none || path.type == type_absent;
    value_t key = plain ? item : get_path(m, item, path, absent);
    return case_sensitive ? key : ignoring_case(m, key);
  }
  /* sort(attribute="a,b") */
  value_t all(const value_t &item) const {
    if (attribute.type != type_text || !memchr(attribute.text, ',', attribute.count))
      return one(item, attribute, make(type_absent));
    value_t paths = split(m, attribute, make_text(",", 1), -1, false);
    value_t *keys = allocate_values(m, paths.count);
    for (uint32_t i = 0; i < paths.count; ++i)
      keys[i] = one(item, paths.items[i], make(type_absent));
    return make_sequence(type_list, keys, paths.count);
  }
};

/* Stable, by merging runs of doubling length. `order[i]` becomes the index of the i-th key. */
uint32_t *sort_keys(machine_t *m, const value_t *keys, uint32_t count, bool reverse) {
  uint32_t *from = static_cast<uint32_t *>(allocate(m, (uint64_t)count * 4));
  uint32_t *to = static_cast<uint32_t *>(allocate(m, (uint64_t)count * 4));
  for (uint32_t i = 0; i < count; ++i)
    from[i] = i;
  for (uint64_t run = 1; run < count; run *= 2) {
    for (uint64_t begin = 0; begin < count; begin += 2 * run) {
      uint64_t middle = begin + run < count ? begin + run : count;
      uint64_t end = middle + run < count ? middle + run : count;
      uint64_t left = begin, right = middle;
      for (uint64_t i = begin; i < end; ++i) {
        bool take_right = left == middle;
        if (!take_right && right < end) {
          const value_t &a = keys[from[left]], &b = keys[from[right]];
          take_right = reverse ? order(m, a, b) < 0 : order(m, b, a) < 0;
        }
        to[i] = from[take_right ? right++ : left++];
      }
    }
    uint32_t *other = from;
    from = to;
    to = other;
  }
  if (count == 1) // Python compares nothing then
    return from;
  return from;
}

value_t sorted(machine_t *m, table_t<value_t> items, const keys_t &by, bool reverse) {
  value_t *keys = allocate_values(m, items.size), *result = allocate_values(m, items.size);
  for (uint32_t i = 0; i < items.size; ++i)
    keys[i] = by.all(items[i]);
  const uint32_t *places = sort_keys(m, keys, items.size, reverse);
  for (uint32_t i = 0; i < items.size; ++i)
    result[i] = items[places[i]];
  return make_sequence(type_list, result, items.size);
}

value_t sort_dict(machine_t *m, const value_t &value, const value_t *arguments, uint32_t count) {
  if (value.type == type_undefined)
    raise_undefined(m, value);
  if (value.type != type_dict)
    raise_here(m, "'%s' object has no attribute 'items'", type_name(value));
  bool case_sensitive = truth_argument(argument(arguments, count, 0));
  value_t by = text_argument(m, argument(arguments, count, 1), "key");
  bool by_value = same_text(by, make_text("value", 5));
  if (!by_value && !same_text(by, make_text("key", 3)))
    raise_here(m, "You can only sort by either \"key\" or \"value\"");
  value_t items = call_method(m, value, ChatName_n_items, {nullptr, 0, nullptr, 0});
  keys_t keys = {m, make_integer(by_value), case_sensitive};
  return sorted(m, {items.items, items.count}, keys, truth_argument(argument(arguments, count, 2)));
}

value_t group(machine_t *m, table_t<value_t> items, const value_t *arguments, uint32_t count) {
  value_t attribute = argument(arguments, count, 0), absent = argument(arguments, count, 1);
  keys_t by = {m, attribute, truth_argument(argument(arguments, count, 2))};
  keys_t exactly = {m, attribute, true};
  value_t *keys = allocate_values(m, items.size);
  for (uint32_t i = 0; i < items.size; ++i)
    keys[i] = by.one(items[i], attribute, absent);
  const uint32_t *places = sort_keys(m, keys, items.size, false);
  value_t *groups = allocate_values(m, items.size);
  uint32_t group_count = 0;
  for (uint32_t begin = 0, end; begin < items.size; begin = end) {
    for (end = begin + 1; end < items.size && equal(m, keys[places[begin]], keys[places[end]]);)
      ++end;
    value_t *members = allocate_values(m, end - begin), *pair = allocate_values(m, 2);
    for (uint32_t i = begin; i < end; ++i)
      members[i - begin] = items[places[i]];
    pair[0] = exactly.one(members[0], attribute, absent);
    pair[1] = make_sequence(type_list, members, end - begin);
    groups[group_count] = make_sequence(type_tuple, pair, 2);
    groups[group_count++].extra = 1;
  }
  return make_sequence(type_list, groups, group_count);
}

value_t unique(machine_t *m, table_t<value_t> items, const value_t *arguments, uint32_t count) {
  keys_t by = {m, make(type_none), truth_argument(argument(arguments, count, 0))};
  value_t attribute = argument(arguments, count, 1);
  value_t *result = allocate_values(m, items.size), *keys = allocate_values(m, items.size);
  uint32_t found = 0;
  for (uint32_t i = 0; i < items.size; ++i) {
    value_t key = by.one(items[i], attribute, make(type_absent));
    if (key.type == type_list || key.type == type_dict)
      raise_here(m, "unhashable type: '%s'", type_name(key));
    uint32_t other = 0;
    while (other < found && !equal(m, keys[other], key))
      ++other;
    if (other < found)
      continue;
    keys[found] = key;
    result[found++] = items[i];
  }
  return make_generator(m, result, found);
}

value_t extreme(machine_t *m, table_t<value_t> items, const value_t *arguments, uint32_t count,
                bool largest) {
  keys_t by = {m, make(type_none), truth_argument(argument(arguments, count, 0))};
  value_t attribute = argument(arguments, count, 1);
  if (items.size == 0)
    return make_undefined(undefined_hint, make_text("No aggregated item, sequence was empty.", 39));
  uint32_t best = 0;
  value_t best_key = by.one(items[0], attribute, make(type_absent));
  for (uint32_t i = 1; i < items.size; ++i) {
    value_t key = by.one(items[i], attribute, make(type_absent));
    if (largest ? order(m, best_key, key) < 0 : order(m, key, best_key) < 0) {
      best = i;
      best_key = key;
    }
  }
  return items[best];
}

value_t sum(machine_t *m, table_t<value_t> items, const value_t *arguments, uint32_t count) {
  value_t attribute = argument(arguments, count, 0), total = argument(arguments, count, 1);
  if (total.type == type_absent)
    total = make_integer(0);
  if (total.type == type_text)
    raise_here(m, "sum() can't sum strings [use ''.join(seq) instead]");
  for (uint32_t i = 0; i < items.size; ++i) {
    bool plain = attribute.type == type_absent || attribute.type == type_none;
    total = operate(m, ChatOp_add, total, plain ? items[i] : get_path(m, items[i], attribute));
  }
  return total;
}

value_t join(machine_t *m, table_t<value_t> items, const value_t *arguments, uint32_t count) {
  value_t separator = text_argument(m, argument(arguments, count, 0), "");
  value_t attribute = argument(arguments, count, 1);
  bool plain = attribute.type == type_absent || attribute.type == type_none;
  uint64_t mark = m->output_bytes;
  for (uint32_t i = 0; i < items.size; ++i) {
    if (i)
      put(m, separator.text, separator.count);
    value_t item = plain ? items[i] : get_path(m, items[i], attribute);
    put_text(m, item);
  }
  return take(m, mark);
}

value_t *copy_of(machine_t *m, table_t<value_t> items, uint32_t room) {
  value_t *copy = allocate_values(m, (uint64_t)items.size + room);
  if (items.size)
    memcpy(copy, items.data, items.size * sizeof(value_t));
  return copy;
}

/* batch: rows of `size`; slice: `size` rows as equal as can be. */
value_t cut(machine_t *m, table_t<value_t> items, const value_t *arguments, uint32_t count,
            bool batch) {
  value_t fill = argument(arguments, count, 1);
  int64_t size = integer_argument(m, argument(arguments, count, 0), 0);
  if (size < 1 || size > 100000)
    raise_here(m, "expected 1 to 100000 rows or items in a row");
  bool filled = fill.type != type_absent && fill.type != type_none;
  uint32_t rows =
      batch ? (uint32_t)((items.size + (uint64_t)size - 1) / (uint64_t)size) : (uint32_t)size;
  value_t *result = allocate_values(m, rows);
  uint32_t begin = 0;
  for (uint32_t row = 0; row < rows; ++row) {
    uint32_t extra = items.size % (uint32_t)size;
    uint32_t taken = batch ? (uint32_t)size : items.size / (uint32_t)size + (row < extra);
    if (batch && taken > items.size - begin)
      taken = items.size - begin;
    uint32_t missing = !filled ? 0 : batch ? (uint32_t)size - taken : row >= extra;
    value_t *members = copy_of(m, {items.data + begin, taken}, missing);
    for (uint32_t i = 0; i < missing; ++i)
      members[taken + i] = fill;
    result[row] = make_sequence(type_list, members, taken + missing);
    begin += taken;
  }
  return make_generator(m, result, rows);
}

value_t select(machine_t *m, uint8_t filter, table_t<value_t> items, const value_t *arguments,
               uint32_t count) {
  bool by_attribute = filter == ChatFilter_f_selectattr || filter == ChatFilter_f_rejectattr;
  bool reject = filter == ChatFilter_f_reject || filter == ChatFilter_f_rejectattr;
  if (by_attribute && count == 0)
    raise_here(m, "Missing parameter for attribute name");
  uint32_t at = by_attribute;
  bool tested = count > at;
  uint8_t test = 0;
  if (tested) {
    if (arguments[at].type != type_integer || arguments[at].integer < 0 ||
        arguments[at].integer > ChatTest_MAX)
      raise(m, KILN_CORRUPT, "chat section: a filter names no test");
    test = (uint8_t)arguments[at].integer;
  }
  value_t *result = allocate_values(m, items.size);
  uint32_t kept = 0;
  for (uint32_t i = 0; i < items.size; ++i) {
    value_t item = by_attribute ? get_path(m, items[i], arguments[0]) : items[i];
    bool passes =
        tested ? apply_test(m, test, item, arguments + at + 1, count - at - 1) : truth(item);
    if (passes != reject)
      result[kept++] = items[i];
  }
  return make_generator(m, result, kept);
}

value_t map(machine_t *m, uint8_t filter, table_t<value_t> items, const value_t *arguments,
            uint32_t count) {
  value_t *result = allocate_values(m, items.size);
  value_t first = argument(arguments, count, 0), absent = argument(arguments, count, 1);
  if (filter == ChatFilter_f_map &&
      (first.type != type_integer || first.integer < 0 || first.integer > ChatFilter_MAX))
    raise(m, KILN_CORRUPT, "chat section: a filter names no filter");
  deeper_t deeper(m, max_depth);
  for (uint32_t i = 0; i < items.size; ++i) {
    if (filter == ChatFilter_f_map) {
      result[i] = apply_filter(m, (uint8_t)first.integer, items[i], arguments + 1, count - 1);
      continue;
    }
    result[i] = get_path(m, items[i], first, absent);
  }
  deeper.leave();
  return make_generator(m, result, items.size);
}

value_t first_of(machine_t *m, const value_t &value) {
  value_t none =
      make_undefined(undefined_hint, make_text("No first item, sequence was empty.", 34));
  if (value.type == type_generator) { // the others stay
    generator_t *generator = value.generator;
    if (generator->count == 0)
      return none;
    --generator->count;
    return *generator->items++;
  }
  table_t<value_t> items = iterate(m, value);
  return items.size ? items[0] : none;
}

value_t last_of(machine_t *m, const value_t &value) {
  if (value.type == type_generator)
    raise_here(m, "'generator' object is not reversible");
  table_t<value_t> items = iterate(m, value);
  if (items.size == 0)
    return make_undefined(undefined_hint, make_text("No last item, sequence was empty.", 33));
  return items[items.size - 1];
}

value_t reverse(machine_t *m, const value_t &value) {
  if (value.type == type_text)
    return get_slice(m, value, make(type_none), make(type_none), make_integer(-1));
  table_t<value_t> items = iterate(m, value);
  value_t *reversed = allocate_values(m, items.size);
  for (uint32_t i = 0; i < items.size; ++i)
    reversed[i] = items[items.size - 1 - i];
  return value.type == type_generator ? make_sequence(type_list, reversed, items.size)
                                      : make_generator(m, reversed, items.size);
}

value_t items_of(machine_t *m, const value_t &value) {
  if (value.type == type_undefined)
    return make_generator(m, nullptr, 0);
  if (value.type != type_dict)
    raise_here(m, "Can only get item pairs from a mapping.");
  value_t view = call_method(m, value, ChatName_n_items, {nullptr, 0, nullptr, 0});
  return make_generator(m, view.items, view.count);
}

} // namespace

value_t get_path(machine_t *m, value_t item, const value_t &path, const value_t &absent) {
  bool replaced = absent.type != type_absent && absent.type != type_none;
  if (path.type != type_text) {
    item = get_item(m, item, path, 0);
    return replaced && item.type == type_undefined ? absent : item;
  }
  const char *at = path.text, *end = at + path.count;
  while (true) {
    const void *dot = memchr(at, '.', (size_t)(end - at));
    const char *stop = dot ? static_cast<const char *>(dot) : end;
    value_t part = make_text(at, (uint64_t)(stop - at)), index;
    bool digits = part.count && *at >= '0' && *at <= '9';
    if (digits && read_number(m, at, stop, &index) && index.type == type_integer)
      part = index;
    item = get_item(m, item, part, 0);
    if (replaced && item.type == type_undefined)
      item = absent;
    if (stop == end)
      return item;
    at = stop + 1;
  }
}

value_t apply_sequence_filter(machine_t *m, uint8_t filter, const value_t &value,
                              const value_t *arguments, uint32_t count) {
  switch (filter) {
  case ChatFilter_f_first:
    return first_of(m, value);
  case ChatFilter_f_last:
    return last_of(m, value);
  case ChatFilter_f_reverse:
    return reverse(m, value);
  case ChatFilter_f_items:
    return items_of(m, value);
  case ChatFilter_f_dictsort:
    return sort_dict(m, value, arguments, count);
  case ChatFilter_f_map:
  case ChatFilter_f_map_attribute:
  case ChatFilter_f_select:
  case ChatFilter_f_reject:
  case ChatFilter_f_selectattr:
  case ChatFilter_f_rejectattr:
    if (!truth(value)) // Jinja looks before it iterates
      return make_generator(m, nullptr, 0);
    break;
  default:
    break;
  }
  table_t<value_t> items = iterate(m, value);
  switch (filter) {
  case ChatFilter_f_list:
    return make_sequence(type_list, items.data, items.size);
  case ChatFilter_f_join:
    return join(m, items, arguments, count);
  case ChatFilter_f_sort: {
    keys_t by = {m, argument(arguments, count, 2), truth_argument(argument(arguments, count, 1))};
    return sorted(m, items, by, truth_argument(argument(arguments, count, 0)));
  }
  case ChatFilter_f_unique:
    return unique(m, items, arguments, count);
  case ChatFilter_f_min:
  case ChatFilter_f_max:
    return extreme(m, items, arguments, count, filter == ChatFilter_f_max);
  case ChatFilter_f_sum:
    return sum(m, items, arguments, count);
  case ChatFilter_f_batch:
  case ChatFilter_f_slice:
    return cut(m, items, arguments, count, filter == ChatFilter_f_batch);
  case ChatFilter_f_groupby:
    return group(m, items, arguments, count);
  case ChatFilter_f_map:
  case ChatFilter_f_map_attribute:
    return map(m, filter, items, arguments, count);
  default:
    return select(m, filter, items, arguments, count);
  }
}

} // namespace chat
} // namespace kiln
