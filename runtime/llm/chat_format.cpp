// Formatting by pattern: Python's text % values and text.format(values). Both read a field's
// specification into the same record and put the value by it.

#include "llm/chat_value.h"

#include <stdio.h>
#include <string.h>

namespace kiln {
namespace chat {
namespace {

constexpr int64_t max_width = 1000000, max_precision = 400;

struct spec_t {
  uint32_t fill; /* code point */
  char align;    /* < > ^ =, or 0: as the type has it */
  char sign;     /* + - or space */
  bool alternate, comma;
  int64_t width, precision; /* precision -1: not given */
  char type;                /* 0: not given */
};

bool is_digit(char c) { return c >= '0' && c <= '9'; }

int64_t read_count(machine_t *m, const char **at, const char *end, int64_t limit) {
  int64_t count = 0;
  for (; *at < end && is_digit(**at); ++*at) {
    count = 10 * count + (**at - '0');
    if (count > limit)
      raise_here(m, "a width or precision above %lld", (long long)limit);
  }
  return count;
}

/* Puts what lies behind `mark` again, within the width: `head` bytes of it are sign and prefix. */
void align(machine_t *m, uint64_t mark, const spec_t &spec, char default_align, uint32_t head) {
  value_t body = take(m, mark);
  int64_t missing = spec.width - code_points(m, body);
  char side = spec.align ? spec.align : default_align;
  int64_t before = missing <= 0 || side == '<' ? 0 : side == '^' ? missing / 2 : missing;
  if (side == '=')
    put(m, body.text, head);
  for (int64_t i = 0; i < before; ++i)
    put_code_point(m, spec.fill);
  put(m, body.text + (side == '=' ? head : 0), body.count - (side == '=' ? head : 0));
  for (int64_t i = before; i < missing; ++i)
    put_code_point(m, spec.fill);
}

/* Digits in groups of three up to the first that is none. */
void put_grouped(machine_t *m, const char *text, uint32_t bytes) {
  uint32_t whole = 0;
  while (whole < bytes && is_digit(text[whole]))
    ++whole;
  for (uint32_t i = 0; i < whole; ++i) {
    if (i && (whole - i) % 3 == 0)
      put_character(m, ',');
    put_character(m, text[i]);
  }
  put(m, text + whole, bytes - whole);
}

void put_integer_field(machine_t *m, const value_t &value, const spec_t &spec) {
  uint64_t mark = m->output_bytes;
  int64_t number = integer_of(value);
  uint64_t magnitude = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
  if (number < 0)
    put_character(m, '-');
  else if (spec.sign == '+' || spec.sign == ' ')
    put_character(m, spec.sign);
  char type = spec.type ? spec.type : 'd', digits[72];
  uint32_t base = type == 'x' || type == 'X' ? 16 : type == 'o' ? 8 : type == 'b' ? 2 : 10;
  if (spec.alternate && base != 10) {
    put_character(m, '0');
    put_character(m, type);
  }
  uint32_t head = (uint32_t)(m->output_bytes - mark), count = 0;
  const char *alphabet = type == 'X' ? "0123456789ABCDEF" : "0123456789abcdef";
  do {
    uint64_t digit = magnitude % base;
    digits[count++] = alphabet[digit];
    magnitude /= base;
  } while (magnitude);
  for (int64_t i = count; i < spec.precision; ++i)
    put_character(m, '0');
  for (uint32_t i = 0; i < count / 2; ++i) {
    char other = digits[i];
    digits[i] = digits[count - 1 - i];
    digits[count - 1 - i] = other;
  }
  spec.comma ? put_grouped(m, digits, count) : put(m, digits, count);
  align(m, mark, spec, '>', head);
}

void put_real_field(machine_t *m, double value, const spec_t &spec) {
  uint64_t mark = m->output_bytes;
  bool negative = __builtin_signbit(value);
  if (negative)
    put_character(m, '-');
  else if (spec.sign == '+' || spec.sign == ' ')
    put_character(m, spec.sign);
  uint32_t head = (uint32_t)(m->output_bytes - mark);
  double magnitude = __builtin_fabs(value);
  bool percent = spec.type == '%';
  if (magnitude - magnitude != 0 || (spec.type == 0 && spec.precision < 0)) {
    put_real(m, percent ? magnitude * 100 : magnitude, false);
  } else {
    char text[800], format[8] = {'%', '.', '*', percent ? 'f' : spec.type ? spec.type : 'g', 0};
    int precision = spec.precision < 0 ? 6 : (int)spec.precision;
    int bytes =
        snprintf(text, sizeof(text), format, precision, percent ? magnitude * 100 : magnitude);
    // The locale's point, whatever its bytes, becomes one.
    uint32_t clean = 0;
    bool point = false;
    for (int i = 0; i < bytes; ++i) {
      char c = text[i], letter = (char)(c | 0x20);
      if (is_digit(c) || c == '-' || c == '+' || letter == 'e') {
        text[clean++] = c;
        point = false;
      } else if (!point) {
        text[clean++] = '.';
        point = true;
      }
    }
    spec.comma ? put_grouped(m, text, clean) : put(m, text, clean);
  }
  if (percent)
    put_character(m, '%');
  align(m, mark, spec, '>', head);
}

void put_text_field(machine_t *m, const value_t &text, const spec_t &spec) {
  uint64_t mark = m->output_bytes;
  const char *end = spec.precision < 0 ? text.text + text.count : place_of(text, spec.precision);
  put(m, text.text, (uint64_t)(end - text.text));
  align(m, mark, spec, '<', 0);
}

[[noreturn]] void raise_type(machine_t *m, const spec_t &spec, const value_t &value) {
  raise_here(m, "format '%c' does not take a %s", spec.type ? spec.type : '?', type_name(value));
}

/* One field; `percent` where the pattern is of the % kind. */
void put_field(machine_t *m, const value_t &value, spec_t spec, bool percent) {
  value_t given = value;
  switch (spec.type) {
  case 'i':
  case 'u':
    if (!percent)
      raise_type(m, spec, value);
    spec.type = 'd';
    // fallthrough
  case 'd':
  case 'x':
  case 'X':
  case 'o':
  case 'b':
    if (percent && value.type == type_real && spec.type == 'd') {
      int64_t whole;
      if (!to_integer(m, value, 10, &whole))
        raise_type(m, spec, value);
      given = make_integer(whole);
    }
    if (!is_integral(given) || (!percent && spec.precision >= 0))
      raise_type(m, spec, value);
    return put_integer_field(m, given, spec);
  case 'e':
  case 'E':
  case 'f':
  case 'F':
  case 'g':
  case 'G':
  case '%':
    if (!is_number(value))
      raise_type(m, spec, value);
    return put_real_field(m, real_of(m, value), spec);
  case 's':
  case 0:
    break;
  default:
    raise_here(m, "unknown format code '%c'", spec.type);
  }
  if (!percent && spec.type == 0 && is_integral(value) && value.type != type_boolean)
    return put_integer_field(m, value, spec);
  if (!percent && spec.type == 0 && value.type == type_real)
    return put_real_field(m, value.real, spec);
  if (percent && !spec.align)
    spec.align = '>';
  put_text_field(m, to_text(m, value), spec);
}

} // namespace

value_t format_percent(machine_t *m, const value_t &format, const value_t &arguments) {
  bool many = arguments.type == type_tuple;
  uint32_t used = 0, given = many ? arguments.count : 1;
  uint64_t mark = m->output_bytes;
  const char *at = format.text, *end = at + format.count;
  auto next = [&]() -> value_t {
    if (used >= given)
      raise_here(m, "not enough arguments for format string");
    return many ? arguments.items[used++] : (++used, arguments);
  };
  while (at < end) {
    const void *sign = memchr(at, '%', (size_t)(end - at));
    const char *stop = sign ? static_cast<const char *>(sign) : end;
    put(m, at, (uint64_t)(stop - at));
    if (stop == end)
      break;
    at = stop + 1;
    bool named = at < end && *at == '(';
    value_t value = make(type_absent);
    if (named) {
      const char *name = ++at;
      while (at < end && *at != ')')
        ++at;
      if (at == end || arguments.type != type_dict)
        raise_here(m, "format requires a mapping");
      const value_t *found = find_entry(m, arguments, make_text(name, (uint64_t)(at - name)));
      if (!found)
        raise_here(m, "no value for '%.*s'", (int)(at - name < 100 ? at - name : 100), name);
      value = *found;
      used = given;
      ++at;
    }
    spec_t spec = {' ', 0, 0, false, false, 0, -1, 0};
    for (; at < end && memchr("-+ #0", *at, 5); ++at) {
      if (*at == '-')
        spec.align = '<';
      else if (*at == '0') {
        spec.fill = spec.align ? spec.fill : '0';
        spec.align = spec.align ? spec.align : '=';
      } else if (*at == '#')
        spec.alternate = true;
      else if (spec.sign != '+')
        spec.sign = *at;
    }
    if (spec.align == '<')
      spec.fill = ' ';
    if (at < end && *at == '*')
      raise_here(m, "a width among the arguments is not supported");
    spec.width = read_count(m, &at, end, max_width);
    if (at < end && *at == '.') {
      ++at;
      spec.precision = read_count(m, &at, end, max_precision);
    }
    if (at == end)
      raise_here(m, "incomplete format");
    spec.type = *at++;
    if (spec.type == '%') {
      put_character(m, '%');
      continue;
    }
    if (!named)
      value = next();
    bool number = memchr("diuxXoeEfFgG", spec.type, 12) != nullptr;
    if (!number && spec.align == '=') {
      spec.align = '>';
      spec.fill = ' ';
    }
    if (spec.type == 'r' || spec.type == 'a') {
      uint64_t start = m->output_bytes;
      put_repr(m, value);
      value = take(m, start);
      spec.type = 's';
    }
    if (value.type == type_undefined && number)
      raise_undefined(m, value);
    put_field(m, format.safe && !number ? escape(m, value) : value, spec, true);
  }
  if (used < given && arguments.type != type_dict)
    raise_here(m, "not all arguments converted during string formatting");
  value_t result = take(m, mark);
  result.safe = format.safe;
  return result;
}

/* ---- text.format */

namespace {

struct braces_t {
  machine_t *m;
  const arguments_t *arguments;
  int64_t next; /* of the fields without a name; -1: they have numbers */

