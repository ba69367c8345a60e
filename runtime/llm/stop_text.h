/* Text on its way to the caller, held back while it may be the beginning of a stop string. */
#ifndef KILN_LLM_STOP_TEXT_H
#define KILN_LLM_STOP_TEXT_H

#include "kiln/kiln.h"

#include <stddef.h>

namespace kiln {

struct stop_text_t {
  const char *const *strings;
  size_t string_count;
  char *text; /* held back, then what was pushed last, then room for one byte */
  size_t size, capacity;
  size_t released; /* of `text`, by the last push: belongs to the caller until the next one */
};

/* Takes memory for the stop strings and pieces of up to max_piece bytes. */
kiln_status_t stop_text_begin(stop_text_t *stop, const char *const *strings, size_t count,
                              size_t max_piece, kiln_error *error);
void stop_text_end(stop_text_t *stop);

/* Takes a piece of text. text[0 .. released) may go to the caller; it ends before a stop string,
 * whose index is returned, or -1. */
ptrdiff_t stop_text_push(stop_text_t *stop, const char *piece, size_t size);
/* The same at the end of the text: nothing more can become a stop string. */
ptrdiff_t stop_text_flush(stop_text_t *stop);

} // namespace kiln

#endif /* KILN_LLM_STOP_TEXT_H */
