// Finds dims, inputs and the output of a function by name; one of another form is refused with the
// reason.

#include "llm/function_finder.h"

#include "core/error.h"

#include <string.h>

namespace kiln {

static bool has_shape(const kiln_value_info &info, uint32_t rank, const int32_t *dims) {
  if (info.rank != rank)
    return false;
  for (uint32_t i = 0; i < rank; ++i)
    if (info.dim[i] != dims[i])
      return false;
  return true;
}

kiln_status_t function_finder_t::refuse(const char *what, const char *name) const {
  return fail(error, otherwise, "function '%s': %s '%s'", kiln_function_name(function), what, name);
}

kiln_status_t function_finder_t::find_dim(const char *name, uint32_t *index) const {
  for (size_t i = 0; i < kiln_function_dim_count(function); ++i) {
    kiln_dim_info info;
    if (kiln_function_dim(function, i, &info) == KILN_OK && strcmp(info.name, name) == 0) {
      *index = (uint32_t)i;
      return KILN_OK;
    }
  }
  return refuse("has no dim", name);
}

kiln_status_t function_finder_t::find_input(const char *name, uint32_t rank, uint32_t dim0,
                                            uint32_t dim1, uint32_t *index) const {
  int32_t dims[] = {(int32_t)dim0, (int32_t)dim1};
  for (size_t i = 0; i < kiln_function_input_count(function); ++i) {
    kiln_value_info info;
    if (kiln_function_input(function, i, &info) != KILN_OK || strcmp(info.name, name) != 0)
      continue;
    if (info.dtype != KILN_I32 || !has_shape(info, rank, dims))
      return refuse("unexpected type or shape of the input", name);
    *index = (uint32_t)i;
    return KILN_OK;
  }
  return refuse("has no input", name);
}

kiln_status_t function_finder_t::check_output(const char *name, uint32_t dim,
                                              uint32_t columns) const {
  kiln_value_info output;
  int32_t dims[] = {(int32_t)dim, -1};
  if (kiln_function_output(function, 0, &output) != KILN_OK || output.dtype != KILN_F32 ||
      strcmp(output.name, name) != 0 || !has_shape(output, 2, dims) ||
      output.extent[1] != (int64_t)columns)
    return refuse("unexpected type or shape of the output", name);
  return KILN_OK;
}

} // namespace kiln
