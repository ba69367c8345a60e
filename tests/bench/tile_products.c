// Which tiles suit prompts of weights with a scale per 32: bf16 or int8? One thread, everything in
// cache.
//
//   clang-22 -O3 -march=sapphirerapids tests/bench/tile_products.c -o /tmp/tile_products &&
//   /tmp/tile_products
//
// Both loops multiply 256 rows with two panels of 16 outputs, 2048 deep, as a kernel would: two by
// two tiles. bf16: weights carry their scales, so sums stay in tiles over the whole depth. The
// expansion of the weights, which 256 rows share, is left out. int8: an exact product of 32 depths,
// which is half of what a tile holds, must leave the tile to be scaled and added in f32 before the
// next begins.
#include <immintrin.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { rows = 256, depth = 2048, groups = depth / 32 };

typedef struct {
  uint8_t palette, start, reserved[14];
  uint16_t bytes[16];
  uint8_t lines[16];
} config_t;

static char *left, *right; // tiles [row tile][group][1024], [column tile][group][1024]
static float *rowScales, *columnScales, *results;

static void configure(int rowBytes, int columnLines) {
  config_t config;
  memset(&config, 0, sizeof config);
  config.palette = 1;
  for (int i = 0; i < 8; ++i) {
    config.bytes[i] = i == 4 || i == 5 ? (uint16_t)rowBytes : 64;
    config.lines[i] = i >= 6 ? (uint8_t)columnLines : 16;
  }
  _tile_loadconfig(&config);
}

static void multiplyBf16(void) {
  configure(64, 16);
  for (int pair = 0; pair < rows / 32; ++pair) {
    const char *a = left + (size_t)pair * 2 * groups * 1024, *b = right;
    _tile_zero(0), _tile_zero(1), _tile_zero(2), _tile_zero(3);
    for (int g = 0; g < groups; ++g, a += 1024, b += 1024) {
      _tile_loadd(6, b, 64), _tile_loadd(7, b + groups * 1024, 64);
      _tile_loadd(4, a, 64);
      _tile_dpbf16ps(0, 4, 6), _tile_dpbf16ps(1, 4, 7);
      _tile_loadd(5, a + groups * 1024, 64);
      _tile_dpbf16ps(2, 5, 6), _tile_dpbf16ps(3, 5, 7);
    }
    float *out = results + pair * 4 * 256;
    _tile_stored(0, out, 64), _tile_stored(1, out + 256, 64);
    _tile_stored(2, out + 512, 64), _tile_stored(3, out + 768, 64);
  }
  _tile_release();
}

/* The sums of a tile of rows and a column tile: 16 vectors, which stay in registers. */
static void addScaled(__m512 sums[16], const int32_t *products, const float *ofRows, int g,
                      int column) {
  __m512 scales = _mm512_load_ps(columnScales + (column * groups + g) * 16);
  for (int r = 0; r < 16; ++r) {
    __m512 product = _mm512_cvtepi32_ps(_mm512_load_si512(products + r * 16));
    __m512 scale = _mm512_mul_ps(scales, _mm512_set1_ps(ofRows[r * groups + g]));
    sums[r] = _mm512_fmadd_ps(product, scale, sums[r]);
  }
}

static void multiplyInt8(void) {
  static int32_t products[2][256] __attribute__((aligned(64)));
  configure(32, 8);
  for (int tile = 0; tile < rows / 16; ++tile)
    for (int column = 0; column < 2; ++column) {
      __m512 sums[16];
      for (int r = 0; r < 16; ++r)
        sums[r] = _mm512_setzero_ps();
      const float *ofRows = rowScales + tile * 16 * groups;
      for (int g = 0; g < groups; ++g) {
        _tile_zero(0);
        _tile_loadd(4, left + ((size_t)tile * groups + g) * 512, 32);
        _tile_loadd(6, right + ((size_t)column * groups + g) * 512, 64);
        _tile_dpbssd(0, 4, 6);
        _tile_stored(0, products[g & 1], 64);
        if (g > 0) // one behind, so that no product is waited for
          addScaled(sums, products[(g - 1) & 1], ofRows, g - 1, column);
      }
      addScaled(sums, products[(groups - 1) & 1], ofRows, groups - 1, column);
      for (int r = 0; r < 16; ++r)
        _mm512_store_ps(results + ((tile * 2 + column) * 16 + r) * 16, sums[r]);
    }
  _tile_release();
}

static double secondsOf(void (*multiply)(void)) {
  double best = 1e9;
  for (int repeat = 0; repeat < 200; ++repeat) {
    struct timespec from, to;
    clock_gettime(CLOCK_MONOTONIC, &from);
    multiply();
    clock_gettime(CLOCK_MONOTONIC, &to);
    double seconds = (double)(to.tv_sec - from.tv_sec) + 1e-9 * (double)(to.tv_nsec - from.tv_nsec);
    best = seconds < best ? seconds : best;
  }
  return best;
}

int main(void) {
  const long requestPermission = 0x1023, tileData = 18;
  if (syscall(SYS_arch_prctl, requestPermission, tileData)) {
    fprintf(stderr, "tile_products: the system grants no tiles\n");
    return 1;
  }
  left = aligned_alloc(64, (size_t)rows * depth * 2);
  right = aligned_alloc(64, (size_t)32 * depth * 2);
  rowScales = aligned_alloc(64, (size_t)rows * groups * 4);
  columnScales = aligned_alloc(64, (size_t)32 * groups * 4);
  results = aligned_alloc(64, (size_t)rows * 32 * 4);
  if (!left || !right || !rowScales || !columnScales || !results)
    return 1;
  memset(left, 0, (size_t)rows * depth * 2);
  memset(right, 0, (size_t)32 * depth * 2);
  memset(rowScales, 0, (size_t)rows * groups * 4);
  memset(columnScales, 0, (size_t)32 * groups * 4);
  double operations = 2.0 * rows * 32 * depth;
  printf("bf16 tiles, sums stay     %7.1f Gop/s\n", operations / secondsOf(multiplyBf16) * 1e-9);
  printf("int8 tiles, drained per 32 %6.1f Gop/s\n", operations / secondsOf(multiplyInt8) * 1e-9);
  return 0;
}
