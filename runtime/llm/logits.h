/* Passes over a row of logits: the largest, sums of weights, logarithms. A NaN counts as minus
 * infinity. All numbers are the same on every machine: float and double operations of IEEE 754 in a
 * fixed order, sixteen lanes wide whatever the registers are, without fused multiply-adds. */
#ifndef KILN_LLM_LOGITS_H
#define KILN_LLM_LOGITS_H

#include <stddef.h>
#include <stdint.h>

namespace kiln {

constexpr size_t logit_block = 64;  /* logits of which the largest is kept */
constexpr size_t weight_run = 1024; /* logits of which the sum of weights is kept */

inline size_t logit_blocks(size_t count) { return (count + logit_block - 1) / logit_block; }
inline size_t weight_runs(size_t count) { return (count + weight_run - 1) / weight_run; }

/* The largest logit of each block, minus infinity where a block has none; returns the largest of
 * all. */
float block_maxima(const float *logits, size_t count, float *maxima);

/* The index of the largest logit, the lowest of several; -1 where there is none. */
int32_t largest_logit(const float *logits, size_t count);

/* The weight of a logit is exp((logit - largest) * scale), and 0 where the exponent is below -80;
 * its relative error is below 1e-6 for exponents above -16 and below 1e-5 for all. Sums of the
 * weights of each run, if wanted; returns their sum. */
double sum_weights(const float *logits, size_t count, float largest, float scale,
                   double *run_sums /* or NULL */);

/* The weights of some logits, which they may overwrite; both arrays have room for `count` rounded
 * up to a multiple of 16. */
void weigh(const float *logits, size_t count, float largest, float scale, float *weights);

/* ln(x) of a normal number above 0, to 1e-15. */
double logarithm(double x);

} // namespace kiln

#endif /* KILN_LLM_LOGITS_H */
