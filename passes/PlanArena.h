// Places buffers in one arena whose size depends on the dims of the call. Knows nothing of MLIR.
#ifndef KILN_PASSES_PLANARENA_H
#define KILN_PASSES_PLANARENA_H

#include "passes/SizeDomain.h"
#include "llvm/Support/Error.h"

namespace kiln {

struct ArenaBuffer {
  LinearBytes bytes;
  int64_t first, last; // first and last moment at which the buffer is live, inclusive
};

struct ArenaPlan {
  std::vector<LargestBytes> offsets; // parallel to the buffers
  LargestBytes arenaBytes;           // the arena's size
  LargestBytes lowerBounds;          // the largest sum of live buffers
};

/// Values of the variables: where plans are compared while they are made (none: corners of the
/// bounds), and where a finished one is examined, which takes next to nothing.
struct PlanPoints {
  llvm::ArrayRef<llvm::SmallVector<int64_t>> compared, examined;
};

/// Places the buffers so that two that are live at the same moment do not overlap for any dims
/// within their bounds. Every coefficient of every offset is a multiple of 64; an offset's
/// functions together take at most `maxLength` operations, unless one does not fit into that.
/// Deterministic. Fails where the sizes overflow 2^62 bytes at the upper bounds.
llvm::Expected<ArenaPlan> planArena(llvm::ArrayRef<ArenaBuffer> buffers, const SizeDomain &domain,
                                    PlanPoints points = {}, size_t maxLength = 200);

} // namespace kiln

#endif
