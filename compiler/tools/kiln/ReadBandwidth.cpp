// How fast this machine reads memory: every thread sums its part of a large buffer, as one, two,
// four or eight interleaved sequential streams, again and again; the best pass counts. The sums are
// kept so that no read can be dropped. Weights are read again for every token, so what a cache
// keeps of the buffer may help here as it does there.
#include "compiler/tools/kiln/ReadBandwidth.h"
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <thread>
#include <vector>

using namespace kiln;
using Clock = std::chrono::steady_clock;

using Line = uint64_t __attribute__((vector_size(64)));

template <size_t streams>
static inline __attribute__((always_inline)) Line sumOf(const Line *lines, size_t count) {
  Line sums[streams] = {};
  size_t part = count / streams;
  for (size_t i = 0; i < part; ++i)
#pragma GCC unroll 8
    for (size_t s = 0; s < streams; ++s)
      sums[s] += lines[s * part + i];
  for (size_t s = 1; s < streams; ++s)
    sums[0] += sums[s];
  return sums[0];
}

static inline __attribute__((always_inline)) uint64_t sumStreams(const Line *lines, size_t count,
                                                                 size_t streams) {
  Line sum = streams == 1   ? sumOf<1>(lines, count)
             : streams == 2 ? sumOf<2>(lines, count)
             : streams == 4 ? sumOf<4>(lines, count)
                            : sumOf<8>(lines, count);
  uint64_t result = 0;
  for (int lane = 0; lane < 8; ++lane)
    result += sum[lane];
  return result;
}

static uint64_t sumNarrow(const Line *lines, size_t count, size_t streams) {
  return sumStreams(lines, count, streams);
}

#if defined(__x86_64__)
__attribute__((target("avx512f"))) static uint64_t sumWide(const Line *lines, size_t count,
                                                           size_t streams) {
  return sumStreams(lines, count, streams);
}
#endif

static uint64_t sum(const Line *lines, size_t count, size_t streams) {
#if defined(__x86_64__)
  static const bool wide = __builtin_cpu_supports("avx512f");
  if (wide)
    return sumWide(lines, count, streams);
#endif
  return sumNarrow(lines, count, streams);
}

namespace {
/// Threads that begin together, pass after pass.
class Team {
public:
  explicit Team(unsigned size) : size(size) {}

  void meet() {
    unsigned turn = turns.load();
    if (waiting.fetch_add(1) + 1 == size) {
      waiting.store(0);
      turns.store(turn + 1);
      return;
    }
    while (turns.load() == turn)
      std::this_thread::yield();
  }

private:
  const unsigned size;
  std::atomic<unsigned> waiting{0}, turns{0};
};
} // namespace

double kiln::measureReadBandwidth(unsigned threads, uint64_t bytes) {
  threads = std::max(1u, threads);
  bytes = std::clamp<uint64_t>(bytes, 64'000'000, 1'000'000'000);
  static std::vector<Line> buffer; // kept between rounds: filling it takes longer than reading it
  if (buffer.size() * sizeof(Line) < bytes)
    buffer.assign(bytes / sizeof(Line), Line{1, 2, 3, 4, 5, 6, 7, 8});
  const size_t count = bytes / sizeof(Line) / threads;
  constexpr size_t variants[] = {1, 2, 4, 8};
  // At least three passes of each kind, and enough of them to see a fast one.
  const int passes = int(std::clamp<uint64_t>(500'000'000 / bytes, 3, 8));
  Team team(threads);
  std::atomic<uint64_t> sink{0};
  double best = 0;
  auto work = [&](unsigned t) {
    for (int pass = 0; pass < passes; ++pass)
      for (size_t streams : variants) {
        team.meet();
        auto started = Clock::now();
        sink += sum(buffer.data() + t * count, count, streams);
        team.meet();
        double seconds = std::chrono::duration<double>(Clock::now() - started).count();
        if (t == 0)
          best = std::max(best, double(count) * sizeof(Line) * threads / seconds);
      }
  };
  std::vector<std::thread> workers;
  for (unsigned t = 1; t < threads; ++t)
    workers.emplace_back(work, t);
  work(0);
  for (std::thread &worker : workers)
    worker.join();
  return best;
}
