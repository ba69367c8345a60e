// Large buffers as reserved address space, which costs nothing until it is touched.

#include "llm/llm.h"

#include "core/error.h"

#include <sys/mman.h>

namespace kiln {

kiln_status_t reserve_memory(uint64_t size_bytes, const char *what, reserved_t *memory,
                             kiln_error *error) {
  uint64_t size = size_bytes ? size_bytes : 1;
  void *data = size > SIZE_MAX / 2 ? MAP_FAILED
                                   : mmap(nullptr, (size_t)size, PROT_READ | PROT_WRITE,
                                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (data == MAP_FAILED)
    return fail(error, KILN_OUT_OF_MEMORY, "%s: %llu bytes", what, (unsigned long long)size);
  *memory = {data, size};
  return KILN_OK;
}

void release_memory(reserved_t *memory) {
  if (memory->data)
    munmap(memory->data, (size_t)memory->size);
  *memory = {};
}

} // namespace kiln
