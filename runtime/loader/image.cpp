// Maps a checked ELF image without dlopen, so that loading works from memory, on any system with
// mmap, and takes nothing from the file but code: reserve, copy, relocate, protect. Kernels keep no
// state, so the segments a linker marks writable (tables of addresses, which relocation has to
// write) are read-only by the time a kernel can see them.

#include "loader/image.h"

#include "core/error.h"

#include <errno.h>
#include <inttypes.h>
#include <sys/mman.h>
#include <unistd.h>

namespace kiln {

static bool relocate(void *context, uint64_t address, bool has_addend, uint64_t addend) {
  const image_t &image = *static_cast<const image_t *>(context);
  uint8_t *word = image.base + (address - image.first_address);
  uint64_t bias = (uint64_t)(uintptr_t)image.base - image.first_address;
  if (!has_addend)
    memcpy(&addend, word, sizeof(addend));
  uint64_t value = bias + addend;
  memcpy(word, &value, sizeof(value));
  return true;
}

static kiln_status_t protect(const elf_image_t &elf, const image_t &image, uint64_t page,
                             kiln_error *error) {
  if (mprotect(image.base, (size_t)image.size, PROT_READ) != 0)
    return fail(error, KILN_OUT_OF_MEMORY, "cannot be made read-only: %s", strerror(errno));
  for (uint32_t i = 0; i < elf.segment_count; ++i) {
    const elf_segment_t &segment = elf.segments[i];
    if (!segment.executable)
      continue;
    uint64_t begin = (segment.address - image.first_address) & ~(page - 1);
    uint64_t end = segment.address - image.first_address + segment.memory_size;
    uint8_t *code = image.base + begin;
    if (mprotect(code, (size_t)(end - begin), PROT_READ | PROT_EXEC) != 0)
      return fail(error, KILN_UNSUPPORTED_DEVICE, "cannot be made executable: %s", strerror(errno));
#ifndef __x86_64__
    __builtin___clear_cache(reinterpret_cast<char *>(code),
                            reinterpret_cast<char *>(image.base + end));
#endif
  }
  return KILN_OK;
}

kiln_status_t image_map(const elf_image_t &elf, image_t *image, kiln_error *error) {
  uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
  image->first_address = elf.first_address & ~(page - 1);
  if (!checked_align(elf.end_address - image->first_address, page, &image->size))
    return fail(error, KILN_CORRUPT, "the image is larger than the address space");
  // Pages of code hold nothing that relocation writes: a shared page would become executable.
  for (uint32_t i = 1; i < elf.segment_count; ++i) {
    const elf_segment_t &before = elf.segments[i - 1], &segment = elf.segments[i];
    uint64_t last = before.address + before.memory_size - 1;
    if (before.executable != segment.executable && last / page == segment.address / page)
      return fail(error, KILN_UNSUPPORTED_DEVICE,
                  "segments %u and %u share a page of %" PRIu64 " bytes, one of them is code",
                  i - 1, i, page);
  }
  void *base = mmap(nullptr, (size_t)image->size, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (base == MAP_FAILED)
    return fail(error, KILN_OUT_OF_MEMORY, "%" PRIu64 " bytes cannot be mapped: %s", image->size,
                strerror(errno));
  image->base = static_cast<uint8_t *>(base);
  for (uint32_t i = 0; i < elf.segment_count; ++i) {
    const elf_segment_t &segment = elf.segments[i];
    if (segment.bytes.size != 0)
      memcpy(image->base + (segment.address - image->first_address), segment.bytes.data,
             (size_t)segment.bytes.size);
  }
  elf_for_each_relocation(elf, relocate, image);
  kiln_status_t status = protect(elf, *image, page, error);
  if (status)
    image_unmap(image);
  return status;
}

void image_unmap(image_t *image) {
  if (image->base)
    munmap(image->base, (size_t)image->size);
  *image = {};
}

} // namespace kiln
