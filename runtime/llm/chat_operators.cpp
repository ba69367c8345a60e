// Arithmetic and its kin on values: numbers as Python computes them, sums and repetitions of texts
// and lists. No mathematics library: what would need one is done with exact steps.

#include "llm/chat_value.h"

#include "core/checked.h"

#include <string.h>

namespace kiln {
namespace chat {

using schema::ChatOp;

[[noreturn]] static void raise_operands(machine_t *m, uint8_t op, const value_t &a,
                                        const value_t &b) {
  static const char *const signs[] = {"+", "-", "*", "/", "//", "%", "**"};
  if (a.type == type_undefined)
    raise_undefined(m, a);
  if (b.type == type_undefined)
    raise_undefined(m, b);
  raise_here(m, "unsupported operand type(s) for %s: '%s' and '%s'", signs[op - schema::ChatOp_add],
             type_name(a), type_name(b));
}

[[noreturn]] static void raise_overflow(machine_t *m) {
  raise_here(m, "an integer needs more than 64 bits");
}

/* The remainder of magnitudes, exact: a minus multiples of b by powers of two. */
static double remainder_of(double a, double b) {
  a = a < 0 ? -a : a;
  b = b < 0 ? -b : b;
  if (!(b < a * 2) || a - a != 0) // smaller already, or infinite
    return a < b ? a : a - a;
  double times = b;
  while (times <= a / 2)
    times *= 2;
  for (; times >= b; times /= 2)
    if (a >= times)
      a -= times;
  return a;
}

static value_t operate_reals(machine_t *m, uint8_t op, double a, double b) {
  switch (op) {
  case schema::ChatOp_add:
    return make_real(a + b);
  case schema::ChatOp_subtract:
    return make_real(a - b);
  case schema::ChatOp_multiply:
    return make_real(a * b);
  default:
    break;
  }
  if (op == schema::ChatOp_power)
    raise_here(m, "powers of floats are not supported");
  if (b == 0)
    raise_here(m, "division by zero");
  if (op == schema::ChatOp_divide)
    return make_real(a / b);
  // Python's divmod: the remainder has the sign of the divisor.
  double remainder = b - b != 0 && a - a == 0 ? (a < 0 ? -a : a) : remainder_of(a, b);
  if (a < 0)
    remainder = -remainder;
  double quotient = (a - remainder) / b;
  if (remainder != 0 && (remainder < 0) != (b < 0)) {
    remainder += b;
    quotient -= 1;
  }
  if (op == schema::ChatOp_modulo)
    return make_real(remainder == 0 ? (b < 0 ? -0.0 : 0.0) : remainder);
  if (quotient > -0x1p52 && quotient < 0x1p52) {
    int64_t whole = (int64_t)quotient;
    double floor = (double)(whole - ((double)whole > quotient));
    quotient = quotient - floor > 0.5 ? floor + 1 : floor;
  }
  return make_real(quotient);
}

static value_t power(machine_t *m, int64_t base, int64_t exponent) {
  if (exponent < 0)
    raise_here(m, "negative powers are not supported");
  int64_t result = 1;
  while (exponent > 0) {
    if ((exponent & 1) && !checked_mul(result, base, &result))
      raise_overflow(m);
    exponent >>= 1;
    if (exponent && !checked_mul(base, base, &base))
      raise_overflow(m);
  }
  return make_integer(result);
}

static value_t operate_integers(machine_t *m, uint8_t op, int64_t a, int64_t b) {
  int64_t result = 0;
  bool fits = true;
  switch (op) {
  case schema::ChatOp_add:
    fits = checked_add(a, b, &result);
    break;
  case schema::ChatOp_subtract:
    fits = !__builtin_sub_overflow(a, b, &result);
    break;
  case schema::ChatOp_multiply:
    fits = checked_mul(a, b, &result);
    break;
  case schema::ChatOp_power:
    return power(m, a, b);
  default:
    if (b == 0)
      raise_here(m, "division by zero");
    if (op == schema::ChatOp_divide)
      return make_real((double)a / (double)b);
    if (b == -1) {
      fits = op == schema::ChatOp_modulo || !__builtin_sub_overflow((int64_t)0, a, &result);
      break;
    }
    int64_t quotient = a / b, remainder = a % b;
    if (remainder != 0 && (remainder < 0) != (b < 0)) {
      remainder += b;
      --quotient;
    }
    result = op == schema::ChatOp_modulo ? remainder : quotient;
  }
  if (!fits)
    raise_overflow(m);
  return make_integer(result);
}

static value_t repeat(machine_t *m, const value_t &value, int64_t times) {
  if (times < 0)
    times = 0;
  if (value.type == type_text) {
    uint64_t mark = m->output_bytes;
    for (int64_t i = 0; i < times; ++i)
      put(m, value.text, value.count);
    value_t text = take(m, mark);
    text.safe = value.safe;
    return text;
  }
  uint64_t total;
  if (!checked_mul<uint64_t>(value.count, (uint64_t)times, &total))
    total = UINT64_MAX;
  value_t *items = allocate_values(m, total);
  for (uint64_t i = 0; i < total; ++i)
    items[i] = value.items[i % value.count];
  return make_sequence(value.type, items, (uint32_t)total);
}

static bool repeats(const value_t &value) {
  return value.type == type_text || value.type == type_list || value.type == type_tuple;
}

value_t operate(machine_t *m, uint8_t op, const value_t &a, const value_t &b) {
  if (is_number(a) && is_number(b)) {
    if (is_integral(a) && is_integral(b))
      return operate_integers(m, op, integer_of(a), integer_of(b));
    return operate_reals(m, op, real_of(m, a), real_of(m, b));
  }
  if (op == schema::ChatOp_modulo && a.type == type_text)
    return format_percent(m, a, b);
  if (op == schema::ChatOp_multiply) {
    if (repeats(a) && is_integral(b))
      return repeat(m, a, integer_of(b));
    if (is_integral(a) && repeats(b))
      return repeat(m, b, integer_of(a));
  }
  if (op != schema::ChatOp_add || a.type != b.type || !repeats(a))
    raise_operands(m, op, a, b);
  if (a.type == type_text) {
    // Markup escapes what is added to it.
    if (a.safe != b.safe)
      return a.safe ? concatenate(m, a, escape(m, b)) : concatenate(m, escape(m, a), b);
    return concatenate(m, a, b);
  }
  value_t *items = allocate_values(m, (uint64_t)a.count + b.count);
  if (a.count)
    memcpy(items, a.items, a.count * sizeof(value_t));
  if (b.count)
    memcpy(items + a.count, b.items, b.count * sizeof(value_t));
  return make_sequence(a.type, items, a.count + b.count);
}

value_t negate(machine_t *m, const value_t &value) {
  if (is_integral(value)) {
    int64_t result;
    if (__builtin_sub_overflow((int64_t)0, integer_of(value), &result))
      raise_overflow(m);
    return make_integer(result);
  }
  if (value.type == type_undefined)
    raise_undefined(m, value);
  if (value.type != type_real)
    raise_here(m, "bad operand type for unary -: '%s'", type_name(value));
  return make_real(-value.real);
}

} // namespace chat
} // namespace kiln
