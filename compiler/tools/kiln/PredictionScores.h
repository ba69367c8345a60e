// How well one row of logits predicts the token that follows, and how far it is from a reference's.
#ifndef KILN_TOOLS_PREDICTIONSCORES_H
#define KILN_TOOLS_PREDICTIONSCORES_H

#include <cstddef>
#include <cstdint>

namespace kiln {

struct PredictionScore {
  double negativeLogLikelihood = 0; // of the token, in nats
  double referenceNegativeLogLikelihood = 0;
  double divergence =
      0; // Kullback-Leibler, of the row's distribution from the reference's, in nats
  bool sameTop1 = false; // whether both find the same token the most likely
};

/// Rows of logits, f32 [count, vocab], and the token that follows each. Without reference rows
/// (null) the fields that compare stay 0.
struct PredictionRows {
  const float *logits = nullptr, *reference = nullptr;
  const int32_t *targets = nullptr;
  size_t count = 0, vocab = 0;
};

/// Fills scores[0 .. rows.count), in `threads` threads.
void scorePredictions(const PredictionRows &rows, uint32_t threads, PredictionScore *scores);

} // namespace kiln

#endif
