// Numbers and their spellings, as Python has them, whatever the locale: floats in the fewest digits
// that read back as the same, integers beyond 64 bits as they were spelled.

#include "llm/chat_value.h"

#include "core/checked.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

namespace kiln {
namespace chat {

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

void put_integer(machine_t *m, int64_t value) {
  char text[24];
  int bytes = snprintf(text, sizeof(text), "%lld", (long long)value);
  put(m, text, (uint64_t)bytes);
}

/* The digits of |value| with `count` of them, without point, and the power of ten of the first. */
static int digits_of(double value, int count, char *digits) {
  char text[48];
  snprintf(text, sizeof(text), "%.*e", count - 1, value);
  const char *at = text;
  int found = 0;
  for (; *at != 'e'; ++at) // whatever else there is belongs to the sign or the locale
    if (is_digit(*at))
      digits[found++] = *at;
  return atoi(at + 1);
}

/* Reads digits * 10^power; the text has room for the exponent behind the digits. */
static double read_digits(char *digits, int count, int64_t power) {
  snprintf(digits + count, 16, "e%d",
           (int)(power < -999999999  ? -999999999
                 : power > 999999999 ? 999999999
                                     : power));
  return strtod(digits, nullptr);
}

void put_real(machine_t *m, double value, bool as_json) {
  if (value != value || value - value != 0) {
    const char *name = value != value ? (as_json ? "NaN" : "nan")
                       : value > 0    ? (as_json ? "Infinity" : "inf")
                                      : (as_json ? "-Infinity" : "-inf");
    return put(m, name, strlen(name));
  }
  char digits[48];
  int count = 1, power = 0;
  double magnitude = __builtin_fabs(value);
  for (; count <= 17; ++count) {
    power = digits_of(magnitude, count, digits);
    char copy[48];
    memcpy(copy, digits, (size_t)count);
    if (read_digits(copy, count, (int64_t)power - count + 1) == magnitude)
      break;
  }
  if (count > 17)
    count = 17;
  if (__builtin_signbit(value))
    put_character(m, '-');
  if (power < -4 || power >= 16) {
    put(m, digits, 1);
    if (count > 1) {
      put_character(m, '.');
      put(m, digits + 1, (uint64_t)count - 1);
    }
    char exponent[8];
    int bytes = snprintf(exponent, sizeof(exponent), "e%c%02d", power < 0 ? '-' : '+', abs(power));
    return put(m, exponent, (uint64_t)bytes);
  }
  for (int place = power < 0 ? 0 : power; place >= 0 || place > power - count; --place) {
    if (place == -1)
      put_character(m, '.');
    put_character(m, place <= power && place > power - count ? digits[power - place] : '0');
  }
  if (power - count >= -1)
    put(m, ".0", 2);
}

bool read_number(machine_t *m, const char *begin, const char *end, value_t *value) {
  const char *at = begin;
  bool negative = at < end && *at == '-';
  at += negative;
  const char *whole = at;
  while (at < end && is_digit(*at))
    ++at;
  if (at == whole || (at - whole > 1 && *whole == '0'))
    return false;
  if (at == end) {
    work(m, (uint64_t)(end - begin));
    int64_t number = 0;
    bool fits = true;
    for (at = whole; fits && at < end; ++at)
      fits = checked_mul<int64_t>(number, 10, &number) &&
             checked_add<int64_t>(number, negative ? '0' - *at : *at - '0', &number);
    *value = fits ? make_integer(number) : make_text(begin, (uint64_t)(end - begin));
    if (!fits)
      value->type = type_big;
    return true;
  }
  char *digits = static_cast<char *>(allocate(m, (uint64_t)(end - whole) + 32));
  int count = (int)(at - whole);
  memcpy(digits, whole, (size_t)count);
  int64_t power = 0;
  if (*at == '.') {
    const char *fraction = ++at;
    while (at < end && is_digit(*at))
      digits[count++] = *at++;
    if (at == fraction)
      return false;
    power = fraction - at;
  }
  if (at < end && (*at == 'e' || *at == 'E')) {
    bool minus = ++at < end && *at == '-';
    at += at < end && (*at == '-' || *at == '+');
    int64_t exponent = 0;
    const char *first = at;
    for (; at < end && is_digit(*at); ++at)
      exponent = exponent < 1000000 ? exponent * 10 + (*at - '0') : exponent;
    if (at == first)
      return false;
    power += minus ? -exponent : exponent;
  }
  if (at != end)
    return false;
  double real = read_digits(digits, count, power);
  *value = make_real(negative ? -real : real);
  return true;
}

double round_to(machine_t *m, double value, int64_t digits) {
  if (value != value || value - value != 0 || digits > 22)
    return value;
  double magnitude = __builtin_fabs(value);
  if (digits < 0) {
    if (digits < -18)
      return 0;
    double unit = 1;
    for (int64_t i = 0; i < -digits; ++i)
      unit *= 10;
    if (magnitude / unit >= 0x1p52)
      return value;
    int64_t whole = (int64_t)(magnitude / unit);
    double rest = magnitude / unit - (double)whole;
    whole += rest > 0.5 || (rest == 0.5 && (whole & 1));
    return value < 0 ? -(double)whole * unit : (double)whole * unit;
  }
  if (magnitude >= 0x1p52)
    return value;
  char text[48], numerals[64];
  int bytes = snprintf(text, sizeof(text), "%.*f", (int)digits, magnitude), count = 0;
  for (int i = 0; i < bytes; ++i)
    if (is_digit(text[i]))
      numerals[count++] = text[i];
  (void)m;
  double rounded = read_digits(numerals, count, -digits);
  return value < 0 ? -rounded : rounded;
}

/* A number spelled as int() or float() accept it: spaces around, a sign, underscores. */
static bool read_spelled(machine_t *m, const value_t &text, value_t *result) {
  value_t core = strip(m, text, make(type_none), strip_left | strip_right);
  char *clean = static_cast<char *>(allocate(m, (uint64_t)core.count + 2));
  uint32_t bytes = 0;
  for (uint32_t i = 0; i < core.count; ++i) {
    char c = core.text[i];
    if (c == '_' && i > 0 && i + 1 < core.count && is_digit(core.text[i - 1]) &&
        is_digit(core.text[i + 1]))
      continue;
    if (c == '+' && i == 0)
      continue;
    clean[bytes++] = c;
  }
  uint32_t sign = bytes > 0 && clean[0] == '-';
  uint32_t zeros = sign;
  while (zeros + 1 < bytes && clean[zeros] == '0' && is_digit(clean[zeros + 1]))
    ++zeros;
  if (sign && zeros)
    clean[zeros - sign] = '-';
  return read_number(m, clean + zeros - sign, clean + bytes, result);
}

static bool read_in_base(const value_t &text, int64_t base, int64_t *result) {
  const char *at = text.text, *end = at + text.count;
  bool negative = at < end && *at == '-';
  at += at < end && (*at == '-' || *at == '+');
  char letter = end - at > 2 && at[0] == '0' ? (char)(at[1] | 0x20) : 0;
  int64_t marked = letter == 'x' ? 16 : letter == 'o' ? 8 : letter == 'b' ? 2 : 0;
  if (marked && (base == 0 || base == marked)) {
    base = marked;
    at += 2;
  }
  if (base < 2 || base > 36 || at == end)
    return false;
  int64_t number = 0;
  for (; at < end; ++at) {
    char c = (char)(*at | 0x20);
    int64_t digit = is_digit(*at) ? *at - '0' : c >= 'a' && c <= 'z' ? c - 'a' + 10 : 99;
    if (digit >= base || !checked_mul(number, base, &number) ||
        !checked_add(number, negative ? -digit : digit, &number))
      return false;
  }
  *result = number;
  return true;
}

bool to_real(machine_t *m, const value_t &value, double *result) {
  value_t number = value;
  if (value.type == type_undefined)
    raise_undefined(m, value);
  if (value.type == type_text && !read_spelled(m, value, &number))
    return false;
  if (!is_number(number) || number.type == type_big)
    return false;
  *result = real_of(m, number);
  return true;
}

bool to_integer(machine_t *m, const value_t &value, int64_t base, int64_t *result) {
  if (value.type == type_text && base != 10)
    return read_in_base(strip(m, value, make(type_none), strip_left | strip_right), base, result);
  value_t number = value;
  if (value.type == type_undefined)
    raise_undefined(m, value);
  if (value.type == type_text && !read_spelled(m, value, &number))
    return false;
  if (is_integral(number)) {
    *result = integer_of(number);
    return true;
  }
  if (number.type != type_real || !(number.real > -0x1p63 && number.real < 0x1p63))
    return false;
  *result = (int64_t)number.real;
  return true;
}

} // namespace chat
} // namespace kiln
