// How much of this process is in memory, and how much of that is a mapped file.
#ifndef KILN_TOOLS_RESIDENTMEMORY_H
#define KILN_TOOLS_RESIDENTMEMORY_H

#include <cstdint>
#include <string>

namespace kiln {

/// Bytes of this process in memory now; 0 where the system does not say.
uint64_t residentBytes();
/// Bytes of the mappings of this file that are in memory now; 0 where the system does not say.
uint64_t residentBytesOfFile(const std::string &path);

} // namespace kiln

#endif
