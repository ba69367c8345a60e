// Passes over rows of logits. A row has as many numbers as the vocabulary has tokens and there are
// hundreds of rows per chunk of text, so the passes are loops over sixteen lanes that the compiler
// turns into vectors: exponentials in float, whose relative error is below 2e-7, added up in float
// over short runs and beyond these in double.
//
// With Z = sum of e^x the negative log-likelihood of token t is ln Z - x_t. The divergence of q
// from a reference p is sum of p_i (ln p_i - ln q_i) = sum of p_i (x_i - y_i) - ln Z_p + ln Z_q,
// with the logits x of p and y of q.
#include "compiler/tools/kiln/PredictionScores.h"
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <thread>
#include <vector>

using namespace kiln;

static constexpr size_t lanes = 16, run = 1024;

/// e^x for x <= 0: x = n ln 2 + r with |r| <= ln 2 / 2, a polynomial in r, and n added to the
/// exponent. Below -80, and for NaN, 0. Adding 1.5 * 2^23 leaves n in the low bits of a float.
static inline float exponential(float x) {
  float shifted = x * 1.44269504f + 12582912.0f;
  float n = shifted - 12582912.0f;
  float r = x - n * 0.693359375f + n * 2.12194440e-4f;
  float sum = r * (1.0f / 720.0f) + 1.0f / 120.0f;
  sum = sum * r + 1.0f / 24.0f;
  sum = sum * r + 1.0f / 6.0f;
  sum = sum * r + 0.5f;
  sum = sum * r + 1.0f;
  sum = sum * r + 1.0f;
  uint32_t bits, exponent;
  std::memcpy(&bits, &sum, sizeof bits);
  std::memcpy(&exponent, &shifted, sizeof exponent);
  bits += exponent << 23;
  bits &= x > -80.0f ? ~0u : 0u;
  std::memcpy(&sum, &bits, sizeof sum);
  return sum;
}

static float largest(const float *row, size_t count) {
  float best[lanes];
  std::fill_n(best, lanes, -std::numeric_limits<float>::infinity());
  size_t i = 0;
  for (; i + lanes <= count; i += lanes)
    for (size_t lane = 0; lane < lanes; ++lane)
      best[lane] = row[i + lane] > best[lane] ? row[i + lane] : best[lane];
  for (; i < count; ++i)
    best[0] = row[i] > best[0] ? row[i] : best[0];
  return *std::max_element(best, best + lanes);
}

static double sumOf(const float *sums) {
  double total = 0;
  for (size_t lane = 0; lane < lanes; ++lane)
    total += double(sums[lane]);
  return total;
}

/// Sum of e^(x - peak).
static double sumExponentials(const float *row, size_t count, float peak) {
  double total = 0;
  for (size_t begin = 0; begin < count; begin += run) {
    size_t end = std::min(begin + run, count), i = begin;
    float sums[lanes] = {};
    for (; i + lanes <= end; i += lanes)
      for (size_t lane = 0; lane < lanes; ++lane)
        sums[lane] += exponential(row[i + lane] - peak);
    for (; i < end; ++i)
      sums[0] += exponential(row[i] - peak);
    total += sumOf(sums);
  }
  return total;
}

struct WeightedSums {
  double weights = 0;     // sum of e^(x - peak)
  double differences = 0; // sum of e^(x - peak) (x - y)
};

static inline void addWeighted(float x, float y, float peak, float &weights, float &differences) {
  float weight = exponential(x - peak);
  weights += weight;
  // A token that the reference rules out counts nothing, whatever the other says of it.
  differences += weight > 0 ? weight * (x - y) : 0.0f;
}

static WeightedSums sumWeighted(const float *reference, const float *row, size_t count,
                                float peak) {
  WeightedSums total;
  for (size_t begin = 0; begin < count; begin += run) {
    size_t end = std::min(begin + run, count), i = begin;
    float weights[lanes] = {}, differences[lanes] = {};
    for (; i + lanes <= end; i += lanes)
      for (size_t lane = 0; lane < lanes; ++lane)
        addWeighted(reference[i + lane], row[i + lane], peak, weights[lane], differences[lane]);
    for (; i < end; ++i)
      addWeighted(reference[i], row[i], peak, weights[0], differences[0]);
    total.weights += sumOf(weights);
    total.differences += sumOf(differences);
  }
  return total;
}

static PredictionScore score(const float *row, const float *reference, int32_t target,
                             size_t vocab) {
  PredictionScore result;
  float peak = largest(row, vocab);
  double logSum = double(peak) + std::log(sumExponentials(row, vocab, peak));
  result.negativeLogLikelihood = logSum - double(row[target]);
  if (!reference)
    return result;
  float referencePeak = largest(reference, vocab);
  WeightedSums sums = sumWeighted(reference, row, vocab, referencePeak);
  double referenceLogSum = double(referencePeak) + std::log(sums.weights);
  result.referenceNegativeLogLikelihood = referenceLogSum - double(reference[target]);
  result.divergence = std::max(0.0, sums.differences / sums.weights - referenceLogSum + logSum);
  result.sameTop1 = std::find(row, row + vocab, peak) - row ==
                    std::find(reference, reference + vocab, referencePeak) - reference;
  return result;
}

void kiln::scorePredictions(const PredictionRows &rows, uint32_t threads, PredictionScore *scores) {
  size_t shares = std::max<size_t>(1, std::min<size_t>(threads, rows.count));
  auto work = [&](size_t share) {
    for (size_t i = rows.count * share / shares; i < rows.count * (share + 1) / shares; ++i)
      scores[i] = score(rows.logits + i * rows.vocab,
                        rows.reference ? rows.reference + i * rows.vocab : nullptr, rows.targets[i],
                        rows.vocab);
  };
  std::vector<std::thread> others;
  for (size_t share = 1; share < shares; ++share)
    others.emplace_back(work, share);
  work(0);
  for (std::thread &other : others)
    other.join();
}
