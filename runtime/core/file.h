/* Mapping a file, read-only. */
#ifndef KILN_CORE_FILE_H
#define KILN_CORE_FILE_H

#include "core/bytes.h"
#include "kiln/kiln.h"

namespace kiln {

struct mapping_t {
  byte_range_t bytes;
  bool owned; /* false: the caller's memory */
};

kiln_status_t mapping_open_path(const char *path, mapping_t *mapping, kiln_error *error);
/* size 0 means to the end of the file. */
kiln_status_t mapping_open_fd(int fd, uint64_t offset, uint64_t size, mapping_t *mapping,
                              kiln_error *error);
void mapping_close(mapping_t *mapping);

} // namespace kiln

#endif /* KILN_CORE_FILE_H */
