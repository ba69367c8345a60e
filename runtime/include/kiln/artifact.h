/* The container of a .kiln artifact: a header, a table of sections, sections.
 *
 * All integers are little-endian. Sections start at multiples of KILN_SECTION_ALIGNMENT (the
 * largest page of the devices we run on), do not overlap and lie in the order of the table; the
 * bytes between them are zero. Shared by the compiler, which writes it, and the loader, which
 * checks it.
 */
#ifndef KILN_ARTIFACT_H
#define KILN_ARTIFACT_H

#include <stdint.h>

#define KILN_ARTIFACT_MAGIC                                                                        \
  "KILN\r\n\x1a\n" /* 8 bytes; the line ends catch text-mode transfers                             \
                    */
#define KILN_ARTIFACT_VERSION 1
#define KILN_SECTION_ALIGNMENT 16384
#define KILN_WEIGHT_ALIGNMENT 64
#define KILN_MAX_SECTIONS 64

typedef enum kiln_section_kind {
  KILN_SECTION_PROGRAM = 1,   /* flatbuffer, runtime/schema/program.fbs; exactly one */
  KILN_SECTION_CODE = 2,      /* ELF image; one per Program.images */
  KILN_SECTION_WEIGHTS = 3,   /* packed weights; at most one */
  KILN_SECTION_TOKENIZER = 4, /* flatbuffer, runtime/schema/tokenizer.fbs; at most one */
  KILN_SECTION_CHAT = 5,      /* flatbuffer, runtime/schema/chat.fbs; at most one */
} kiln_section_kind;

typedef struct kiln_artifact_header {
  uint8_t magic[8];
  uint32_t version;
  uint32_t section_count;
  uint64_t total_size;     /* of the file, in bytes */
  uint64_t table_checksum; /* XXH64, seed 0, of the section table */
  uint8_t reserved[32];    /* zero */
} kiln_artifact_header;    /* 64 bytes; the section table follows at once */

typedef struct kiln_section {
  uint32_t kind; /* kiln_section_kind */
  uint32_t reserved;
  uint64_t offset; /* from the start of the file */
  uint64_t size;   /* without padding */
  /* XXH64, seed 0. Checked at open for all but weights, whose bytes cannot harm and are checked on
   * request (kiln_model_verify_weights), so that opening stays independent of the model's size. */
  uint64_t checksum;
} kiln_section; /* 32 bytes */

#endif /* KILN_ARTIFACT_H */
