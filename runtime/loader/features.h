/* What the CPU at hand can do, in LLVM's spelling. */
#ifndef KILN_LOADER_FEATURES_H
#define KILN_LOADER_FEATURES_H

#include <stddef.h>
#include <stdint.h>

namespace kiln {

/* The ELF machine this runtime was built for. */
uint16_t host_machine();

/* A set of features the host has; bit i stands for feature_name(i). */
struct feature_set_t {
  uint64_t bits[2];
  bool has(size_t i) const { return (bits[i / 64] >> (i % 64)) & 1; }
};

size_t feature_count();
const char *feature_name(size_t index);
feature_set_t host_features();

/* Whether the host has the named feature; false for names this runtime does not know. */
bool feature_set_has(const feature_set_t &set, const char *name);

/* Asks the system for what a feature needs before use (Linux grants AMX per process). */
bool feature_enable(const char *name);

} // namespace kiln

#endif /* KILN_LOADER_FEATURES_H */
