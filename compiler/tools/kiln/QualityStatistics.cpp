// The statistics that llama.cpp's llama-perplexity prints, by the same formulas: a mean with the
// standard error sqrt((E[x^2] - E[x]^2) / (n - 1)); perplexity with its error to first order; the
// error of a difference of correlated means; percentiles interpolated between order statistics.
#include "compiler/tools/kiln/QualityStatistics.h"
#include <algorithm>
#include <cmath>

using namespace kiln;

static Estimate estimate(double sum, double squares, uint64_t count) {
  if (count < 2)
    return {count ? sum : 0, 0};
  double mean = sum / double(count);
  double variance = (squares / double(count) - mean * mean) / double(count - 1);
  return {mean, std::sqrt(std::max(0.0, variance))};
}

/// e^x, with the error of x carried on to first order.
static Estimate exponentialOf(const Estimate &x) {
  double value = std::exp(x.mean);
  return {value, value * x.standardError};
}

void QualityStatistics::add(const PredictionScore &score, bool compared) {
  double x = score.negativeLogLikelihood, y = score.referenceNegativeLogLikelihood;
  ++predictions;
  loss += x;
  lossSquares += x * x;
  if (!compared)
    return;
  referenceLoss += y;
  referenceLossSquares += y * y;
  lossProducts += x * y;
  divergenceSum += score.divergence;
  divergenceSquares += score.divergence * score.divergence;
  agreements += score.sameTop1;
  divergences.push_back(float(score.divergence));
}

Estimate QualityStatistics::negativeLogLikelihood() const {
  return estimate(loss, lossSquares, predictions);
}

Estimate QualityStatistics::perplexity() const { return exponentialOf(negativeLogLikelihood()); }

Estimate QualityStatistics::referencePerplexity() const {
  return exponentialOf(estimate(referenceLoss, referenceLossSquares, predictions));
}

Estimate QualityStatistics::logPerplexityRatio() const {
  // ln of a ratio is the mean of differences: so is its error.
  return estimate(loss - referenceLoss, lossSquares + referenceLossSquares - 2 * lossProducts,
                  predictions);
}

Estimate QualityStatistics::divergence() const {
  return estimate(divergenceSum, divergenceSquares, predictions);
}

Estimate QualityStatistics::top1Agreement() const {
  return estimate(double(agreements), double(agreements), predictions);
}

double QualityStatistics::divergencePercentile(double share) {
  if (divergences.empty())
    return 0;
  if (!sorted)
    std::sort(divergences.begin(), divergences.end());
  sorted = true;
  double place = std::clamp(share, 0.0, 1.0) * double(divergences.size() - 1);
  size_t below = size_t(place), above = std::min(below + 1, divergences.size() - 1);
  double part = place - double(below);
  return (1 - part) * double(divergences[below]) + part * double(divergences[above]);
}
