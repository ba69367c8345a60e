// Errors are values: a status for the program and a text for a person. This file writes the text
// into the caller's fixed buffer and holds the fixed text of each status, read from status.def.

#include "core/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

namespace kiln {

kiln_status_t fail(kiln_error *error, kiln_status_t status, const char *format, ...) {
  if (!error)
    return status;
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(error->text, sizeof(error->text), format, arguments);
  va_end(arguments);
  return status;
}

kiln_status_t fail_within(kiln_error *error, kiln_status_t status, const char *format, ...) {
  if (!error)
    return status;
  kiln_error inner = *error;
  va_list arguments;
  va_start(arguments, format);
  // A long place must leave room for what happened there.
  int written = vsnprintf(error->text, sizeof(error->text) / 2, format, arguments);
  va_end(arguments);
  size_t used = written < 0 ? 0 : strnlen(error->text, sizeof(error->text) / 2);
  snprintf(error->text + used, sizeof(error->text) - used, ": %s", inner.text);
  return status;
}

} // namespace kiln

const char *kiln_status_text(kiln_status_t status) {
  switch (status) {
#define KILN_STATUS(name, code, text)                                                              \
  case KILN_##name:                                                                                \
    return text;
#include "kiln/status.def"
#undef KILN_STATUS
  }
  return "unknown status";
}
