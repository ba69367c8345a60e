// Finds out what the CPU can do, by feature bits and never by its name: virtual machines lie about
// names. On x86 an extension with new registers counts only when the operating system saves them
// (XCR0), and AMX only when Linux lets this process use it. On AArch64 the kernel reports features;
// registers that describe them are not readable there.

#include "loader/features.h"

#include "kiln/kiln.h"
#include "loader/elf.h"

#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#elif defined(__aarch64__) && defined(__APPLE__)
#include <sys/sysctl.h>
#elif !defined(__aarch64__)
#error "no loader for this machine"
#endif

namespace kiln {

static constexpr const char *names[] = {
#define FEATURE(name, ...) name,
#if defined(__x86_64__)
#include "loader/features_x86_64.def"
#else
#include "loader/features_aarch64.def"
#endif
#undef FEATURE
};
static_assert(sizeof(names) / sizeof(names[0]) <= 128, "feature_set_t holds 128 bits");

size_t feature_count() { return sizeof(names) / sizeof(names[0]); }
const char *feature_name(size_t index) { return names[index]; }

static void add(feature_set_t *set, size_t i) { set->bits[i / 64] |= (uint64_t)1 << (i % 64); }

#if defined(__x86_64__)

uint16_t host_machine() { return elf_machine_x86_64; }

#if defined(__linux__)
/* arch_prctl(2): which register states may be asked for, and asking for one. */
static constexpr long arch_get_xcomp_supp = 0x1021, arch_req_xcomp_perm = 0x1023;
static constexpr long tile_data = 18;
#endif

static bool system_grants_tiles() {
#if defined(__linux__)
  uint64_t supported = 0;
  return syscall(SYS_arch_prctl, arch_get_xcomp_supp, &supported) == 0 &&
         ((supported >> tile_data) & 1) != 0;
#else
  return false;
#endif
}

bool feature_enable(const char *name) {
#if defined(__linux__)
  if (strncmp(name, "amx-", 4) == 0)
    return syscall(SYS_arch_prctl, arch_req_xcomp_perm, tile_data) == 0;
#endif
  (void)name;
  return true;
}

struct registers_t {
  uint32_t eax, ebx, ecx, edx;
};

static registers_t cpuid(uint32_t leaf, uint32_t subleaf) {
  registers_t r = {};
  if (!__get_cpuid_count(leaf, subleaf, &r.eax, &r.ebx, &r.ecx, &r.edx))
    return {};
  return r;
}

static uint64_t read_xcr0() {
  if ((cpuid(1, 0).ecx & (1u << 27)) == 0) // OSXSAVE: xgetbv may be used
    return 0;
  uint32_t low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (uint64_t)high << 32 | low;
}

feature_set_t host_features() {
  struct row_t {
    uint32_t leaf, subleaf;
    uint32_t registers_t::*field;
    uint32_t bit;
    int state;
  };
  enum { none, avx, avx512, amx };
  static constexpr row_t rows[] = {
#define FEATURE(name, leaf, subleaf, field, bit, state)                                            \
  {leaf, subleaf, &registers_t::field, bit, state},
#include "loader/features_x86_64.def"
#undef FEATURE
  };
  uint64_t xcr0 = read_xcr0();
  bool states[4];
  states[none] = true;
  states[avx] = (xcr0 & 0x6) == 0x6;
  states[avx512] = (xcr0 & 0xe6) == 0xe6;
  states[amx] = (xcr0 & 0x60000) == 0x60000 && system_grants_tiles();

  registers_t basic = cpuid(1, 0), structured = cpuid(7, 0), extended = cpuid(0x80000001, 0);
  // Subleaf 1 exists only where subleaf 0 says so.
  registers_t structured1 = structured.eax >= 1 ? cpuid(7, 1) : registers_t{};
  feature_set_t set = {};
  for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); ++i) {
    const row_t &row = rows[i];
    const registers_t &r = row.leaf == 1      ? basic
                           : row.leaf != 7    ? extended
                           : row.subleaf != 0 ? structured1
                                              : structured;
    if (((r.*row.field >> row.bit) & 1) != 0 && states[row.state])
      add(&set, i);
  }
  return set;
}

#else

uint16_t host_machine() { return elf_machine_aarch64; }
bool feature_enable(const char *) { return true; }

feature_set_t host_features() {
  struct row_t {
    uint32_t word, bit;
    const char *key;
  };
  static constexpr row_t rows[] = {
#define FEATURE(name, word, bit, key) {word, bit, key},
#include "loader/features_aarch64.def"
#undef FEATURE
  };
  feature_set_t set = {};
#if defined(__linux__)
  unsigned long words[] = {0, getauxval(AT_HWCAP), getauxval(AT_HWCAP2)};
#endif
  for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); ++i) {
#if defined(__linux__)
    if ((words[rows[i].word] >> rows[i].bit) & 1)
      add(&set, i);
#elif defined(__APPLE__)
    int value = 0;
    size_t size = sizeof(value);
    if (sysctlbyname(rows[i].key, &value, &size, nullptr, 0) == 0 && value != 0)
      add(&set, i);
#endif
  }
  return set;
}

#endif

bool feature_set_has(const feature_set_t &set, const char *name) {
  for (size_t i = 0; i < feature_count(); ++i)
    if (set.has(i) && strcmp(names[i], name) == 0)
      return true;
  return false;
}

} // namespace kiln

size_t kiln_host_features(const char **names, size_t capacity) {
  kiln::feature_set_t set = kiln::host_features();
  size_t count = 0;
  for (size_t i = 0; i < kiln::feature_count(); ++i) {
    if (!set.has(i))
      continue;
    if (count < capacity)
      names[count] = kiln::feature_name(i);
    ++count;
  }
  return count;
}
