// Progress of long work: a bar on a terminal, plain lines in a log, nothing when quiet.
#include "compiler/tools/kiln/Progress.h"
#include <cstdio>
#include <sys/resource.h>
#include <unistd.h>

using namespace kiln;
using std::chrono::duration;
using std::chrono::steady_clock;

Progress::Progress(bool quiet) : quiet(quiet), terminal(isatty(STDERR_FILENO)) {}

void Progress::update(const std::string &name, double share) {
  if (quiet)
    return;
  auto now = steady_clock::now();
  if (name != stage) {
    finish();
    stage = name;
    started = printed = now;
    done = share;
    if (terminal)
      line(false);
    return;
  }
  done = share;
  // A bar moves ten times a second; a log gets a line every five seconds.
  if (duration<double>(now - printed).count() < (terminal ? 0.1 : 5.0))
    return;
  printed = now;
  line(false);
}

void Progress::finish() {
  if (quiet || stage.empty())
    return;
  done = 1;
  line(true);
  stage.clear();
}

void Progress::abandon() {
  if (!quiet && terminal && !stage.empty())
    std::fprintf(stderr, "\n");
  stage.clear();
}

void Progress::line(bool complete) {
  double seconds = duration<double>(steady_clock::now() - started).count();
  std::string memory = formatBytes(peakResidentBytes());
  if (!terminal) {
    std::fprintf(stderr, "%-24s %3.0f %%  %6.1f s  peak %s\n", stage.c_str(), done * 100, seconds,
                 memory.c_str());
    return;
  }
  constexpr int width = 24;
  int filled = int(done * width);
  std::string bar = std::string(size_t(filled), '#') + std::string(size_t(width - filled), '.');
  std::fprintf(stderr, "\r\033[K%-24s [%s] %3.0f %%  %6.1f s  peak %s%s", stage.c_str(),
               bar.c_str(), done * 100, seconds, memory.c_str(), complete ? "\n" : "");
}

uint64_t kiln::peakResidentBytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return uint64_t(usage.ru_maxrss) * 1024;
}

std::string kiln::formatBytes(uint64_t bytes) {
  static const char *const units[] = {"B", "kB", "MB", "GB", "TB"};
  double value = double(bytes);
  size_t unit = 0;
  while (value >= 1000 && unit < 4) {
    value /= 1000;
    ++unit;
  }
  char text[32];
  std::snprintf(text, sizeof text, unit == 0 || value >= 100 ? "%.0f %s" : "%.1f %s", value,
                units[unit]);
  return text;
}
