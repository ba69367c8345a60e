// Finds the artifact in the program's own file. The file may have been cut, patched or stripped
// since it was made, so its trailer is checked like any artifact's header: first its own checksum,
// then its ranges, then what they hold.

#include "launcher/embedded_artifact.h"

#include "core/error.h"
#include "kiln/artifact.h"
#include "kiln/executable.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace kiln {

static_assert(sizeof(kiln_executable_trailer) == 56, "the trailer's layout is part of the format");

static kiln_status_t check_trailer(byte_range_t executable, kiln_executable_trailer *trailer,
                                   kiln_error *error) {
  const char *expected = "expected the trailer of an executable with its model at the end of the "
                         "file (it may have been cut off, or taken off by strip)";
  if (executable.size < sizeof(*trailer) ||
      !executable.read(executable.size - sizeof(*trailer), trailer) ||
      memcmp(trailer->magic, KILN_EXECUTABLE_MAGIC, sizeof(trailer->magic)) != 0)
    return fail(error, KILN_TRUNCATED, "%s, found %" PRIu64 " bytes that end otherwise", expected,
                executable.size);
  uint64_t checksum = XXH64(trailer, offsetof(kiln_executable_trailer, trailer_checksum), 0);
  if (checksum != trailer->trailer_checksum)
    return fail(error, KILN_CORRUPT, "trailer: expected checksum %016" PRIx64 ", found %016" PRIx64,
                trailer->trailer_checksum, checksum);
  if (trailer->version != KILN_EXECUTABLE_VERSION || trailer->reserved != 0)
    return fail(error, KILN_UNSUPPORTED_VERSION, "trailer: expected version %d, found %" PRIu32,
                KILN_EXECUTABLE_VERSION, trailer->version);
  uint64_t end = executable.size - sizeof(*trailer);
  if (!checked_range(trailer->artifact_offset, trailer->artifact_size, end) ||
      trailer->artifact_offset + trailer->artifact_size != end)
    return fail(error, KILN_CORRUPT,
                "trailer: the artifact at offset %" PRIu64 " + size %" PRIu64
                " does not end where the trailer begins, at %" PRIu64,
                trailer->artifact_offset, trailer->artifact_size, end);
  if (!is_aligned(trailer->artifact_offset, KILN_EXECUTABLE_ALIGNMENT) ||
      trailer->artifact_offset > KILN_MAX_LAUNCHER_BYTES)
    return fail(error, KILN_CORRUPT,
                "trailer: expected the artifact at a multiple of %d up to %d, found %" PRIu64,
                KILN_EXECUTABLE_ALIGNMENT, KILN_MAX_LAUNCHER_BYTES, trailer->artifact_offset);
  return KILN_OK;
}

kiln_status_t embedded_artifact_find(byte_range_t executable, byte_range_t *artifact,
                                     kiln_error *error) {
  kiln_executable_trailer trailer;
  if (kiln_status_t status = check_trailer(executable, &trailer, error))
    return status;
  byte_range_t launcher;
  kiln_artifact_header header;
  if (!executable.slice(0, trailer.artifact_offset, &launcher) ||
      !executable.slice(trailer.artifact_offset, trailer.artifact_size, artifact) ||
      !artifact->read(0, &header))
    return fail(error, KILN_TRUNCATED, "trailer: an artifact of %" PRIu64 " bytes has no header",
                trailer.artifact_size);
  uint64_t checksum = XXH64(launcher.data, launcher.size, 0);
  if (checksum != trailer.launcher_checksum)
    return fail(error, KILN_CORRUPT,
                "launcher: expected checksum %016" PRIx64 ", found %016" PRIx64,
                trailer.launcher_checksum, checksum);
  if (header.table_checksum != trailer.table_checksum)
    return fail(error, KILN_CORRUPT,
                "artifact: expected a section table with checksum %016" PRIx64
                ", found %016" PRIx64,
                trailer.table_checksum, header.table_checksum);
  return KILN_OK;
}

kiln_status_t executable_map(byte_range_t *executable, const char **path, kiln_error *error) {
  // The system's link to the file; where /proc is not mounted, the path it was started by.
  const char *started = reinterpret_cast<const char *>(getauxval(AT_EXECFN));
  const char *places[] = {"/proc/self/exe", started ? started : ""};
  int fd = -1;
  for (const char *place : places)
    if (fd < 0) {
      *path = place;
      fd = open(place, O_RDONLY | O_CLOEXEC);
    }
  if (fd < 0)
    return fail(error, KILN_IO, "the program cannot open its own file: %s", strerror(errno));
  struct stat info;
  void *base = MAP_FAILED;
  if (fstat(fd, &info) == 0 && info.st_size > 0) {
    base = mmap(nullptr, (size_t)info.st_size, PROT_READ, MAP_SHARED, fd, 0);
    if (base == MAP_FAILED) // some file systems have no shared mappings
      base = mmap(nullptr, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
  }
  int reason = errno;
  close(fd);
  if (base == MAP_FAILED)
    return fail(error, KILN_IO, "the program cannot map its own file: %s", strerror(reason));
  *executable = {static_cast<const uint8_t *>(base), (uint64_t)info.st_size};
  return KILN_OK;
}

} // namespace kiln
