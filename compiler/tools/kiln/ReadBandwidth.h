// How fast this machine reads memory: the bound on decoding.
#ifndef KILN_TOOLS_READBANDWIDTH_H
#define KILN_TOOLS_READBANDWIDTH_H

#include <cstdint>

namespace kiln {

/// Bytes per second that `threads` threads read together from a buffer of about `bytes` bytes (at
/// least 64 MB, at most 1 GB, so that caches keep as much of it as of the weights), the best pass
/// over one, two, four and eight sequential streams per thread.
double measureReadBandwidth(unsigned threads, uint64_t bytes);

} // namespace kiln

#endif
