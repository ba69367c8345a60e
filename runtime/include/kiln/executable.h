/* An executable with its artifact inside: what `kiln compile --emit executable` writes.
 *
 *   [launcher: an ELF program] [zero bytes] [artifact: a whole .kiln file] [trailer]
 *
 * The launcher looks at the end of its own file. The artifact begins at a multiple of
 * KILN_EXECUTABLE_ALIGNMENT and is used in place, mapped. Integers are little-endian. Shared by the
 * compiler, which writes it, and the launcher, which checks it.
 */
#ifndef KILN_EXECUTABLE_H
#define KILN_EXECUTABLE_H

#include <stdint.h>

#define KILN_EXECUTABLE_MAGIC "KILNX\r\n\x1a" /* 8 bytes, the last ones of the file */
#define KILN_EXECUTABLE_VERSION 1
#define KILN_EXECUTABLE_ALIGNMENT 4096
#define KILN_MAX_LAUNCHER_BYTES (16 << 20)

typedef struct kiln_executable_trailer {
  uint64_t artifact_offset; /* from the start of the file */
  uint64_t artifact_size;   /* the trailer follows at once */
  /* XXH64, seed 0, of the bytes before the artifact. The artifact has checksums of its own. */
  uint64_t launcher_checksum;
  uint64_t table_checksum; /* the one in the artifact's header: this artifact and no other */
  uint32_t version;
  uint32_t reserved;         /* zero */
  uint64_t trailer_checksum; /* XXH64, seed 0, of the fields before */
  uint8_t magic[8];
} kiln_executable_trailer; /* 56 bytes */

#endif /* KILN_EXECUTABLE_H */
