/* Writing the text of an error. */
#ifndef KILN_CORE_ERROR_H
#define KILN_CORE_ERROR_H

#include "kiln/kiln.h"

namespace kiln {

/* Formats into error->text when error is given, cutting what does not fit, and returns `status`, so
 * that a check reads `return fail(error, KILN_CORRUPT, "expected …, found …")`. */
kiln_status_t fail(kiln_error *error, kiln_status_t status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts the formatted place and ": " before the text that a callee has written; returns `status`. */
kiln_status_t fail_within(kiln_error *error, kiln_status_t status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

} // namespace kiln

#endif /* KILN_CORE_ERROR_H */
