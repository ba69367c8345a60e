/* The kernels of the test artifacts: freestanding C, linked like the compiler's output. */
#include "kiln/abi.h"

/* dims: n, m, p */
enum { N, M, P };

/* x[n], w[16], out[n] */
void scale(const kiln_kernel_args *args) {
  const float *x = args->buffers[0], *w = args->buffers[1];
  float *out = args->buffers[2];
  for (int64_t i = args->begin; i < args->end; ++i)
    out[i] = x[i] * w[i % 16];
}

/* x[n], out[n]: reads what other workers wrote, so it needs a barrier before it */
void reverse(const kiln_kernel_args *args) {
  const float *x = args->buffers[0];
  float *out = args->buffers[1];
  for (int64_t i = args->begin; i < args->end; ++i)
    out[i] = x[args->dims[N] - 1 - i];
}

/* x[n], indices[m], out[m] */
void gather(const kiln_kernel_args *args) {
  const float *x = args->buffers[0];
  const int32_t *indices = args->buffers[1];
  float *out = args->buffers[2];
  for (int64_t i = args->begin; i < args->end; ++i)
    out[i] = x[indices[i]];
}

/* Something that takes a while, and longer for some items than for others. */
static void dawdle(int64_t item, int64_t pace) {
  uint64_t mix = ((uint64_t)item + 1) * 0x9e3779b97f4a7c15u;
  for (uint64_t i = 0; i < (mix >> 40) % (uint64_t)(pace * pace + 1); ++i)
    __asm__ volatile("");
}

/* count[n], report[2]; dims: n, pace; counters: items done, sum of their numbers; scratch: 16
 * bytes. Counts each item. The range that finds all items done reports it, and what their numbers
 * sum up to. An item counts for 1000 where the worker's scratch is not what its last range left. */
void tally(const kiln_kernel_args *args) {
  int32_t *count = args->buffers[0], *report = args->buffers[1];
  int64_t *scratch = args->scratch, n = args->dims[0];
  int sound = args->begin < args->end && args->end <= n &&
              (args->range == 0 ||
               (scratch[0] == (int64_t)(intptr_t)count && scratch[1] == args->range - 1));
  scratch[0] = (int64_t)(intptr_t)count;
  scratch[1] = args->range;
  uint32_t sum = 0, done = (uint32_t)(args->end - args->begin);
  for (int64_t i = args->begin; i < args->end; ++i) {
    dawdle(i, args->dims[1]);
    count[i] += sound ? 1 : 1000;
    sum += (uint32_t)i;
  }
  __atomic_fetch_add(&args->counters[1], sum, __ATOMIC_RELAXED);
  if (__atomic_add_fetch(&args->counters[0], done, __ATOMIC_ACQ_REL) != (uint32_t)n)
    return;
  report[0] += 1;
  report[1] += (int32_t)args->counters[1];
  args->counters[0] = args->counters[1] = 0;
}

static const float ones[2] = {1, 1}, tens[2] = {10, 10};
/* Addresses in data: the linker makes relative relocations of them. */
static const float *const steps_by_parity[2] = {ones, tens};

/* state[n], x[n]: adds x and 1 or 10, by way of the worker's scratch */
void accumulate(const kiln_kernel_args *args) {
  float *state = args->buffers[0];
  const float *x = args->buffers[1];
  float *scratch = args->scratch;
  const float *const *table = steps_by_parity;
  __asm__("" : "+r"(table)); /* so that the compiler cannot see through the table */
  for (int64_t i = args->begin; i < args->end; ++i) {
    scratch[i % 16] = x[i] + table[i & 1][0];
    state[i] += scratch[i % 16];
  }
}

/* ---- For schedules with branches: the first dim is n ---- */

/* out[n]: adds 1 */
void bump(const kiln_kernel_args *args) {
  int32_t *out = args->buffers[0];
  for (int64_t i = args->begin; i < args->end; ++i)
    out[i] += 1;
}

/* count[1], limit[1], go[1]; 1 item: counts, and says whether to go on */
void tick(const kiln_kernel_args *args) {
  int64_t *count = args->buffers[0];
  const int64_t *limit = args->buffers[1];
  uint8_t *go = args->buffers[2];
  *count += 1;
  *go = *count < *limit;
}

/* x[n], count[1]; 1 item: how many elements are above 0 */
void count_positive(const kiln_kernel_args *args) {
  const float *x = args->buffers[0];
  int64_t *count = args->buffers[1];
  *count = 0;
  for (int64_t i = 0; i < args->dims[0]; ++i)
    *count += x[i] > 0;
}

/* x[n], out[n]; 1 item: those elements, in order */
void keep_positive(const kiln_kernel_args *args) {
  const float *x = args->buffers[0];
  float *out = args->buffers[1];
  for (int64_t i = 0, kept = 0; i < args->dims[0]; ++i)
    if (x[i] > 0)
      out[kept++] = x[i];
}

/* x[c], out[2c]: each element and its negative */
void mirror(const kiln_kernel_args *args) {
  const float *x = args->buffers[0];
  float *out = args->buffers[1];
  for (int64_t i = args->begin; i < args->end; ++i) {
    out[2 * i] = x[i];
    out[2 * i + 1] = -x[i];
  }
}
