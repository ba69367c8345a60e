/* The matches of a pattern in a piece of text, from left to right. */
#ifndef KILN_LLM_PATTERN_SEARCH_H
#define KILN_LLM_PATTERN_SEARCH_H

#include "llm/tokenizer.h"

namespace kiln {

/* Use: begin, then next until it finds none, then release. `begin` and `next` return false when
 * memory is short. */
struct pattern_search_t {
  const automaton_t *automaton;
  const uint8_t *text;
  uint32_t first, end; /* the piece */
  uint8_t *places;     /* for each place of the piece what the assertions say, or NULL */
  uint8_t *starts;     /* for each place whether a match begins there, or NULL */

  [[nodiscard]] bool begin(const automaton_t &pattern, const uint8_t *of, uint32_t from,
                           uint32_t to);
  /* The first match that begins at *at or later: *at becomes its beginning, *stop its end; *stop is
   * 0 where there is none. */
  [[nodiscard]] bool next(uint32_t *at, uint32_t *stop);
  void release();

  /* The end of the match that begins at `at`, or 0, and how far was looked for it. */
  uint32_t match(uint32_t at, uint32_t *reached) const;
};

} // namespace kiln

#endif /* KILN_LLM_PATTERN_SEARCH_H */
