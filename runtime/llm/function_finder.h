/* The parts of a function by their names, as decoders and encoders are looked for in an artifact.
 */
#ifndef KILN_LLM_FUNCTION_FINDER_H
#define KILN_LLM_FUNCTION_FINDER_H

#include "kiln/kiln.h"

#include <stdint.h>

namespace kiln {

struct function_finder_t {
  const kiln_function_t *function;
  kiln_status_t otherwise; /* what a function of another form is refused with */
  kiln_error *error;

  /* "function 'decode': <what> '<name>'" */
  kiln_status_t refuse(const char *what, const char *name) const;
  kiln_status_t find_dim(const char *name, uint32_t *index) const;
  /* An i32 input whose extents are these dims; of rank 1 `dim1` does not count. */
  kiln_status_t find_input(const char *name, uint32_t rank, uint32_t dim0, uint32_t dim1,
                           uint32_t *index) const;
  /* That the function's one output is f32 [dim, columns]. */
  kiln_status_t check_output(const char *name, uint32_t dim, uint32_t columns) const;
};

} // namespace kiln

#endif /* KILN_LLM_FUNCTION_FINDER_H */
