/* Calls one kernel of an image under an emulator: reads buffers from a file, writes them back.
 *
 * usage: call_kernel IMAGE KERNEL CALL
 * CALL: u64 dims, i64 values; u64 items; u64 scratch bytes; u64 buffers, each u64 bytes and its
 * content. The buffers' content is replaced in place. The items are given to the kernel in two
 * ranges. */
#include "kiln/abi.h"
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

static void *aligned(size_t bytes) {
  void *memory = NULL;
  if (posix_memalign(&memory, 64, bytes + 64))
    exit(3);
  return memory;
}

static uint64_t number(FILE *file) {
  uint64_t value = 0;
  if (fread(&value, sizeof value, 1, file) != 1)
    exit(3);
  return value;
}

int main(int argc, char **argv) {
  if (argc != 4)
    return 2;
  void *library = dlopen(argv[1], RTLD_NOW);
  kiln_kernel_fn kernel = library ? (kiln_kernel_fn)dlsym(library, argv[2]) : NULL;
  FILE *file = fopen(argv[3], "r+b");
  if (!kernel || !file) {
    fprintf(stderr, "%s: %s\n", argv[1], dlerror());
    return 3;
  }
  uint64_t dim_count = number(file);
  int64_t *dims = aligned(dim_count * 8);
  for (uint64_t i = 0; i < dim_count; ++i)
    dims[i] = (int64_t)number(file);
  int64_t items = (int64_t)number(file);
  void *scratch = aligned(number(file));
  uint64_t count = number(file);
  void **buffers = aligned(count * sizeof(void *));
  uint64_t *sizes = aligned(count * 8);
  long *places = aligned(count * sizeof(long));
  for (uint64_t i = 0; i < count; ++i) {
    sizes[i] = number(file);
    places[i] = ftell(file);
    buffers[i] = aligned(sizes[i]);
    if (fread(buffers[i], 1, sizes[i], file) != sizes[i])
      return 3;
  }
  static uint32_t counters[4096];
  int64_t middle = (items + 1) / 2;
  kiln_kernel_args later = {buffers, dims, scratch, middle, items, 0, counters};
  kiln_kernel_args first = {buffers, dims, scratch, 0, middle, 1, counters};
  kernel(&later);
  kernel(&first);
  for (uint64_t i = 0; i < count; ++i)
    if (fseek(file, places[i], SEEK_SET) || fwrite(buffers[i], 1, sizes[i], file) != sizes[i])
      return 3;
  return fclose(file) ? 3 : 0;
}
