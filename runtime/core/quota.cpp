// The CPU time that a container grants: Linux stops all threads of a group for the rest of a period
// (0.1 s) once they have used up the group's quota, so more busy threads than quota / period run
// for a while and then stand still together. Control groups v2 say "quota period" or "max period"
// in cpu.max, v1 in cpu.cfs_quota_us (-1: none) and cpu.cfs_period_us; the group's parents bind as
// well. What cannot be read or understood limits nothing.

#include "core/pool.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

namespace kiln {

static constexpr size_t path_size = 1024;

/* A file's first bytes as text; "" where there are none. */
static void read_text(const char *path, char *text, size_t size) {
  text[0] = 0;
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return;
  ssize_t length = read(fd, text, size - 1);
  close(fd);
  text[length < 0 ? 0 : length] = 0;
}

/* A number of at most 15 digits at `*text`, which is moved behind it; 0 where there is none. */
static uint64_t take_number(const char **text) {
  uint64_t value = 0;
  for (int digits = 0; **text >= '0' && **text <= '9' && digits < 15; ++*text, ++digits)
    value = value * 10 + (uint64_t)(**text - '0');
  return value;
}

/* quota / period in whole CPUs, rounded up; `most` where that is no limit. */
static uint32_t whole_cpus(uint64_t quota, uint64_t period, uint32_t most) {
  if (quota == 0 || period == 0)
    return most;
  uint64_t cpus = (quota + period - 1) / period;
  return cpus < most ? (uint32_t)cpus : most;
}

/* The limit of one group, whose folder is `folder`. */
static uint32_t group_limit(const char *folder, bool v2, uint32_t most) {
  char path[path_size + 32], text[64];
  snprintf(path, sizeof(path), "%s/%s", folder, v2 ? "cpu.max" : "cpu.cfs_quota_us");
  read_text(path, text, sizeof(text));
  const char *at = text;
  uint64_t quota = take_number(&at); // "max" and "-1" give 0
  if (!v2) {
    snprintf(path, sizeof(path), "%s/cpu.cfs_period_us", folder);
    read_text(path, text, sizeof(text));
    at = text;
  } else if (*at == ' ') {
    ++at;
  }
  return whole_cpus(quota, take_number(&at), most);
}

/* The least limit of the group `group` of a hierarchy and of those it lies in. Inside a container
 * the group's name may be one that only the host can see; then the hierarchy's root counts. */
static uint32_t hierarchy_limit(const char *root, const char *group, bool v2, uint32_t most) {
  char folder[path_size];
  size_t root_length = strlen(root);
  int length = snprintf(folder, sizeof(folder), "%s%s", root, group);
  if (length < 0 || (size_t)length >= sizeof(folder) || strstr(group, "/.."))
    folder[root_length] = 0;
  for (;;) {
    most = group_limit(folder, v2, most);
    char *slash = strrchr(folder, '/');
    if (strlen(folder) <= root_length || !slash || slash < folder + root_length)
      return most;
    *slash = 0;
  }
}

/* Whether the controllers of a line of /proc/self/cgroup hold `cpu`: "cpu,cpuacct". */
static bool names_cpu(const char *controllers) {
  for (const char *at = controllers; (at = strstr(at, "cpu")); at += 3)
    if ((at == controllers || at[-1] == ',') && (at[3] == 0 || at[3] == ','))
      return true;
  return false;
}

uint32_t quota_cpus(const char *membership, const char *mount, uint32_t most) {
  static constexpr const char *places[] = {"", "/unified", "/cpu", "/cpu,cpuacct"};
  char text[4096], root[path_size];
  read_text(membership, text, sizeof(text));
  // Lines of "number:controllers:/group"; v2 has number 0 and no controllers.
  for (char *line = text; *line != 0;) {
    char *end = strchr(line, '\n');
    char *next = end ? end + 1 : line + strlen(line);
    if (end)
      *end = 0;
    char *controllers = strchr(line, ':');
    char *group = controllers ? strchr(controllers + 1, ':') : nullptr;
    if (group) {
      *group++ = 0;
      bool v2 = strcmp(line, "0:") == 0;
      if (v2 || names_cpu(controllers + 1))
        for (const char *name : places) {
          bool v2_place = name[0] == 0 || name[1] == 'u';
          int length = snprintf(root, sizeof(root), "%s%s", mount, name);
          if (v2 == v2_place && length > 0 && (size_t)length < sizeof(root))
            most = hierarchy_limit(root, group, v2, most);
        }
    }
    line = next;
  }
  return most;
}

} // namespace kiln
