// How many workers make sense: one per physical core, since two threads of one core share the units
// that matrix kernels saturate. Counts only CPUs this process may run on, and no more than its
// container grants time for.

#include "core/pool.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#if defined(__linux__)
#include <sched.h>
#elif defined(__APPLE__)
#include <sys/sysctl.h>
#endif

namespace kiln {

/* CPUs this process may run on, whatever time it is granted. */
static uint32_t allowed_cpus() {
#if defined(__linux__)
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof(allowed), &allowed) == 0)
    return (uint32_t)CPU_COUNT(&allowed);
#endif
  long online = sysconf(_SC_NPROCESSORS_ONLN);
  return online < 1 ? 1 : (uint32_t)online;
}

#if defined(__linux__)

/* One small number from /sys/devices/system/cpu/cpuN/topology/; -1 where there is none. */
static long read_topology(int cpu, const char *file) {
  char path[96], text[24];
  snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%d/topology/%s", cpu, file);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return -1;
  ssize_t length = read(fd, text, sizeof(text));
  close(fd);
  long value = 0;
  ssize_t i = 0;
  for (; i < length && text[i] >= '0' && text[i] <= '9' && value < (1 << 20); ++i)
    value = value * 10 + (text[i] - '0');
  return i == 0 ? -1 : value;
}

static uint32_t allowed_cores() {
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0)
    return allowed_cpus();
  uint64_t seen[CPU_SETSIZE]; // package and core of each core found
  uint32_t count = 0;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &allowed))
      continue;
    long core = read_topology(cpu, "core_id"), package = read_topology(cpu, "physical_package_id");
    if (core < 0) // no topology: every CPU is a core
      return allowed_cpus();
    uint64_t id = (uint64_t)(uint32_t)package << 32 | (uint32_t)core;
    bool known = false;
    for (uint32_t i = 0; i < count && !known; ++i)
      known = seen[i] == id;
    if (!known)
      seen[count++] = id;
  }
  return count == 0 ? 1 : count;
}

#else

static uint32_t allowed_cores() {
#if defined(__APPLE__)
  int cores = 0;
  size_t size = sizeof(cores);
  // Performance cores where the system knows of them, else all physical ones.
  static constexpr const char *keys[] = {"hw.perflevel0.physicalcpu", "hw.physicalcpu"};
  for (const char *key : keys)
    if (sysctlbyname(key, &cores, &size, nullptr, 0) == 0 && cores > 0)
      return (uint32_t)cores;
#endif
  return allowed_cpus();
}

#endif

static uint32_t granted(uint32_t count) {
#if defined(__linux__)
  return quota_cpus("/proc/self/cgroup", "/sys/fs/cgroup", count);
#else
  return count;
#endif
}

uint32_t topology_cpus() { return granted(allowed_cpus()); }
uint32_t topology_cores() { return granted(allowed_cores()); }

} // namespace kiln
