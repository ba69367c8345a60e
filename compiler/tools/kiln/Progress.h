// Progress of long work: a bar on a terminal, plain lines in a log, nothing when quiet.
#ifndef KILN_TOOLS_PROGRESS_H
#define KILN_TOOLS_PROGRESS_H

#include <chrono>
#include <cstdint>
#include <string>

namespace kiln {

class Progress {
public:
  /// Writes to stderr unless `quiet`.
  explicit Progress(bool quiet);
  ~Progress() { abandon(); }

  /// The share of `stage` that is done, 0..1. A new stage ends the one before.
  void update(const std::string &stage, double done);
  /// Ends the last stage as done.
  void finish();
  /// Ends the last stage where it is, because it failed.
  void abandon();

private:
  void line(bool complete);

  bool quiet, terminal;
  std::string stage;
  double done = 0;
  std::chrono::steady_clock::time_point started, printed;
};

/// The process's peak resident memory so far.
uint64_t peakResidentBytes();
/// "1.5 GB", in powers of 1000.
std::string formatBytes(uint64_t bytes);

} // namespace kiln

#endif
