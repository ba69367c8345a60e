// How well a language model predicts a text, alone and against another artifact of the same model.
#ifndef KILN_TOOLS_QUALITY_H
#define KILN_TOOLS_QUALITY_H

#include "compiler/tools/kiln/QualityStatistics.h"
#include <functional>
#include <string>

namespace kiln {

struct QualityOptions {
  std::string model, reference; // artifacts; the reference may be empty
  std::string text;             // a file
  uint32_t context = 0;         // tokens of a chunk; 0: 512, or what the models can hold
  uint32_t chunks = 0;          // most chunks of the text to use; 0: all
  uint32_t threads = 0;
};

struct QualityResult {
  QualityStatistics statistics;
  uint64_t tokens = 0; // of the whole text
  uint32_t context = 0, chunks = 0;
  bool beginTokens = false; // whether chunks begin with the begin token
  double seconds = 0;       // evaluation alone
};

/// Perplexity as llama.cpp's llama-perplexity defines it: the text, without one newline at its end,
/// is cut into chunks of `context` tokens, each evaluated on its own, and what is left at the end
/// is not used; where the model's texts begin with a begin token, it takes the place of a chunk's
/// first token; a chunk's tokens are judged from the one behind position context / 2, so that each
/// is predicted from at least half a context. False on failure, and `problem` says why.
bool measureQuality(const QualityOptions &options, const std::function<void(double)> &progress,
                    QualityResult &result, std::string &problem);

} // namespace kiln

#endif
