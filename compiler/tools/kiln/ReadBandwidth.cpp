// How fast this machine reads memory: every thread sums its part of a large buffer, as one, two,
// four or eight interleaved sequential streams. The sums are kept so that no read can be dropped.
#include "compiler/tools/kiln/ReadBandwidth.h"
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <thread>
#include <vector>

using namespace kiln;

using Line = uint64_t __attribute__((vector_size(64)));

static uint64_t sumStreams(const Line *lines, size_t count, size_t streams) {
  Line sums[8] = {};
  size_t part = count / streams;
  for (size_t i = 0; i < part; ++i)
    for (size_t s = 0; s < streams; ++s)
      sums[s] += lines[s * part + i];
  Line total = {};
  for (const Line &sum : sums)
    total += sum;
  uint64_t result = 0;
  for (int lane = 0; lane < 8; ++lane)
    result += total[lane];
  return result;
}

double kiln::measureReadBandwidth(unsigned threads, uint64_t bytes) {
  threads = std::max(1u, threads);
  bytes = std::clamp<uint64_t>(bytes, 64'000'000, 1'000'000'000);
  static std::vector<Line> buffer; // kept between rounds: filling it takes longer than reading it
  if (buffer.size() * sizeof(Line) < bytes)
    buffer.assign(bytes / sizeof(Line), Line{1, 2, 3, 4, 5, 6, 7, 8});
  size_t count = bytes / sizeof(Line) / threads;
  std::atomic<uint64_t> sink{0};
  double best = 0;
  for (size_t streams : {1, 2, 4, 8}) {
    auto started = std::chrono::steady_clock::now();
    std::vector<std::thread> workers;
    for (unsigned t = 0; t < threads; ++t)
      workers.emplace_back(
          [&, t] { sink += sumStreams(buffer.data() + t * count, count, streams); });
    for (std::thread &worker : workers)
      worker.join();
    double seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
    best = std::max(best, double(count) * sizeof(Line) * threads / seconds);
  }
  return best;
}
