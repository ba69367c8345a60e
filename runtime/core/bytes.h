/* A checked range of bytes: the one way in which parsers look at a file. */
#ifndef KILN_CORE_BYTES_H
#define KILN_CORE_BYTES_H

#include "core/checked.h"

#include <stdint.h>
#include <string.h>

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "artifacts are read in place");

namespace kiln {

struct byte_range_t {
  const uint8_t *data;
  uint64_t size;

  /* The bytes [offset, offset + count), or false where they are not all inside. */
  [[nodiscard]] bool slice(uint64_t offset, uint64_t count, byte_range_t *result) const {
    if (!checked_range(offset, count, size))
      return false;
    *result = {data + offset, count};
    return true;
  }

  /* Copies a plain value out, whatever its alignment in the file. */
  template <typename T> [[nodiscard]] bool read(uint64_t offset, T *value) const {
    if (!checked_range(offset, sizeof(T), size))
      return false;
    memcpy(value, data + offset, sizeof(T));
    return true;
  }

  bool all_zero() const {
    for (uint64_t i = 0; i < size; ++i)
      if (data[i] != 0)
        return false;
    return true;
  }
};

} // namespace kiln

#endif /* KILN_CORE_BYTES_H */
