// Maps a file read-only, so that opening a model costs the same whatever its weights weigh, its
// pages are shared between processes, and the system may drop them when memory is short. A range
// that is not wholly inside the file is refused here: reading such a mapping would be a bus error
// later.

#include "core/file.h"

#include "core/error.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace kiln {

kiln_status_t mapping_open_fd(int fd, uint64_t offset, uint64_t size, mapping_t *mapping,
                              kiln_error *error) {
  struct stat info;
  if (fstat(fd, &info) != 0)
    return fail(error, KILN_IO, "cannot be examined: %s", strerror(errno));
  if (!S_ISREG(info.st_mode))
    return fail(error, KILN_IO, "not a regular file");
  uint64_t file_size = (uint64_t)info.st_size;
  if (offset > file_size)
    return fail(error, KILN_TRUNCATED,
                "offset %" PRIu64 " is outside the file of %" PRIu64 " bytes", offset, file_size);
  if (size == 0)
    size = file_size - offset;
  if (!checked_range(offset, size, file_size))
    return fail(error, KILN_TRUNCATED,
                "offset %" PRIu64 " + size %" PRIu64 " is outside the file of %" PRIu64 " bytes",
                offset, size, file_size);
  uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
  if (!is_aligned(offset, page))
    return fail(error, KILN_INVALID_ARGUMENT,
                "offset %" PRIu64 " is not a multiple of the page size %" PRIu64, offset, page);
  if (size == 0) // mmap refuses an empty range; the container check names what is missing
    return *mapping = {{nullptr, 0}, false}, KILN_OK;
  if (size > SIZE_MAX || (uint64_t)(off_t)offset != offset)
    return fail(error, KILN_IO, "%" PRIu64 " bytes do not fit the address space", size);
  void *base = mmap(nullptr, (size_t)size, PROT_READ, MAP_SHARED, fd, (off_t)offset);
  if (base == MAP_FAILED) // some file systems have no shared mappings
    base = mmap(nullptr, (size_t)size, PROT_READ, MAP_PRIVATE, fd, (off_t)offset);
  if (base == MAP_FAILED)
    return fail(error, errno == ENOMEM ? KILN_OUT_OF_MEMORY : KILN_IO,
                "%" PRIu64 " bytes cannot be mapped: %s", size, strerror(errno));
  *mapping = {{static_cast<const uint8_t *>(base), size}, true};
  return KILN_OK;
}

kiln_status_t mapping_open_path(const char *path, mapping_t *mapping, kiln_error *error) {
  int fd;
  do
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  while (fd < 0 && errno == EINTR);
  if (fd < 0)
    return fail(error, KILN_IO, "cannot be opened: %s", strerror(errno));
  kiln_status_t status = mapping_open_fd(fd, 0, 0, mapping, error);
  close(fd);
  return status;
}

void mapping_close(mapping_t *mapping) {
  if (mapping->owned)
    munmap(const_cast<uint8_t *>(mapping->bytes.data), (size_t)mapping->bytes.size);
  *mapping = {};
}

} // namespace kiln
