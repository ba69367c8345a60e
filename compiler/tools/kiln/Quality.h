// How well a language model predicts a text, alone and against another artifact of the same model.
#ifndef KILN_TOOLS_QUALITY_H
#define KILN_TOOLS_QUALITY_H

#include <cstdint>
#include <functional>
#include <string>

namespace kiln {

struct QualityOptions {
  std::string model, reference; // artifacts; the reference may be empty
  std::string text;             // a file
  uint32_t tokens;              // most tokens of the text to use
  uint32_t threads;
};

struct QualityResult {
  uint64_t tokens = 0; // predictions judged
  double perplexity = 0, referencePerplexity = 0;
  double meanKlDivergence = 0; // of the model from the reference, in nats
  double top1Agreement = 0;    // share of predictions with the same most likely token
};

/// The text is cut into windows of the context's length, each begun anew; every token of a window
/// but the first is predicted. False on failure, and `problem` says why.
bool measureQuality(const QualityOptions &options, const std::function<void(double)> &progress,
                    QualityResult &result, std::string &problem);

} // namespace kiln

#endif
