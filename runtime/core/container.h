/* The container of an artifact, checked. */
#ifndef KILN_CORE_CONTAINER_H
#define KILN_CORE_CONTAINER_H

#include "core/bytes.h"
#include "kiln/artifact.h"
#include "kiln/kiln.h"

namespace kiln {

struct section_t {
  uint32_t kind;
  byte_range_t bytes;
  uint64_t checksum;
};

struct container_t {
  uint32_t section_count;
  section_t sections[KILN_MAX_SECTIONS];

  /* The first section of a kind, or NULL. Kinds of which there is at most one are checked so. */
  const section_t *find(uint32_t kind) const;
};

/* Checks header, section table, padding, and the checksums of all sections but weights. Reads no
 * byte of the weights. */
kiln_status_t container_parse(byte_range_t file, container_t *container, kiln_error *error);

/* Compares a section's bytes with its checksum. */
kiln_status_t section_verify(const section_t *section, uint32_t index, kiln_error *error);

} // namespace kiln

#endif /* KILN_CORE_CONTAINER_H */
