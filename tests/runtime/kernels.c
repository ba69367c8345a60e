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
