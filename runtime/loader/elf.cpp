// Reads the ELF64 shared object in a code section (System V ABI, generic part, and the RELR
// proposal that glibc and Android adopted). A kernel imports nothing, so only what such an image
// needs is understood: loadable segments and relative relocations. Everything else that would
// change how the image runs (imports, initializers, thread-local storage, symbolic relocations) is
// refused by name. Section headers and symbols are not read.

#include "loader/elf.h"

#include "core/error.h"

#include <inttypes.h>

namespace kiln {

namespace {

struct file_header_t {
  uint8_t ident[16];
  uint16_t type, machine;
  uint32_t version;
  uint64_t entry, program_offset, section_offset;
  uint32_t flags;
  uint16_t header_size, program_entry_size, program_count;
  uint16_t section_entry_size, section_count, section_names;
};
static_assert(sizeof(file_header_t) == 64, "as in the ELF specification");

struct program_header_t {
  uint32_t type, flags;
  uint64_t offset, address, physical, file_size, memory_size, alignment;
};
static_assert(sizeof(program_header_t) == 56, "as in the ELF specification");

struct dynamic_t {
  uint64_t tag, value;
};

struct rela_t {
  uint64_t offset, info, addend;
};

enum : uint32_t { pt_load = 1, pt_dynamic = 2, pt_interp = 3, pt_tls = 7 };
enum : uint32_t { pf_execute = 1, pf_write = 2 };

enum : uint64_t {
  dt_null = 0,
  dt_hash = 4,
  dt_strtab = 5,
  dt_symtab = 6,
  dt_rela = 7,
  dt_relasz = 8,
  dt_relaent = 9,
  dt_strsz = 10,
  dt_syment = 11,
  dt_soname = 14,
  dt_symbolic = 16,
  dt_debug = 21,
  dt_bind_now = 24,
  dt_flags = 30,
  dt_relrsz = 35,
  dt_relr = 36,
  dt_relrent = 37,
  dt_gnu_hash = 0x6ffffef5,
  dt_relacount = 0x6ffffff9,
  dt_flags_1 = 0x6ffffffb,
};

constexpr uint64_t flag_textrel = 4;

uint32_t relative_type(uint16_t machine) {
  return machine == elf_machine_aarch64 ? 1027 /* R_AARCH64_RELATIVE */
                                        : 8 /* R_X86_64_RELATIVE */;
}

kiln_status_t check_header(byte_range_t file, uint16_t machine, file_header_t *header,
                           kiln_error *error) {
  if (!file.read(0, header))
    return fail(error, KILN_CORRUPT, "expected an ELF header, found %" PRIu64 " bytes", file.size);
  const uint8_t ident[7] = {0x7f, 'E', 'L', 'F', 2 /* 64-bit */, 1 /* little-endian */, 1};
  if (memcmp(header->ident, ident, sizeof(ident)) != 0)
    return fail(error, KILN_CORRUPT, "not a 64-bit little-endian ELF image");
  if (header->type != 3)
    return fail(error, KILN_CORRUPT, "expected a shared object (ELF type 3), found type %u",
                header->type);
  if (header->machine != machine)
    return fail(error, KILN_CORRUPT, "expected ELF machine %u, found %u", machine, header->machine);
  if (header->program_entry_size != sizeof(program_header_t))
    return fail(error, KILN_CORRUPT, "expected program headers of %zu bytes, found %u",
                sizeof(program_header_t), header->program_entry_size);
  return KILN_OK;
}

kiln_status_t add_segment(byte_range_t file, const program_header_t &entry, elf_image_t *image,
                          kiln_error *error) {
  if (entry.memory_size == 0)
    return KILN_OK;
  uint32_t index = image->segment_count;
  if (index == elf_max_segments)
    return fail(error, KILN_CORRUPT, "expected at most %u segments", elf_max_segments);
  elf_segment_t &segment = image->segments[index];
  segment = {entry.address,
             entry.memory_size,
             {},
             (entry.flags & pf_write) != 0,
             (entry.flags & pf_execute) != 0};
  uint64_t end;
  if (!checked_add(entry.address, entry.memory_size, &end) || entry.file_size > entry.memory_size ||
      !file.slice(entry.offset, entry.file_size, &segment.bytes))
    return fail(error, KILN_CORRUPT, "segment %u lies outside the image", index);
  if (segment.writable && segment.executable)
    return fail(error, KILN_CORRUPT, "segment %u is both writable and executable", index);
  if (index == 0)
    image->first_address = entry.address;
  else if (entry.address < image->end_address)
    return fail(error, KILN_CORRUPT, "segment %u overlaps the one before it", index);
  image->end_address = end;
  if (image->end_address - image->first_address > elf_max_span)
    return fail(error, KILN_CORRUPT, "segment %u: the image spans more than %" PRIu64 " bytes",
                index, elf_max_span);
  ++image->segment_count;
  return KILN_OK;
}

/* The file bytes behind a range of addresses. */
bool find_bytes(const elf_image_t &image, uint64_t address, uint64_t size, byte_range_t *bytes) {
  for (uint32_t i = 0; i < image.segment_count; ++i) {
    const elf_segment_t &segment = image.segments[i];
    if (address >= segment.address && segment.bytes.slice(address - segment.address, size, bytes))
      return true;
  }
  return false;
}

kiln_status_t read_dynamic(byte_range_t dynamic, elf_image_t *image, kiln_error *error) {
  uint64_t rela = 0, rela_size = 0, relr = 0, relr_size = 0;
  dynamic_t entry;
  for (uint64_t at = 0; dynamic.read(at, &entry) && entry.tag != dt_null; at += sizeof(entry)) {
    switch (entry.tag) {
    case dt_rela:
      rela = entry.value;
      break;
    case dt_relasz:
      rela_size = entry.value;
      break;
    case dt_relr:
      relr = entry.value;
      break;
    case dt_relrsz:
      relr_size = entry.value;
      break;
    case dt_relaent:
      if (entry.value != sizeof(rela_t))
        return fail(error, KILN_CORRUPT, "expected relocations of %zu bytes, found %" PRIu64,
                    sizeof(rela_t), entry.value);
      break;
    case dt_relrent:
      if (entry.value != sizeof(uint64_t))
        return fail(error, KILN_CORRUPT, "expected packed relocations of 8 bytes, found %" PRIu64,
                    entry.value);
      break;
    case dt_flags:
      if (entry.value & flag_textrel)
        return fail(error, KILN_CORRUPT, "the image has relocations in its code");
      break;
    // Names and flags that do not change how the image runs.
    case dt_hash:
    case dt_gnu_hash:
    case dt_strtab:
    case dt_strsz:
    case dt_symtab:
    case dt_syment:
    case dt_soname:
    case dt_symbolic:
    case dt_debug:
    case dt_bind_now:
    case dt_relacount:
    case dt_flags_1:
      break;
    default:
      return fail(error, KILN_CORRUPT,
                  "dynamic tag 0x%" PRIx64 " is not allowed: an image holds relative relocations "
                  "and nothing else that needs a linker",
                  entry.tag);
    }
  }
  if (rela_size % sizeof(rela_t) != 0 ||
      (rela_size != 0 && !find_bytes(*image, rela, rela_size, &image->rela)))
    return fail(error, KILN_CORRUPT, "the relocation table lies outside the image");
  if (relr_size % sizeof(uint64_t) != 0 ||
      (relr_size != 0 && !find_bytes(*image, relr, relr_size, &image->relr)))
    return fail(error, KILN_CORRUPT, "the packed relocation table lies outside the image");
  return KILN_OK;
}

/* A relocated word lies in one segment, and not in code: code stays as it is in the file. */
bool check_relocation(void *context, uint64_t address, bool has_addend, uint64_t addend) {
  const elf_image_t &image = *static_cast<const elf_image_t *>(context);
  if (has_addend && (addend < image.first_address || addend > image.end_address))
    return false;
  for (uint32_t i = 0; i < image.segment_count; ++i) {
    const elf_segment_t &segment = image.segments[i];
    if (address >= segment.address &&
        checked_range(address - segment.address, sizeof(uint64_t), segment.memory_size))
      return !segment.executable;
  }
  return false;
}

} // namespace

bool elf_machine_known(uint16_t machine) {
  return machine == elf_machine_x86_64 || machine == elf_machine_aarch64;
}

const char *elf_machine_name(uint16_t machine) {
  switch (machine) {
  case elf_machine_x86_64:
    return "x86-64";
  case elf_machine_aarch64:
    return "aarch64";
  }
  return "another machine";
}

bool elf_is_code(const elf_image_t &image, uint64_t address) {
  for (uint32_t i = 0; i < image.segment_count; ++i) {
    const elf_segment_t &segment = image.segments[i];
    if (segment.executable && address >= segment.address &&
        address - segment.address < segment.bytes.size)
      return true;
  }
  return false;
}

bool elf_for_each_relocation(const elf_image_t &image, elf_relocation_fn visit, void *context) {
  rela_t entry;
  for (uint64_t at = 0; image.rela.read(at, &entry); at += sizeof(entry))
    if (!visit(context, entry.offset, true, entry.addend))
      return false;
  // RELR: an even word is an address; an odd word is a bitmap of the 63 words that follow.
  uint64_t word, next = 0;
  for (uint64_t at = 0; image.relr.read(at, &word); at += sizeof(word)) {
    if ((word & 1) == 0) {
      if (!visit(context, word, false, 0))
        return false;
      next = word + sizeof(word);
      continue;
    }
    for (uint64_t bit = 1; bit < 64; ++bit)
      if ((word >> bit) & 1)
        if (!visit(context, next + (bit - 1) * sizeof(word), false, 0))
          return false;
    next += 63 * sizeof(word);
  }
  return true;
}

kiln_status_t elf_parse(byte_range_t file, uint16_t machine, elf_image_t *image,
                        kiln_error *error) {
  *image = {};
  image->machine = machine;
  file_header_t header;
  if (kiln_status_t status = check_header(file, machine, &header, error))
    return status;

  byte_range_t table;
  if (!file.slice(header.program_offset, header.program_count * sizeof(program_header_t), &table))
    return fail(error, KILN_CORRUPT, "the %u program headers lie outside the image",
                header.program_count);
  program_header_t dynamic = {};
  for (uint32_t i = 0; i < header.program_count; ++i) {
    program_header_t entry;
    if (!table.read(i * sizeof(entry), &entry))
      return fail(error, KILN_CORRUPT, "program header %u lies outside the image", i);
    if (entry.type == pt_interp || entry.type == pt_tls)
      return fail(error, KILN_CORRUPT, "an image may not have %s",
                  entry.type == pt_tls ? "thread-local storage" : "an interpreter");
    if (entry.type == pt_dynamic)
      dynamic = entry;
    if (entry.type == pt_load)
      if (kiln_status_t status = add_segment(file, entry, image, error))
        return status;
  }
  if (image->segment_count == 0)
    return fail(error, KILN_CORRUPT, "the image has no loadable segment");

  if (dynamic.type == pt_dynamic) {
    byte_range_t bytes;
    if (!find_bytes(*image, dynamic.address, dynamic.file_size, &bytes))
      return fail(error, KILN_CORRUPT, "the dynamic table lies outside the image");
    if (kiln_status_t status = read_dynamic(bytes, image, error))
      return status;
  }
  rela_t entry;
  for (uint64_t at = 0; image->rela.read(at, &entry); at += sizeof(entry))
    if (entry.info != relative_type(machine)) // a relative relocation names no symbol
      return fail(error, KILN_CORRUPT, "relocation of type %" PRIu64 ": only relative is allowed",
                  entry.info & 0xffffffff);
  if (!elf_for_each_relocation(*image, check_relocation, image))
    return fail(error, KILN_CORRUPT, "a relocation points outside the image or into its code");
  return KILN_OK;
}

} // namespace kiln
