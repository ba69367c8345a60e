// The peak of the multipliers, measured: every thread repeats one instruction on independent
// accumulators until a millisecond count is reached; nothing is loaded. Only code in this file that
// the caller has asked for by feature is run, so that the program itself needs no more than its
// baseline.
#include "compiler/tools/kiln/PeakOperations.h"
#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>
#if defined(__x86_64__)
#include <immintrin.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#endif

using namespace kiln;

/// Hides a value from the optimizer without touching memory: sums that are known to be equal are
/// computed once.
#if defined(__x86_64__)
#define OPAQUE(value) __asm__ volatile("" : "+v"(value))
#elif defined(__aarch64__)
#define OPAQUE(value) __asm__ volatile("" : "+w"(value))
#else
#define OPAQUE(value) __asm__ volatile("" : "+m"(value))
#endif

// ---- Any machine ------------------------------------------------------------------------------

using Float4 = float __attribute__((vector_size(16)));

static double multiplyFloat4(long iterations) {
  constexpr int chains = 12;
  Float4 sums[chains] = {}, factor = {1, 1, 1, 1}, term = {1e-9f, 1e-9f, 1e-9f, 1e-9f};
  OPAQUE(factor); // or multiplying by a known 1 would be left out
  for (Float4 &sum : sums)
    OPAQUE(sum);
  for (long i = 0; i < iterations; ++i)
#pragma GCC unroll 12
    for (Float4 &sum : sums)
      sum = sum * factor + term;
  Float4 total = {};
  for (const Float4 &sum : sums)
    total += sum;
  volatile float sink = total[0];
  (void)sink;
  return double(iterations) * chains * 4 * 2;
}

#if defined(__x86_64__)

// ---- AVX2 -------------------------------------------------------------------------------------

__attribute__((target("avx2,fma"))) static double multiplyFloat8(long iterations) {
  constexpr int chains = 12;
  __m256 sums[chains] = {}, factor = _mm256_set1_ps(1), term = _mm256_set1_ps(1e-9f);
  OPAQUE(factor);
  for (__m256 &sum : sums)
    OPAQUE(sum);
  for (long i = 0; i < iterations; ++i)
#pragma GCC unroll 12
    for (__m256 &sum : sums)
      sum = _mm256_fmadd_ps(sum, factor, term);
  for (__m256 &sum : sums)
    OPAQUE(sum);
  return double(iterations) * chains * 8 * 2;
}

/// vpmaddubsw, vpmaddwd, vpaddd: the 8-bit dot product of machines without VNNI.
__attribute__((target("avx2"))) static double multiplyBytes32(long iterations) {
  constexpr int chains = 8;
  __m256i sums[chains] = {}, left = _mm256_set1_epi8(1), ones = _mm256_set1_epi16(1);
  for (__m256i &sum : sums)
    OPAQUE(sum);
  for (long i = 0; i < iterations; ++i)
#pragma GCC unroll 12
    for (__m256i &sum : sums) {
      OPAQUE(left); // or the products would be computed once
      sum = _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(left, left), ones));
    }
  for (__m256i &sum : sums)
    OPAQUE(sum);
  return double(iterations) * chains * 32 * 2;
}

/// The VEX form of vpdpbusd takes the same time with every operand, so the assembler's is used: the
/// intrinsic's name differs between compilers.
__attribute__((target("avx2"))) static double multiplyBytes32Vnni(long iterations) {
  constexpr int chains = 12;
  __m256i sums[chains] = {}, left = _mm256_set1_epi8(1), right = _mm256_set1_epi8(1);
  for (__m256i &sum : sums)
    OPAQUE(sum);
  for (long i = 0; i < iterations; ++i)
#pragma GCC unroll 12
    for (__m256i &sum : sums)
      __asm__ volatile("%{vex%} vpdpbusd %2, %1, %0" : "+x"(sum) : "x"(left), "x"(right));
  return double(iterations) * chains * 32 * 2;
}

// ---- AVX-512 ----------------------------------------------------------------------------------

__attribute__((target("avx512f"))) static double multiplyFloat16(long iterations) {
  constexpr int chains = 12;
  __m512 sums[chains] = {}, factor = _mm512_set1_ps(1), term = _mm512_set1_ps(1e-9f);
  OPAQUE(factor);
  for (__m512 &sum : sums)
    OPAQUE(sum);
  for (long i = 0; i < iterations; ++i)
#pragma GCC unroll 12
    for (__m512 &sum : sums)
      sum = _mm512_fmadd_ps(sum, factor, term);
  for (__m512 &sum : sums)
    OPAQUE(sum);
  return double(iterations) * chains * 16 * 2;
}

__attribute__((target("avx512f,avx512bw"))) static double multiplyBytes64(long iterations) {
  constexpr int chains = 8;
  __m512i sums[chains] = {}, left = _mm512_set1_epi8(1), ones = _mm512_set1_epi16(1);
  for (__m512i &sum : sums)
    OPAQUE(sum);
  for (long i = 0; i < iterations; ++i)
#pragma GCC unroll 12
    for (__m512i &sum : sums) {
      OPAQUE(left);
      sum = _mm512_add_epi32(sum, _mm512_madd_epi16(_mm512_maddubs_epi16(left, left), ones));
    }
  for (__m512i &sum : sums)
    OPAQUE(sum);
  return double(iterations) * chains * 64 * 2;
}

