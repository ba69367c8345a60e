// Resident memory from Linux's /proc: the whole process, and a file's share by its mappings.
#include "compiler/tools/kiln/ResidentMemory.h"
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <unistd.h>

using namespace kiln;

uint64_t kiln::residentBytes() {
  std::ifstream statm("/proc/self/statm");
  uint64_t total = 0, resident = 0;
  statm >> total >> resident;
  return statm ? resident * uint64_t(sysconf(_SC_PAGESIZE)) : 0;
}

uint64_t kiln::residentBytesOfFile(const std::string &path) {
  char real[PATH_MAX];
  if (!realpath(path.c_str(), real))
    return 0;
  std::ifstream smaps("/proc/self/smaps");
  std::string line;
  bool inside = false;
  uint64_t sum = 0;
  // A mapping is a line "begin-end perms offset device inode   path" and then lines "Name: value".
  while (std::getline(smaps, line)) {
    unsigned long long value = 0;
    char begin[32], end[32];
    if (std::sscanf(line.c_str(), "%16[0-9a-f]-%16[0-9a-f] ", begin, end) == 2) {
      size_t at = line.find('/');
      inside = at != std::string::npos && line.substr(at) == real;
    } else if (inside && std::sscanf(line.c_str(), "Rss: %llu kB", &value) == 1) {
      sum += uint64_t(value) * 1024;
    }
  }
  return sum;
}
