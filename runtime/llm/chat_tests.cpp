// Jinja's tests: what stands behind `is`.

#include "llm/chat_value.h"

namespace kiln {
namespace chat {

using namespace schema;

static bool is_divisible(machine_t *m, const value_t &value, int64_t by, int64_t rest) {
  value_t remainder = operate(m, ChatOp_modulo, value, make_integer(by));
  return equal(m, remainder, make_integer(rest));
}

static bool is_same_object(const value_t &a, const value_t &b) {
  if (a.type != b.type)
    return false;
  switch (a.type) {
  case type_none:
    return true;
  case type_boolean:
    return a.boolean == b.boolean;
  case type_integer:
    return a.integer == b.integer;
  case type_text:
    return same_text(a, b);
  default:
    return a.items == b.items && a.count == b.count;
  }
}

bool apply_test(machine_t *m, uint8_t test, const value_t &value, const value_t *arguments,
                uint32_t count) {
  if (test >= ChatTest_t_sameas && count == 0)
    raise_here(m, "a test has no argument");
  const value_t other = argument(arguments, count, 0);
  switch (test) {
  case ChatTest_t_defined:
    return value.type != type_undefined;
  case ChatTest_t_undefined:
    return value.type == type_undefined;
  case ChatTest_t_none:
    return value.type == type_none;
  case ChatTest_t_boolean:
    return value.type == type_boolean;
  case ChatTest_t_true:
    return value.type == type_boolean && value.boolean;
  case ChatTest_t_false:
    return value.type == type_boolean && !value.boolean;
  case ChatTest_t_integer:
    return value.type == type_integer || value.type == type_big;
  case ChatTest_t_float:
    return value.type == type_real;
  case ChatTest_t_number:
    return is_number(value);
  case ChatTest_t_string:
    return value.type == type_text;
  case ChatTest_t_mapping:
    return value.type == type_dict;
  case ChatTest_t_sequence:
    return has_length(value) && value.type != type_view && value.type != type_loop;
  case ChatTest_t_iterable:
    return is_iterable(value) || value.type == type_loop;
  case ChatTest_t_callable:
    return value.type == type_macro || value.type == type_function || value.type == type_method ||
           value.type == type_undefined;
  case ChatTest_t_escaped:
    return value.type == type_text && value.safe;
  case ChatTest_t_odd:
    return is_divisible(m, value, 2, 1);
  case ChatTest_t_even:
    return is_divisible(m, value, 2, 0);
  case ChatTest_t_divisibleby:
    return is_divisible(m, value, integer_argument(m, other, 0), 0);
  case ChatTest_t_lower:
  case ChatTest_t_upper:
    return is_cased(to_text(m, value), test == ChatTest_t_upper);
  case ChatTest_t_sameas:
    return is_same_object(value, other);
  case ChatTest_t_in:
    return contains(m, other, value);
  case ChatTest_t_equal:
    return equal(m, value, other);
  case ChatTest_t_not_equal:
    return !equal(m, value, other);
  default:
    break;
  }
  int sign = order(m, value, other);
  switch (test) {
  case ChatTest_t_less:
    return sign == -1;
  case ChatTest_t_less_equal:
    return sign == -1 || sign == 0;
  case ChatTest_t_greater:
    return sign == 1;
  default:
    return sign == 1 || sign == 0;
  }
}

} // namespace chat
} // namespace kiln
