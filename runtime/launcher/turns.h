/* What a person says next: a turn from stdin. */
#ifndef KILN_LAUNCHER_TURNS_H
#define KILN_LAUNCHER_TURNS_H

#include "core/array.h"
#include "kiln/llm.h"

namespace kiln {

struct turn_reader_t {
  bool terminal;
  char *line; /* of getline */
  size_t capacity;
};

/* From now on an interrupt (Ctrl-C) cancels what `llm` generates between answer_begin and
 * answer_end, and otherwise is noticed by turn_read. False, with errno, where that cannot be
 * arranged. */
bool interrupts_handle(kiln_llm_t *llm);
void answer_begin(void);
void answer_end(void);

/* Reads a turn: a line; lines joined while they end with a backslash; or all lines from one that
 * begins with three quotes to one that ends with them. `turn` is replaced. False at the end of
 * stdin, or when memory is short. */
bool turn_read(turn_reader_t *reader, array_t<char> *turn);

} // namespace kiln

#endif /* KILN_LAUNCHER_TURNS_H */
