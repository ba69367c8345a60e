// Runs automata over text, as runtime/schema/tokenizer.fbs specifies them. Nearly all patterns need
// one look at each character. One with assertions has them answered for all places of the piece
// first; and one that went through much text in vain is told where its matches begin, so that no
// text makes it go through the rest of the piece from every place.

#include "llm/pattern_search.h"

#include <stdlib.h>
#include <string.h>

namespace kiln {
namespace {

/* A search that fails after more bytes wants to know where matches begin. */
constexpr uint32_t long_failure = 256;

constexpr uint8_t inside = 0xFF; /* no class: the byte begins no character */

/* Answers the first `count` assertions: a byte for each place, an assertion's bit in each. NULL
 * when memory is short. */
uint8_t *answer_assertions(const automaton_t &automaton, uint32_t count, const uint8_t *text,
                           uint32_t first, uint32_t end) {
  uint32_t size = end - first, length;
  uint8_t *places = static_cast<uint8_t *>(calloc((size_t)size + 1, 1));
  uint8_t *classes = static_cast<uint8_t *>(malloc((size_t)size + 1));
  if (!places || !classes) {
    free(places);
    free(classes);
    return nullptr;
  }
  memset(classes, inside, size);
  for (uint32_t at = 0; at < size; at += length)
    classes[at] = (uint8_t)automaton_class(automaton, text, first + at, end, &length);
  classes[size] = (uint8_t)automaton.class_count;
  for (uint32_t i = 0; i < count; ++i) {
    const assertion_t &assertion = automaton.assertions[i];
    uint32_t columns = (automaton.class_count + 1) << i, state = 1, known = (1u << i) - 1;
    auto answer = [&](uint32_t place, uint32_t code_class) {
      uint32_t transition =
          assertion.transitions[state * columns + (code_class << i | (places[place] & known))];
      places[place] |= (uint8_t)((transition >> 15) << i);
      state = transition & 0x7FFFu;
    };
    if (!assertion.backward) {
      for (uint32_t at = 0; at <= size; ++at)
        if (classes[at] != inside || at == size)
          answer(at, classes[at]);
      continue;
    }
    uint32_t place = size;
    for (uint32_t at = size; at > 0; --at)
      if (classes[at - 1] != inside) {
        answer(place, classes[at - 1]);
        place = at - 1;
      }
    answer(place, automaton.class_count);
  }
  free(classes);
  return places;
}

} // namespace

uint32_t automaton_match(const automaton_t &automaton, const uint8_t *text, uint32_t begin,
                         uint32_t end) {
  uint32_t reached;
  pattern_search_t search = {&automaton, text, begin, end, nullptr, nullptr};
  return search.match(begin, &reached);
}

uint32_t pattern_search_t::match(uint32_t at, uint32_t *reached) const {
  const automaton_t &pattern = *automaton;
  uint32_t columns = pattern.class_count + 1, shift = 0;
  if (places) {
    shift = pattern.assertion_count;
    columns <<= shift;
  }
  uint32_t matched = 0, here = at;
  const uint16_t *row = pattern.transitions + columns;
  while (true) {
    uint32_t length = 0, column = pattern.class_count;
    if (here < end)
      column = automaton_class(pattern, text, here, end, &length);
    if (places)
      column = column << shift | places[here - first];
    uint32_t transition = row[column];
    if (transition & 0x8000u)
      matched = here;
    uint32_t state = transition & 0x7FFFu;
    if (state == 0 || length == 0) {
      *reached = here;
      return matched;
    }
    row = pattern.transitions + state * columns;
    here += length;
  }
}

bool pattern_search_t::begin(const automaton_t &pattern, const uint8_t *of, uint32_t from,
                             uint32_t to) {
  *this = {&pattern, of, from, to, nullptr, nullptr};
  if (pattern.assertion_count == 0)
    return true;
  places = answer_assertions(pattern, pattern.assertion_count, text, first, end);
  return places != nullptr;
}

bool pattern_search_t::next(uint32_t *at, uint32_t *stop) {
  uint32_t length, reached, here = *at;
  *stop = 0;
  for (; here < end; here += length) {
    if (!starts || starts[here - first]) {
      *stop = match(here, &reached);
      if (*stop != 0)
        break;
      const automaton_t *mirror = automaton->starts;
      if (reached - here > long_failure && mirror && !starts) {
        uint32_t last = mirror->assertion_count;
        starts = answer_assertions(*mirror, last + 1, text, first, end);
        if (!starts)
          return false;
        for (uint32_t i = 0; i <= end - first; ++i)
          starts[i] = starts[i] >> last & 1;
      }
    }
    automaton_class(*automaton, text, here, end, &length);
  }
  *at = here;
  return true;
}

void pattern_search_t::release() {
  free(places);
  free(starts);
}

} // namespace kiln
