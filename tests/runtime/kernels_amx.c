/* A kernel for matrix tiles: one item is a tile of 16 rows of the product of a[items * 16, 32] and
 * b[16, 32] (both bf16, b in pairs along the depth as tdpbf16ps wants it): out[items * 16, 16] in
 * f32. Linked like the compiler's output. */
#include "kiln/abi.h"

#include <immintrin.h>

void multiply(const kiln_kernel_args *args) {
  const char *a = args->buffers[0], *b = args->buffers[1];
  char *out = args->buffers[2];
  _Alignas(64) uint8_t config[64] = {1};
  for (int tile = 0; tile < 3; ++tile) {
    config[16 + 2 * tile] = 64; /* bytes of a row */
    config[48 + tile] = 16;     /* rows */
  }
  _tile_loadconfig(config);
  for (int64_t i = args->begin; i < args->end; ++i) {
    _tile_zero(0);
    _tile_loadd(1, a + i * 1024, 64);
    _tile_loadd(2, b, 64);
    _tile_dpbf16ps(0, 1, 2);
    _tile_stored(0, out + i * 1024, 64);
  }
  _tile_release();
}
