/* out[i, :] = in[i, :] * weight[:] for rows of 64 floats. */
#include <kiln/abi.h>

void scale_rows(const kiln_kernel_args *args) {
  const float *in = args->buffers[0], *weight = args->buffers[1];
  float *out = args->buffers[2];
  for (int64_t row = args->begin; row < args->end; ++row)
    for (int64_t i = 0; i < 64; ++i)
      out[row * 64 + i] = in[row * 64 + i] * weight[i];
}