__attribute__((target("avx512f,avx512vnni"))) static double multiplyBytes64Vnni(long iterations) {
  constexpr int chains = 12;
  __m512i sums[chains] = {}, left = _mm512_set1_epi8(1), right = _mm512_set1_epi8(1);
  for (__m512i &sum : sums)
    OPAQUE(sum);
  for (long i = 0; i < iterations; ++i)
#pragma GCC unroll 12
    for (__m512i &sum : sums)
      sum = _mm512_dpbusd_epi32(sum, left, right);
  for (__m512i &sum : sums)
    OPAQUE(sum);
  return double(iterations) * chains * 64 * 2;
}

// ---- AMX --------------------------------------------------------------------------------------

#if defined(__linux__)

namespace {
/// What ldtilecfg reads: palette 1, eight tiles of 16 rows of 64 bytes.
struct alignas(64) TileConfig {
  uint8_t palette = 1, startRow = 0, reserved[14] = {};
  uint16_t rowBytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
} // namespace

/// Written in assembly: no type holds a tile, and GCC's _tile_loadconfig (12) tells the compiler of
/// the first eight bytes only. Tiles are used in pairs, as a kernel would: 4 sums, 2 by 2 operands.
#define TILE_LOOP(instruction)                                                                     \
  const TileConfig config;                                                                         \
  __asm__ volatile("ldtilecfg %0\n\ttilezero %%tmm0\n\ttilezero %%tmm1\n\ttilezero %%tmm2\n\t"     \
                   "tilezero %%tmm3\n\ttilezero %%tmm4\n\ttilezero %%tmm5\n\ttilezero %%tmm6\n\t"  \
                   "tilezero %%tmm7"                                                               \
                   :                                                                               \
                   : "m"(config));                                                                 \
  for (long i = 0; i < iterations; ++i)                                                            \
    __asm__ volatile(instruction " %tmm6, %tmm4, %tmm0\n\t" instruction                            \
                                 " %tmm7, %tmm4, %tmm1\n\t" instruction                            \
                                 " %tmm6, %tmm5, %tmm2\n\t" instruction " %tmm7, %tmm5, %tmm3");   \
  __asm__ volatile("tilerelease")

__attribute__((target("amx-tile,amx-bf16"))) static double multiplyTilesBf16(long iterations) {
  TILE_LOOP("tdpbf16ps");
  return double(iterations) * 4 * 16 * 16 * 32 * 2;
}

__attribute__((target("amx-tile,amx-int8"))) static double multiplyTilesInt8(long iterations) {
  TILE_LOOP("tdpbusd");
  return double(iterations) * 4 * 16 * 16 * 64 * 2;
}

/// Linux keeps tile state from processes that do not ask for it.
static bool askForTiles() {
  constexpr long requestPermission = 0x1023, tileData = 18;
  return syscall(SYS_arch_prctl, requestPermission, tileData) == 0;
}

#endif
#endif

static const PeakLoop loops[] = {
#if defined(__x86_64__)
#if defined(__linux__)
    // With a scale per 32 weights half the depth of an int8 tile is empty: prompts multiply bf16.
    {"amx bf16", "amx-bf16", false, multiplyTilesBf16},
    {"amx int8", "amx-int8", true, multiplyTilesInt8},
#endif
    {"avx512-vnni int8", "avx512vnni", true, multiplyBytes64Vnni},
    {"avx512 int8", "avx512bw", true, multiplyBytes64},
    {"avx-vnni int8", "avxvnni", true, multiplyBytes32Vnni},
    {"avx2 int8", "avx2", true, multiplyBytes32},
    {"avx512 f32", "avx512f", false, multiplyFloat16},
    {"avx2 f32", "fma", false, multiplyFloat8},
#endif
    {"f32", "", false, multiplyFloat4},
};

std::vector<PeakLoop> kiln::peakLoopsFor(const std::vector<std::string> &features, bool quantized) {
  std::vector<PeakLoop> chosen;
  for (const PeakLoop &loop : loops) {
    std::string feature = loop.feature;
    if (!feature.empty() && std::find(features.begin(), features.end(), feature) == features.end())
      continue;
    if (loop.integer && !quantized)
      continue;
#if defined(__x86_64__) && defined(__linux__)
    if (feature.rfind("amx-", 0) == 0 && !askForTiles())
      continue;
#endif
    chosen.push_back(loop);
  }
  return chosen;
}

double kiln::measurePeakOperations(const PeakLoop &loop, unsigned threads) {
  using Clock = std::chrono::steady_clock;
  auto secondsSince = [](Clock::time_point started) {
    return std::chrono::duration<double>(Clock::now() - started).count();
  };
  // As many iterations as take about two milliseconds.
  long iterations = 1000;
  for (double seconds = 0; iterations < (1L << 40); iterations *= 2) {
    auto started = Clock::now();
    loop.run(iterations);
    seconds = secondsSince(started);
    if (seconds > 2e-3)
      break;
  }
  threads = std::max(1u, threads);
  std::atomic<unsigned> ready{0};
  std::vector<double> rates(threads);
  auto work = [&](unsigned t) {
    ready.fetch_add(1);
    while (ready.load() < threads)
      std::this_thread::yield();
    for (int repeat = 0; repeat < 25;
         ++repeat) { // the best: interruptions are not the multiplier's
      auto started = Clock::now();
      double operations = loop.run(iterations);
      rates[t] = std::max(rates[t], operations / secondsSince(started));
    }
  };
  std::vector<std::thread> workers;
  for (unsigned t = 1; t < threads; ++t)
    workers.emplace_back(work, t);
  work(0);
  for (std::thread &worker : workers)
    worker.join();
  double sum = 0;
  for (double rate : rates)
    sum += rate;
  return sum;
}
