// Checks the container of an artifact (kiln/artifact.h): header, section table, the order of the
// sections, the zero bytes between them, checksums. Everything is hostile until this has passed;
// the time it takes does not depend on the size of the weights, because each gap is shorter than
// the alignment and the bytes of weights are not read.

#include "core/container.h"

#include "core/error.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <inttypes.h>

namespace kiln {

static_assert(sizeof(kiln_artifact_header) == 64, "the header's layout is part of the format");
static_assert(sizeof(kiln_section) == 32, "the section table's layout is part of the format");

static const char *kind_name(uint32_t kind) {
  switch (kind) {
  case KILN_SECTION_PROGRAM:
    return "program";
  case KILN_SECTION_CODE:
    return "code";
  case KILN_SECTION_WEIGHTS:
    return "weights";
  case KILN_SECTION_TOKENIZER:
    return "tokenizer";
  case KILN_SECTION_CHAT:
    return "chat";
  }
  return "unknown";
}

const section_t *container_t::find(uint32_t kind) const {
  for (uint32_t i = 0; i < section_count; ++i)
    if (sections[i].kind == kind)
      return &sections[i];
  return nullptr;
}

kiln_status_t section_verify(const section_t *section, uint32_t index, kiln_error *error) {
  uint64_t found = XXH64(section->bytes.data, section->bytes.size, 0);
  if (found == section->checksum)
    return KILN_OK;
  return fail(error, KILN_CORRUPT,
              "section %u (%s): expected checksum %016" PRIx64 ", found %016" PRIx64, index,
              kind_name(section->kind), section->checksum, found);
}

static kiln_status_t check_header(byte_range_t file, kiln_artifact_header *header,
                                  kiln_error *error) {
  const uint8_t magic[] = KILN_ARTIFACT_MAGIC;
  uint64_t magic_bytes = file.size < sizeof(header->magic) ? file.size : sizeof(header->magic);
  if (magic_bytes != 0 && memcmp(file.data, magic, magic_bytes) != 0)
    return fail(error, KILN_NOT_AN_ARTIFACT,
                "the file does not begin with the magic bytes of a .kiln artifact");
  if (!file.read(0, header))
    return fail(error, KILN_TRUNCATED,
                "expected a header of %zu bytes, found a file of %" PRIu64 " bytes",
                sizeof(*header), file.size);
  if (header->version != KILN_ARTIFACT_VERSION)
    return fail(error, KILN_UNSUPPORTED_VERSION, "expected artifact version %d, found %" PRIu32,
                KILN_ARTIFACT_VERSION, header->version);
  if (!byte_range_t{header->reserved, sizeof(header->reserved)}.all_zero())
    return fail(error, KILN_CORRUPT, "header: the reserved bytes are not zero");
  if (file.size < header->total_size)
    return fail(error, KILN_TRUNCATED,
                "expected %" PRIu64 " bytes, found a file of %" PRIu64 " bytes", header->total_size,
                file.size);
  if (file.size > header->total_size)
    return fail(error, KILN_CORRUPT,
                "expected %" PRIu64 " bytes, found a file of %" PRIu64 " bytes", header->total_size,
                file.size);
  if (header->section_count == 0 || header->section_count > KILN_MAX_SECTIONS)
    return fail(error, KILN_CORRUPT, "header: expected 1 to %d sections, found %" PRIu32,
                KILN_MAX_SECTIONS, header->section_count);
  return KILN_OK;
}

/* Checks that [*end, offset) is nothing but the padding to the next section, and moves *end behind
 * the section. */
static kiln_status_t check_place(byte_range_t file, const kiln_section &section, uint32_t index,
                                 uint64_t *end, byte_range_t *bytes, kiln_error *error) {
  const char *kind = kind_name(section.kind);
  if (!file.slice(section.offset, section.size, bytes))
    return fail(error, KILN_CORRUPT,
                "section %u (%s): offset %" PRIu64 " + size %" PRIu64
                " is outside the file of %" PRIu64 " bytes",
                index, kind, section.offset, section.size, file.size);
  if (!is_aligned(section.offset, KILN_SECTION_ALIGNMENT))
    return fail(error, KILN_CORRUPT, "section %u (%s): offset %" PRIu64 " is not a multiple of %d",
                index, kind, section.offset, KILN_SECTION_ALIGNMENT);
  uint64_t expected;
  if (!checked_align(*end, KILN_SECTION_ALIGNMENT, &expected) || section.offset != expected)
    return fail(error, KILN_CORRUPT,
                "section %u (%s): expected at offset %" PRIu64
                ", right behind what precedes it, found at %" PRIu64,
                index, kind, expected, section.offset);
  byte_range_t padding;
  if (!file.slice(*end, section.offset - *end, &padding) || !padding.all_zero())
    return fail(error, KILN_CORRUPT, "section %u (%s): the padding before it is not zero", index,
                kind);
  *end = section.offset + section.size;
  return KILN_OK;
}

kiln_status_t container_parse(byte_range_t file, container_t *container, kiln_error *error) {
  kiln_artifact_header header = {};
  if (kiln_status_t status = check_header(file, &header, error))
    return status;

  // The count is at most KILN_MAX_SECTIONS: the size of the table cannot overflow.
  byte_range_t table;
  if (!file.slice(sizeof(header), header.section_count * sizeof(kiln_section), &table))
    return fail(error, KILN_TRUNCATED, "the table of %" PRIu32 " sections is outside the file",
                header.section_count);
  uint64_t checksum = XXH64(table.data, table.size, 0);
  if (checksum != header.table_checksum)
    return fail(error, KILN_CORRUPT,
                "section table: expected checksum %016" PRIx64 ", found %016" PRIx64,
                header.table_checksum, checksum);

  container->section_count = header.section_count;
  uint64_t end = sizeof(header) + table.size;
  uint32_t kinds[KILN_SECTION_CHAT + 1] = {};
  for (uint32_t i = 0; i < header.section_count; ++i) {
    kiln_section entry;
    if (!table.read(i * sizeof(entry), &entry))
      return fail(error, KILN_TRUNCATED, "section %u is outside the table", i);
    if (entry.kind < KILN_SECTION_PROGRAM || entry.kind > KILN_SECTION_CHAT)
      return fail(error, KILN_CORRUPT, "section %u: unknown kind %" PRIu32, i, entry.kind);
    if (entry.reserved != 0)
      return fail(error, KILN_CORRUPT, "section %u: the reserved field is not zero", i);
    if (++kinds[entry.kind] > 1 && entry.kind != KILN_SECTION_CODE)
      return fail(error, KILN_CORRUPT, "section %u: a second %s section", i, kind_name(entry.kind));
    section_t &section = container->sections[i];
    section = {entry.kind, {}, entry.checksum};
    if (kiln_status_t status = check_place(file, entry, i, &end, &section.bytes, error))
      return status;
  }
  if (kinds[KILN_SECTION_PROGRAM] == 0)
    return fail(error, KILN_CORRUPT, "the artifact has no program section");

  // Behind the last section: nothing, or zero bytes up to the alignment.
  byte_range_t tail;
  if (!file.slice(end, file.size - end, &tail) || tail.size >= KILN_SECTION_ALIGNMENT ||
      !tail.all_zero())
    return fail(error, KILN_CORRUPT, "bytes that belong to no section follow the last one");

  for (uint32_t i = 0; i < container->section_count; ++i)
    if (container->sections[i].kind != KILN_SECTION_WEIGHTS)
      if (kiln_status_t status = section_verify(&container->sections[i], i, error))
        return status;
  return KILN_OK;
}

} // namespace kiln
