// Jinja's filters of one value, with tojson as transformers has it. Filters over sequences are in
// chat_sequences.cpp.

#include "llm/chat_value.h"

#include <string.h>

namespace kiln {
namespace chat {
namespace {

using namespace schema;

/* The text of a value, but as it is where it is one (Jinja's soft_str keeps markup). */
value_t indent(machine_t *m, const value_t &value, const value_t *arguments, uint32_t count) {
  if (value.type != type_text)
    raise_here(m, "unsupported operand type(s) for +=: '%s' and 'str'", type_name(value));
  value_t width = argument(arguments, count, 0);
  bool first = truth_argument(argument(arguments, count, 1));
  bool blank = truth_argument(argument(arguments, count, 2));
  uint64_t mark = m->output_bytes;
  if (width.type != type_text) {
    int64_t spaces = integer_argument(m, width, 4);
    for (int64_t i = 0; i < spaces; ++i)
      put_character(m, ' ');
    width = take(m, mark);
  }
  value_t lines = split_lines(m, concatenate(m, value, make_text("\n", 1)), false);
  for (uint32_t i = 0; i < lines.count; ++i) {
    if (i)
      put_character(m, '\n');
    if (i ? blank || lines.items[i].count : first)
      put(m, width.text, width.count);
    put(m, lines.items[i].text, lines.items[i].count);
  }
  value_t result = take(m, mark);
  result.safe = value.safe;
  return result;
}

value_t round_value(machine_t *m, const value_t &value, const value_t *arguments, uint32_t count) {
  int64_t digits = integer_argument(m, argument(arguments, count, 0), 0);
  value_t method = text_argument(m, argument(arguments, count, 1), "common");
  if (value.type == type_undefined)
    raise_undefined(m, value);
  if (!is_number(value))
    raise_here(m, "a %s cannot be rounded", type_name(value));
  if (same_text(method, make_text("common", 6))) {
    if (is_integral(value) && digits >= 0)
      return make_integer(integer_of(value));
    return make_real(round_to(m, real_of(m, value), digits));
  }
  bool up = same_text(method, make_text("ceil", 4));
  if ((!up && !same_text(method, make_text("floor", 5))) || digits < 0 || digits > 18)
    raise_here(m, "method must be common, ceil or floor, with 0 to 18 digits");
  double unit = 1;
  for (int64_t i = 0; i < digits; ++i)
    unit *= 10;
  double scaled = real_of(m, value) * unit;
  if (!(scaled > -0x1p62 && scaled < 0x1p62))
    return make_real(scaled / unit);
  int64_t whole = (int64_t)scaled;
  if (up)
    whole += (double)whole < scaled;
  else
    whole -= (double)whole > scaled;
  return make_real((double)whole / unit);
}

value_t truncate(machine_t *m, const value_t &value, const value_t *arguments, uint32_t count) {
  if (value.type != type_text)
    raise_here(m, "object of type '%s' cannot be truncated", type_name(value));
  int64_t limit = integer_argument(m, argument(arguments, count, 0), 255);
  bool kill_words = truth_argument(argument(arguments, count, 1));
  value_t end = text_argument(m, argument(arguments, count, 2), "...");
  value_t leeway_value = argument(arguments, count, 3);
  int64_t leeway = leeway_value.type == type_none ? 5 : integer_argument(m, leeway_value, 5);
  int64_t kept = limit - code_points(m, end);
  if (kept < 0 || leeway < 0)
    raise_here(m, "expected a length that has room for the end, and a leeway of 0 or more");
  if (code_points(m, value) - leeway <= limit)
    return value;
  value_t head = make_text(value.text, (uint64_t)(place_of(value, kept) - value.text));
  if (!kill_words)
    for (uint32_t i = head.count; i-- > 0;)
      if (head.text[i] == ' ') {
        head.count = i;
        break;
      }
  return concatenate(m, head, end);
}

value_t format_value(machine_t *m, const value_t &value, const value_t *arguments, uint32_t count) {
  return format_percent(m, to_text(m, value), make_sequence(type_tuple, arguments, count));
}

int64_t count_words(const value_t &text) {
  int64_t words = 0;
  bool inside = false;
  for (const char *at = text.text, *end = at + text.count; at < end;) {
    uint32_t c;
    at += read_code_point(at, end, &c);
    bool letter = c == '_' || c >= 0x80
                      ? !is_space(c)
                      : (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
    words += letter && !inside;
    inside = letter;
  }
  return words;
}

value_t absolute(machine_t *m, const value_t &value) {
  if (value.type == type_undefined)
    raise_undefined(m, value);
  if (!is_number(value) || value.type == type_big)
    raise_here(m, "bad operand type for abs(): '%s'", type_name(value));
  if (value.type == type_real)
    return make_real(__builtin_fabs(value.real));
  return integer_of(value) < 0 ? negate(m, value) : make_integer(integer_of(value));
}

value_t to_number(machine_t *m, uint8_t filter, const value_t &value, const value_t *arguments,
                  uint32_t count) {
  value_t absent = argument(arguments, count, 0);
  if (filter == ChatFilter_f_float) {
    double real;
    if (to_real(m, value, &real))
      return make_real(real);
    return absent.type == type_absent ? make_real(0) : absent;
  }
  if (value.type == type_big)
    return value;
  int64_t integer;
  if (to_integer(m, value, integer_argument(m, argument(arguments, count, 1), 10), &integer))
    return make_integer(integer);
  return absent.type == type_absent ? make_integer(0) : absent;
}

} // namespace

value_t apply_filter(machine_t *m, uint8_t filter, const value_t &value, const value_t *arguments,
                     uint32_t count) {
  value_t first = argument(arguments, count, 0);
  switch (filter) {
  case ChatFilter_f_abs:
    return absolute(m, value);
  case ChatFilter_f_attr: {
    // The attribute only: an item of this name does not count.
    if (value.type == type_dict)
      return make_undefined(undefined_member, to_text(m, first));
    return get_attribute(m, value, first, 0);
  }
  case ChatFilter_f_capitalize:
    return capitalize(m, to_text(m, value));
  case ChatFilter_f_center: {
    value_t width = first.type == type_absent ? make_integer(80) : first;
    return call_method(m, to_text(m, value), ChatName_n_center, {&width, 1, nullptr, 0});
  }
  case ChatFilter_f_default:
    if (value.type == type_undefined ||
        (truth_argument(argument(arguments, count, 1)) && !truth(value)))
      return first.type == type_absent ? make_text("", 0) : first;
    return value;
  case ChatFilter_f_escape:
    return escape(m, value);
  case ChatFilter_f_float:
  case ChatFilter_f_int:
    return to_number(m, filter, value, arguments, count);
  case ChatFilter_f_format:
    return format_value(m, value, arguments, count);
  case ChatFilter_f_indent:
    return indent(m, value, arguments, count);
  case ChatFilter_f_length:
    return make_integer(length(m, value));
  case ChatFilter_f_lower:
    return lower(m, to_text(m, value));
  case ChatFilter_f_upper:
    return upper(m, to_text(m, value));
  case ChatFilter_f_title:
    return title(m, to_text(m, value), true);
  case ChatFilter_f_replace: {
    value_t times = argument(arguments, count, 2);
    value_t text = to_text(m, value);
    text.safe = false;
    return replace(m, text, to_text(m, first), to_text(m, argument(arguments, count, 1)),
                   times.type == type_none ? -1 : integer_argument(m, times, -1));
  }
  case ChatFilter_f_round:
    return round_value(m, value, arguments, count);
  case ChatFilter_f_safe: {
    value_t text = to_text(m, value);
    text.safe = true;
    return text;
  }
  case ChatFilter_f_string:
    return to_text(m, value);
  case ChatFilter_f_tojson:
    if (value.type == type_undefined)
      raise_here(m, "Object of type Undefined is not JSON serializable");
    return to_json(m, value, truth_argument(first), argument(arguments, count, 1),
                   argument(arguments, count, 2), truth_argument(argument(arguments, count, 3)));
  case ChatFilter_f_trim:
    return strip(m, to_text(m, value), first, strip_left | strip_right);
  case ChatFilter_f_truncate:
    return truncate(m, value, arguments, count);
  case ChatFilter_f_wordcount:
    return make_integer(count_words(to_text(m, value)));
  default:
    return apply_sequence_filter(m, filter, value, arguments, count);
  }
}

} // namespace chat
} // namespace kiln
