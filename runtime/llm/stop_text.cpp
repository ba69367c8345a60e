// Stop strings. Tokens and stop strings do not begin at the same places: a string may be spelled by
// several tokens, and end within one. So text is looked at byte by byte: the first place where any
// of the strings begins ends the text, and a suffix that may still become one is held back.

#include "llm/stop_text.h"

#include "core/error.h"

#include <stdlib.h>
#include <string.h>

namespace kiln {

kiln_status_t stop_text_begin(stop_text_t *stop, const char *const *strings, size_t count,
                              size_t max_piece, kiln_error *error) {
  *stop = {strings, count, nullptr, 0, 0, 0};
  size_t longest = 0;
  if (count && !strings)
    return fail(error, KILN_INVALID_ARGUMENT, "stop_strings: expected %zu, found NULL", count);
  for (size_t i = 0; i < count; ++i) {
    size_t size = strings[i] ? strlen(strings[i]) : 0;
    if (size == 0)
      return fail(error, KILN_INVALID_ARGUMENT, "stop_strings: %zu is empty", i);
    longest = size > longest ? size : longest;
  }
  // Less than a whole string is held back when a piece comes.
  if (__builtin_add_overflow(longest + 1, max_piece, &stop->capacity))
    return fail(error, KILN_INVALID_ARGUMENT, "stop_strings: too long");
  stop->text = static_cast<char *>(malloc(stop->capacity));
  return stop->text ? KILN_OK
                    : fail(error, KILN_OUT_OF_MEMORY, "stop strings of %zu bytes", longest);
}

void stop_text_end(stop_text_t *stop) { free(stop->text); }

static void drop_released(stop_text_t *stop) {
  stop->size -= stop->released;
  memmove(stop->text, stop->text + stop->released, stop->size);
  stop->released = 0;
}

/* Releases what comes before the first stop string, or before what may become one where more text
 * follows. */
static ptrdiff_t scan(stop_text_t *stop, bool more) {
  for (size_t begin = 0; begin < stop->size; ++begin) {
    bool held = false;
    for (size_t i = 0; i < stop->string_count; ++i) {
      size_t length = strlen(stop->strings[i]), left = stop->size - begin;
      bool whole = length <= left;
      if ((!whole && !more) ||
          memcmp(stop->text + begin, stop->strings[i], whole ? length : left) != 0)
        continue;
      stop->released = begin;
      if (whole)
        return (ptrdiff_t)i;
      held = true;
    }
    if (held)
      return -1;
  }
  stop->released = stop->size;
  return -1;
}

ptrdiff_t stop_text_push(stop_text_t *stop, const char *piece, size_t size) {
  drop_released(stop);
  memcpy(stop->text + stop->size, piece, size);
  stop->size += size;
  return scan(stop, true);
}

ptrdiff_t stop_text_flush(stop_text_t *stop) {
  drop_released(stop);
  return scan(stop, false);
}

} // namespace kiln
