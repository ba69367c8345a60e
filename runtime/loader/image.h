/* A code image in memory, ready to run. */
#ifndef KILN_LOADER_IMAGE_H
#define KILN_LOADER_IMAGE_H

#include "kiln/abi.h"
#include "loader/elf.h"

namespace kiln {

struct image_t {
  uint8_t *base; /* of the mapping; NULL when not mapped */
  uint64_t size;
  uint64_t first_address; /* the image's address of `base` */
};

/* Copies the segments, applies the relocations, then takes the right to write from all pages: code
 * becomes executable, the rest readable. No page is ever writable and executable. */
kiln_status_t image_map(const elf_image_t &elf, image_t *image, kiln_error *error);
void image_unmap(image_t *image);

/* The function at a checked address of the image. */
inline kiln_kernel_fn image_kernel(const image_t &image, uint64_t address) {
  return reinterpret_cast<kiln_kernel_fn>(
      reinterpret_cast<uintptr_t>(image.base + (address - image.first_address)));
}

} // namespace kiln

#endif /* KILN_LOADER_IMAGE_H */
