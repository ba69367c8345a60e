/* The contract between a compiled kernel and the runtime that calls it.
 *
 * A kernel is one function of type kiln_kernel_fn in the artifact's code image. It imports nothing,
 * calls nothing outside its image, allocates nothing and keeps no state between calls. Everything
 * it may touch is reachable from its one argument. The work of a launch is a line of items numbered
 * 0 .. items-1; workers call the same kernel at the same time with disjoint ranges [begin, end), in
 * any order, and a kernel does whatever is common to neighbouring items (normalising a block of
 * rows, say) once per range.
 *
 * Layout is fixed for KILN_ABI_VERSION; a field is only ever added at the end, with a new version.
 */
#ifndef KILN_ABI_H
#define KILN_ABI_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define KILN_ABI_VERSION 2

/* States, weights, scratch and the arena start at multiples of this many bytes, and so do the
 * offsets of bindings in every space. Inputs and outputs start where the caller's buffers do, at
 * multiples of their element size. */
#define KILN_BUFFER_ALIGNMENT 64

typedef struct kiln_kernel_args {
  /* Base addresses, one per binding of the launch, in the order of the kernel's parameters. */
  void *const *buffers;
  /* Values of the function's dims for this call, in the order of the function's dim table. */
  const int64_t *dims;
  /* This worker's own memory, KILN_BUFFER_ALIGNMENT-aligned; the launch declares its size. */
  void *scratch;
  /* The items this call computes: begin <= item < end. */
  int64_t begin;
  int64_t end;
  /* 0 for the first range of this launch that this worker computes, then 1, 2, ... Scratch keeps
   * its bytes between the ranges of a launch, so what was prepared for one may serve the next. */
  int64_t range;
  /* The launch's own words, common to all workers: as many as the kernel declares, zero when the
   * launch begins, and zero again when all its items are done (the kernel sees to that). NULL where
   * it declares none. For items that need to know whether they are the last of their kind. */
  uint32_t *counters;
} kiln_kernel_args;

typedef void (*kiln_kernel_fn)(const kiln_kernel_args *args);

#ifdef __cplusplus
}
#endif

#endif /* KILN_ABI_H */
