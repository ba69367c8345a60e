// The weights of logits by vectors of eight floats, for x86-64 CPUs that have them. This file alone
// is compiled with AVX2, and without contraction, so its numbers are those of logits.cpp.

#define KILN_LANE_BYTES 32
#include "llm/weight_lanes.h"

namespace kiln {

double sum_weights_avx2(const float *logits, size_t count, float largest, float scale,
                        double *run_sums) {
  return sum_lanes(logits, count, largest, scale, run_sums);
}

void weigh_avx2(const float *logits, size_t count, float largest, float scale, float *weights) {
  weigh_lanes(logits, count, largest, scale, weights);
}

} // namespace kiln