  value_t look_up(const char **at, const char *end);
  void put_fields(const char *at, const char *end, uint32_t depth);
};

bool is_name_end(char c) { return c == '.' || c == '[' || c == '!' || c == ':' || c == '}'; }

value_t braces_t::look_up(const char **at, const char *end) {
  const char *name = *at;
  while (*at < end && !is_name_end(**at))
    ++*at;
  uint32_t bytes = (uint32_t)(*at - name);
  value_t value = make(type_absent);
  if (bytes == 0 || is_digit(*name)) {
    int64_t index;
    if (bytes) {
      const char *digits = name;
      index = read_count(m, &digits, *at, UINT32_MAX);
      if (digits != *at || next > 0)
        raise_here(m, "cannot switch between named and automatic fields");
      next = -1;
    } else {
      if (next < 0)
        raise_here(m, "cannot switch between named and automatic fields");
      index = next++;
    }
    if (index >= arguments->count)
      raise_here(m, "Replacement index %lld out of range for positional args tuple",
                 (long long)index);
    value = arguments->values[index];
  } else {
    for (uint32_t i = 0; i < arguments->keyword_count; ++i)
      if (same_text(arguments->keywords[2 * i], make_text(name, bytes)))
        value = arguments->keywords[2 * i + 1];
    if (value.type == type_absent)
      raise_here(m, "no value for '%.*s'", (int)(bytes < 100 ? bytes : 100), name);
  }
  while (*at < end && (**at == '.' || **at == '[')) {
    bool item = **at == '[';
    const char *part = ++*at;
    while (*at < end && (item ? **at != ']' : !is_name_end(**at)))
      ++*at;
    value_t key = make_text(part, (uint64_t)(*at - part));
    value_t index;
    if (item && read_number(m, part, *at, &index) && index.type == type_integer)
      key = index;
    value = item ? get_item(m, value, key, 0) : get_attribute(m, value, key, 0);
    if (item && *at < end)
      ++*at;
  }
  return value;
}

spec_t read_spec(machine_t *m, const char *at, const char *end) {
  spec_t spec = {' ', 0, 0, false, false, 0, -1, 0};
  uint32_t c = 0, bytes = at < end ? read_code_point(at, end, &c) : 0;
  if (bytes && at + bytes < end && memchr("<>=^", at[bytes], 4)) {
    spec.fill = c;
    spec.align = at[bytes];
    at += bytes + 1;
  } else if (at < end && memchr("<>=^", *at, 4)) {
    spec.align = *at++;
  }
  if (at < end && memchr("+- ", *at, 3))
    spec.sign = *at++;
  if (at < end && *at == '#')
    spec.alternate = *at++;
  if (at < end && *at == '0') {
    if (!spec.align) {
      spec.align = '=';
      spec.fill = '0';
    }
    ++at;
  }
  spec.width = read_count(m, &at, end, max_width);
  if (at < end && *at == ',')
    spec.comma = *at++;
  if (at < end && *at == '.') {
    ++at;
    spec.precision = read_count(m, &at, end, max_precision);
  }
  if (at < end)
    spec.type = *at++;
  if (at < end)
    raise_here(m, "invalid format specifier");
  return spec;
}

void braces_t::put_fields(const char *at, const char *end, uint32_t depth) {
  if (depth > 2)
    raise_here(m, "fields within fields within fields");
  while (at < end) {
    char c = *at++;
    if (c != '{' && c != '}') {
      put_character(m, c);
      continue;
    }
    if (at < end && *at == c) {
      put_character(m, c);
      ++at;
      continue;
    }
    if (c == '}')
      raise_here(m, "Single '}' encountered in format string");
    value_t value = look_up(&at, end);
    char conversion = 0;
    if (at < end && *at == '!') {
      conversion = ++at < end ? *at++ : 0;
      if (conversion != 's' && conversion != 'r')
        raise_here(m, "unknown conversion specifier");
    }
    const char *spec_begin = at, *spec_end = at;
    if (at < end && *at == ':') {
      uint32_t open = 0;
      for (spec_begin = ++at; at < end && (open || *at != '}'); ++at)
        open += (*at == '{') - (*at == '}');
      spec_end = at;
    }
    if (at == end || *at != '}')
      raise_here(m, "expected '}' before end of string");
    ++at;
    uint64_t mark = m->output_bytes;
    if (conversion) {
      conversion == 'r' ? put_repr(m, value) : put_text(m, value);
      value = take(m, mark);
    }
    if (spec_begin == spec_end) {
      put_text(m, value);
      continue;
    }
    put_fields(spec_begin, spec_end, depth + 1);
    value_t pattern = take(m, mark);
    spec_t spec = read_spec(m, pattern.text, pattern.text + pattern.count);
    if (spec.align == '=' && !is_number(value))
      raise_type(m, spec, value);
    if (value.type != type_text && !is_number(value))
      raise_here(m, "unsupported format string passed to %s.__format__", type_name(value));
    put_field(m, value, spec, false);
  }
}

} // namespace

value_t format_braces(machine_t *m, const value_t &format, const arguments_t &arguments) {
  braces_t braces = {m, &arguments, 0};
  uint64_t mark = m->output_bytes;
  braces.put_fields(format.text, format.text + format.count, 0);
  value_t result = take(m, mark);
  result.safe = format.safe;
  return result;
}

} // namespace chat
} // namespace kiln
