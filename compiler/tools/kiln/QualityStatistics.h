// Perplexity, divergence and agreement from the scores of single predictions, with standard errors.
#ifndef KILN_TOOLS_QUALITYSTATISTICS_H
#define KILN_TOOLS_QUALITYSTATISTICS_H

#include "compiler/tools/kiln/PredictionScores.h"
#include <vector>

namespace kiln {

struct Estimate {
  double mean = 0, standardError = 0;
};

/// What is left of scores as they come: sums, and the divergences for their percentiles.
class QualityStatistics {
public:
  void add(const PredictionScore &score, bool compared);

  uint64_t count() const { return predictions; }
  /// In nats.
  Estimate negativeLogLikelihood() const;
  /// e to the mean negative log-likelihood.
  Estimate perplexity() const;
  Estimate referencePerplexity() const;
  /// ln(perplexity / reference's), the two being correlated.
  Estimate logPerplexityRatio() const;
  Estimate divergence() const;
  Estimate top1Agreement() const;
  /// The divergence that `share` (0..1) of the predictions do not exceed, interpolated between
  /// neighbours. Sorts: call add() no more.
  double divergencePercentile(double share);

private:
  uint64_t predictions = 0, agreements = 0;
  double loss = 0, lossSquares = 0, referenceLoss = 0, referenceLossSquares = 0, lossProducts = 0;
  double divergenceSum = 0, divergenceSquares = 0;
  std::vector<float> divergences;
  bool sorted = false;
};

} // namespace kiln

#endif
