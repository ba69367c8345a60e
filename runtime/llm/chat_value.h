/* What a chat template computes with: values, the memory they live in, and the operations that have
 * Python's meaning. Private to the chat template's evaluator.
 *
 * Everything that a rendering allocates hangs on one machine_t and goes when it ends. A failure
 * anywhere ends the rendering as a whole: `raise` writes the error and jumps out, so that
 * operations return their results and no function here owns anything. */
#ifndef KILN_LLM_CHAT_VALUE_H
#define KILN_LLM_CHAT_VALUE_H

#include "kiln/chat.h"

#include <setjmp.h>
#include <stdint.h>

#include "chat_generated.h"

namespace kiln {
namespace chat {

enum type_t : uint8_t {
  type_absent, /* an argument that was not given */
  type_undefined,
  type_none,
  type_boolean,
  type_integer,
  type_real,
  type_big, /* an integer beyond 64 bits: its spelling */
  type_text,
  type_list,
  type_tuple,
  type_range,
  type_view, /* keys, values or items of a dict */
  type_generator,
  type_dict,
  type_namespace,
  type_loop,
  type_macro,
  type_function, /* extra: ChatName */
  type_method    /* extra: ChatName */
};

struct entry_t;
struct generator_t;
struct namespace_t;
struct loop_t;
struct macro_t;

struct value_t {
  type_t type;
  bool safe;      /* text: marked as markup, so that + escapes what is added to it */
  uint16_t extra; /* undefined: undefined_as_t; tuple: 1 for a group; view: what of */
  uint32_t count; /* text: bytes; sequences and dicts: items */
  union {
    bool boolean;
    int64_t integer;
    double real;
    const char *text; /* UTF-8, not terminated; undefined: the name */
    const value_t *items;
    const entry_t *entries;
    generator_t *generator;
    namespace_t *space;
    loop_t *loop;
    macro_t *macro;
    const value_t *self; /* of a method */
  };
};

/* How an undefined value came about, for its error. */
enum undefined_as_t : uint16_t {
  undefined_variable,
  undefined_member,
  undefined_parameter,
  undefined_hint,  /* the text says it all */
  undefined_unsafe /* an attribute that would change its object */
};
enum { view_keys, view_values, view_items };

struct entry_t {
  value_t key, value;
};
/* Goes by once. */
struct generator_t {
  const value_t *items;
  uint32_t count;
};
struct namespace_t {
  entry_t *entries;
  uint32_t count, capacity;
};
struct loop_t {
  const value_t *items;
  uint32_t count;
  uint32_t next; /* index of the item that comes next */
  value_t *kept; /* those that pass the filter */
  uint32_t kept_count;
  bool changed_known;
  value_t changed; /* what loop.changed saw last */
};
struct frame_t {
  frame_t *outer;
  uint32_t function, slot_count;
  value_t *slots;
};
struct macro_t {
  uint32_t function;
  frame_t *frame; /* where it was made */
};

template <typename T> struct table_t {
  const T *data;
  uint32_t size;
  const T &operator[](uint32_t index) const { return data[index]; }
};

} // namespace chat
} // namespace kiln

/* An opened template: pointers into its section, checked. */
struct kiln_chat {
  kiln::chat::table_t<uint32_t> code;
  const uint16_t *lines;
  kiln::chat::table_t<kiln::schema::ChatFunction> functions;
  kiln::chat::table_t<uint32_t> parameters;
  kiln::chat::table_t<int64_t> integers;
  kiln::chat::table_t<double> reals;
  uint32_t text_count;
  const uint32_t *text_offsets;
  const char *text_bytes;
  const uint8_t *names;
  kiln::chat::table_t<uint32_t> variables;
};

namespace kiln {
namespace chat {

struct chunk_t;

/* One rendering. */
struct machine_t {
  const kiln_chat *program;
  const kiln_chat_options *options;
  jmp_buf escape;
  kiln_status_t status;
  kiln_error *error;
  uint32_t line; /* of the template, where it stands */

  uint64_t steps, max_steps;
  uint64_t memory_bytes, max_memory_bytes;
  chunk_t *chunks;
  char *free_begin, *free_end; /* of the newest chunk */
  struct {
    char *used_end, *end;
  } tails[4]; /* texts with room behind them, to be added to in place */
  uint32_t next_tail;

  char *output; /* what was written; captures are taken off its end */
  uint64_t output_bytes, output_capacity, max_output_bytes;

