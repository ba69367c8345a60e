// Places buffers in one arena whose size depends on the dims of the call. Knows nothing of MLIR.
#ifndef KILN_PASSES_PLANARENA_H
#define KILN_PASSES_PLANARENA_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/Support/Error.h"
#include <cstdint>
#include <string>
#include <vector>

namespace kiln {

/// A linear function of the dims with non-negative coefficients, in bytes:
/// terms[0] + terms[1] * dim 0 + terms[2] * dim 1 + …
using LinearBytes = llvm::SmallVector<int64_t, 6>;

/// Inclusive bounds of a dim, 0 <= min <= max.
struct DimRange {
  int64_t min, max;
};

struct ArenaBuffer {
  LinearBytes bytes;
  int64_t first, last; // first and last moment at which the buffer is live, inclusive
};

struct ArenaPlan {
  std::vector<LinearBytes> offsets;     // parallel to the buffers
  std::vector<LinearBytes> arenaBytes;  // the maximum of these is the arena's size; at least one
  std::vector<LinearBytes> lowerBounds; // the maximum of these is the largest sum of live buffers
};

/// The value at a point of the dims.
int64_t evaluate(const LinearBytes &function, llvm::ArrayRef<int64_t> dims);
/// The largest value of several functions at a point.
int64_t evaluateMax(llvm::ArrayRef<LinearBytes> functions, llvm::ArrayRef<int64_t> dims);
/// True where left <= right for all dims within their bounds.
bool isAtMost(const LinearBytes &left, const LinearBytes &right, llvm::ArrayRef<DimRange> dims);

/// Places the buffers so that two that are live at the same moment do not overlap for any dims
/// within their bounds. Every coefficient of every offset is a multiple of 64. Deterministic. Fails
/// where the sizes overflow 2^62 bytes at the upper bounds. `points` are values of the dims at
/// which plans are compared, the second one that of all upper bounds; none: corners of the bounds.
llvm::Expected<ArenaPlan> planArena(llvm::ArrayRef<ArenaBuffer> buffers,
                                    llvm::ArrayRef<DimRange> dims,
                                    llvm::ArrayRef<llvm::SmallVector<int64_t>> points = {});

} // namespace kiln

#endif
