/* The ELF image of an artifact, checked. */
#ifndef KILN_LOADER_ELF_H
#define KILN_LOADER_ELF_H

#include "core/bytes.h"
#include "kiln/kiln.h"

namespace kiln {

constexpr uint16_t elf_machine_x86_64 = 62;
constexpr uint16_t elf_machine_aarch64 = 183;
constexpr uint32_t elf_max_segments = 32;
/* Far more than any model's kernels; keeps a hostile image from reserving the address space. */
constexpr uint64_t elf_max_span = 1u << 30;

struct elf_segment_t {
  uint64_t address; /* as in the file */
  uint64_t memory_size;
  byte_range_t bytes; /* the part that comes from the file */
  bool writable, executable;
};

struct elf_image_t {
  uint16_t machine;
  uint32_t segment_count;
  elf_segment_t segments[elf_max_segments]; /* ascending, not overlapping */
  uint64_t first_address, end_address;
  byte_range_t rela, relr; /* tables of relative relocations, every entry checked */
};

/* Whether this runtime knows the machine's relative relocations, and so can check an image of it.
 */
bool elf_machine_known(uint16_t machine);
const char *elf_machine_name(uint16_t machine);

/* Checks an image for the given machine. Every address in *image is inside its segments. */
kiln_status_t elf_parse(byte_range_t file, uint16_t machine, elf_image_t *image, kiln_error *error);

/* Whether `address` lies in the file part of an executable segment. */
bool elf_is_code(const elf_image_t &image, uint64_t address);

/* Calls visit(context, address, has_addend, addend) for each relative relocation: the 64-bit word
 * at `address` gets the load base plus the addend, or plus what it already holds. Stops when visit
 * returns false, and returns that. */
using elf_relocation_fn = bool (*)(void *context, uint64_t address, bool has_addend,
                                   uint64_t addend);
bool elf_for_each_relocation(const elf_image_t &image, elf_relocation_fn visit, void *context);

} // namespace kiln

#endif /* KILN_LOADER_ELF_H */