  value_t *stack;
  uint32_t stack_count;
  uint32_t depth; /* of calls and of values inside values */

  value_t variables; /* dict: of the call, then of the model */
};

constexpr uint32_t max_stack = 8192;
constexpr uint32_t max_depth = 160;
constexpr uint32_t max_value_depth = 64;

/* ---- chat_memory.cpp */

[[noreturn]] void raise(machine_t *m, kiln_status_t status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* KILN_CHAT_FAILED, with the line of the template. */
[[noreturn]] void raise_here(machine_t *m, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Counts what an operation handles. */
void work(machine_t *m, uint64_t bytes);
void *allocate(machine_t *m, uint64_t bytes);
value_t *allocate_values(machine_t *m, uint64_t count);
entry_t *allocate_entries(machine_t *m, uint64_t count);
void release(machine_t *m);

void put(machine_t *m, const char *text, uint64_t bytes);
void put_character(machine_t *m, char c);
void put_code_point(machine_t *m, uint32_t c);
/* What was put since `mark` (a value of output_bytes), as a text of its own. */
value_t take(machine_t *m, uint64_t mark);

/* Entering a call or a value inside a value, so that neither goes too deep for the stack. */
struct deeper_t {
  machine_t *m;
  deeper_t(machine_t *m, uint32_t limit);
  void leave() { --m->depth; }
};

/* ---- Making values */

inline value_t make(type_t type) {
  value_t value = {};
  value.type = type;
  return value;
}
inline value_t make_boolean(bool boolean) {
  value_t value = make(type_boolean);
  value.boolean = boolean;
  return value;
}
inline value_t make_integer(int64_t integer) {
  value_t value = make(type_integer);
  value.integer = integer;
  return value;
}
inline value_t make_real(double real) {
  value_t value = make(type_real);
  value.real = real;
  return value;
}
inline value_t make_text(const char *text, uint64_t bytes, bool safe = false) {
  value_t value = make(type_text);
  value.text = text;
  value.count = (uint32_t)bytes;
  value.safe = safe;
  return value;
}
inline value_t make_sequence(type_t type, const value_t *items, uint32_t count) {
  value_t value = make(type);
  value.items = items;
  value.count = count;
  return value;
}
value_t make_generator(machine_t *m, const value_t *items, uint32_t count);
inline value_t make_undefined(undefined_as_t as, value_t name) {
  value_t value = name;
  value.type = type_undefined;
  value.extra = as;
  return value;
}

/* ---- chat_value.cpp: what Python does with any value */

const char *type_name(const value_t &value);
bool is_number(const value_t &value); /* a boolean is one */
inline bool is_integral(const value_t &value) {
  return value.type == type_integer || value.type == type_boolean;
}
inline int64_t integer_of(const value_t &value) {
  return value.type == type_boolean ? value.boolean : value.integer;
}
double real_of(machine_t *m, const value_t &value);
[[noreturn]] void raise_undefined(machine_t *m, const value_t &value);
bool truth(const value_t &value);
bool equal(machine_t *m, const value_t &a, const value_t &b);
/* -1, 0, 1, or 2 where neither is less (NaN); raises where Python cannot order them. */
int order(machine_t *m, const value_t &a, const value_t &b);
bool contains(machine_t *m, const value_t &container, const value_t &item);
bool has_length(const value_t &value);
int64_t length(machine_t *m, const value_t &value);
/* The items that a loop would see; a generator is empty afterwards. */
table_t<value_t> iterate(machine_t *m, const value_t &value);
bool is_iterable(const value_t &value);
bool same_text(const value_t &a, const value_t &b);
const value_t *find_entry(machine_t *m, const value_t &dict, const value_t &key);
/* `name` is the text of an attribute, `id` its ChatName. */
value_t get_attribute(machine_t *m, const value_t &value, const value_t &name, uint8_t id);
value_t get_item(machine_t *m, const value_t &value, const value_t &key, uint8_t id);
value_t get_slice(machine_t *m, const value_t &value, const value_t &start, const value_t &stop,
                  const value_t &step);
value_t operate(machine_t *m, uint8_t op, const value_t &a, const value_t &b);
value_t negate(machine_t *m, const value_t &value);
value_t concatenate(machine_t *m, const value_t &a, const value_t &b);

/* ---- chat_text.cpp: texts, by code points */

bool is_space(uint32_t c);
bool is_line_end(uint32_t c);
uint32_t lower_of(uint32_t c);
uint32_t read_code_point(const char *at, const char *end, uint32_t *c);
int64_t code_points(machine_t *m, const value_t &text);
/* The place of code point `index`, at most the end. */
const char *place_of(const value_t &text, int64_t index);
/* Where `part` begins at or behind `from`, or NULL. */
const char *find_text(const value_t &text, const value_t &part, const char *from);
value_t lower(machine_t *m, const value_t &text);
value_t upper(machine_t *m, const value_t &text);
value_t capitalize(machine_t *m, const value_t &text);
/* Words begin behind what is no letter (Python), or behind the characters -({[< and space (Jinja).
 */
value_t title(machine_t *m, const value_t &text, bool as_filter);
bool is_cased(const value_t &text, bool as_upper);
enum { strip_left = 1, strip_right = 2 };
value_t strip(machine_t *m, const value_t &text, const value_t &characters, int sides);
value_t replace(machine_t *m, const value_t &text, const value_t &from, const value_t &to,
                int64_t count);
value_t split(machine_t *m, const value_t &text, const value_t &separator, int64_t count,
              bool from_right);
value_t split_lines(machine_t *m, const value_t &text, bool keep_ends);
/* str(value) and repr(value), put or made. */
void put_text(machine_t *m, const value_t &value);
void put_repr(machine_t *m, const value_t &value);
value_t to_text(machine_t *m, const value_t &value);
value_t escape(machine_t *m, const value_t &value);

/* ---- chat_number.cpp */

void put_integer(machine_t *m, int64_t value);
/* The shortest spelling that reads back as the same. */
void put_real(machine_t *m, double value, bool as_json);
/* Reads a decimal number from [begin, end) without regard to the locale: integers as integers (or
 * big), the rest as reals. False where it is not spelled as JSON or Python spell it. */
bool read_number(machine_t *m, const char *begin, const char *end, value_t *value);
double round_to(machine_t *m, double value, int64_t digits);
bool to_integer(machine_t *m, const value_t &value, int64_t base, int64_t *result);
bool to_real(machine_t *m, const value_t &value, double *result);

/* ---- chat_format.cpp */

/* text % arguments */
value_t format_percent(machine_t *m, const value_t &format, const value_t &arguments);
struct arguments_t {
  const value_t *values;
  uint32_t count;
  const value_t *keywords; /* name, value, name, value, … */
  uint32_t keyword_count;
};
/* text.format(…) */
value_t format_braces(machine_t *m, const value_t &format, const arguments_t &arguments);

/* ---- chat_json.cpp */

value_t read_json(machine_t *m, const char *text, uint64_t bytes);
value_t to_json(machine_t *m, const value_t &value, bool ascii, const value_t &indent,
                const value_t &separators, bool sort_keys);

/* ---- chat_call.cpp, chat_methods.cpp, chat_filters.cpp, chat_sequences.cpp, chat_tests.cpp */

value_t call_method(machine_t *m, const value_t &self, uint8_t name, const arguments_t &arguments);
value_t call_function(machine_t *m, uint8_t name, const arguments_t &arguments);
value_t apply_filter(machine_t *m, uint8_t filter, const value_t &value, const value_t *arguments,
                     uint32_t count);
/* Filters over sequences; absent where `filter` is none of them. */
value_t apply_sequence_filter(machine_t *m, uint8_t filter, const value_t &value,
                              const value_t *arguments, uint32_t count);
bool apply_test(machine_t *m, uint8_t test, const value_t &value, const value_t *arguments,
                uint32_t count);
/* item.a.0.b for the path "a.0.b" (or an integer); what is undefined on the way becomes `absent`,
 * unless that is absent or none itself. */
value_t get_path(machine_t *m, value_t item, const value_t &path,
                 const value_t &absent = make(type_absent));
/* An argument, or absent. */
inline value_t argument(const value_t *arguments, uint32_t count, uint32_t index) {
  return index < count ? arguments[index] : make(type_absent);
}
int64_t integer_argument(machine_t *m, const value_t &value, int64_t absent);
inline bool truth_argument(const value_t &value) {
  return value.type != type_absent && truth(value);
}
value_t text_argument(machine_t *m, const value_t &value, const char *absent);
void put_time(machine_t *m, const value_t &format);

/* ---- chat_run.cpp */

void run_template(machine_t *m);

} // namespace chat
} // namespace kiln

#endif /* KILN_LLM_CHAT_VALUE_H */
