// Upper and lower case as Python's str has them, from the tables of letter_case.inc. The one rule
// that looks at the neighbours, a sigma at the end of a word, is here.

#include "llm/chat_value.h"

#include "llm/utf8.h"

namespace kiln {
namespace chat {
namespace {

struct case_run_t {
  uint32_t first : 21, length : 9, step : 2;
  int32_t delta;
};
struct case_expansion_t {
  uint16_t from, to[3];
};

#include "llm/letter_case.inc"

template <size_t run_count> uint32_t map_simple(uint32_t c, const case_run_t (&runs)[run_count]) {
  uint32_t low = 0, high = run_count;
  while (low < high) { // the last run that begins at or before c
    uint32_t middle = (low + high) / 2;
    if (runs[middle].first <= c)
      low = middle + 1;
    else
      high = middle;
  }
  if (low == 0)
    return c;
  const case_run_t &run = runs[low - 1];
  uint32_t distance = c - run.first;
  return distance <= run.length && distance % run.step == 0 ? (uint32_t)((int32_t)c + run.delta)
                                                            : c;
}

uint32_t upper_of(uint32_t c) {
  if (c < 0x80)
    return c >= 'a' && c <= 'z' ? c - 32 : c;
  return map_simple(c, upper_runs);
}

template <size_t count>
const case_expansion_t *find_expansion(uint32_t c, const case_expansion_t (&expansions)[count]) {
  for (const case_expansion_t &expansion : expansions)
    if (expansion.from == c)
      return &expansion;
  return nullptr;
}

bool is_letter_with_case(uint32_t c) {
  return lower_of(c) != c || upper_of(c) != c || (c >= 0x80 && find_expansion(c, upper_expansions));
}

void put_cased(machine_t *m, uint32_t c, const case_expansion_t *expansion, uint32_t simple,
               const char *at, uint32_t bytes) {
  if (expansion) {
    for (uint32_t part : expansion->to)
      if (part)
        put_code_point(m, part);
  } else if (simple == c) {
    put(m, at, bytes);
  } else {
    put_code_point(m, simple);
  }
}

void put_upper(machine_t *m, uint32_t c, const char *at, uint32_t bytes) {
  put_cased(m, c, c < 0x80 ? nullptr : find_expansion(c, upper_expansions), upper_of(c), at, bytes);
}

/* A capital sigma ends a word where a letter stands before it and none behind it. */
bool is_final_sigma(const value_t &text, const char *at) {
  uint32_t c;
  bool letter = false;
  const char *end = text.text + text.count;
  for (const char *before = text.text; before < at;) {
    before += read_code_point(before, at, &c);
    if (c != '\'' && c != 0xAD && c != '.' && c != ':')
      letter = is_letter_with_case(c);
  }
  if (!letter)
    return false;
  for (at += 2; at < end;) {
    at += read_code_point(at, end, &c);
    if (c != '\'' && c != 0xAD && c != '.' && c != ':')
      return !is_letter_with_case(c);
  }
  return true;
}

void put_lower(machine_t *m, const value_t &text, uint32_t c, const char *at, uint32_t bytes) {
  if (c == 0x3A3) {
    work(m, text.count);
    put_code_point(m, is_final_sigma(text, at) ? 0x3C2 : 0x3C3);
  } else {
    put_cased(m, c, c < 0x80 ? nullptr : find_expansion(c, lower_expansions), lower_of(c), at,
              bytes);
  }
}

/* Calls f(code point, place, bytes) for each, and takes what they put. */
template <typename F> value_t each(machine_t *m, const value_t &text, F f) {
  uint64_t mark = m->output_bytes;
  for (const char *at = text.text, *end = at + text.count; at < end;) {
    uint32_t c, bytes = read_code_point(at, end, &c);
    f(c, at, bytes);
    at += bytes;
  }
  value_t result = take(m, mark);
  result.safe = text.safe;
  return result;
}

} // namespace

uint32_t lower_of(uint32_t c) {
  if (c < 0x80)
    return c >= 'A' && c <= 'Z' ? c + 32 : c;
  return map_simple(c, lower_runs);
}

value_t lower(machine_t *m, const value_t &text) {
  return each(m, text, [&](uint32_t c, const char *at, uint32_t bytes) {
    put_lower(m, text, c, at, bytes);
  });
}

value_t upper(machine_t *m, const value_t &text) {
  return each(m, text,
              [&](uint32_t c, const char *at, uint32_t bytes) { put_upper(m, c, at, bytes); });
}

value_t capitalize(machine_t *m, const value_t &text) {
  return each(m, text, [&](uint32_t c, const char *at, uint32_t bytes) {
    if (at == text.text)
      put_upper(m, c, at, bytes);
    else
      put_lower(m, text, c, at, bytes);
  });
}

value_t title(machine_t *m, const value_t &text, bool as_filter) {
  bool starts = true;
  return each(m, text, [&](uint32_t c, const char *at, uint32_t bytes) {
    bool between = as_filter
                       ? is_space(c) || c == '-' || c == '(' || c == '{' || c == '[' || c == '<'
                       : !is_letter_with_case(c);
    if (starts && !between)
      put_upper(m, c, at, bytes);
    else
      put_lower(m, text, c, at, bytes);
    starts = between;
  });
}

bool is_cased(const value_t &text, bool as_upper) {
  bool found = false;
  for (const char *at = text.text, *end = at + text.count; at < end;) {
    uint32_t c;
    at += read_code_point(at, end, &c);
    if (!is_letter_with_case(c))
      continue;
    if (as_upper ? lower_of(c) == c : lower_of(c) != c)
      return false;
    found = true;
  }
  return found;
}

} // namespace chat
} // namespace kiln
