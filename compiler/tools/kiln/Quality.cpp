// How well a language model predicts a text: perplexity, and the Kullback-Leibler divergence of its
// predictions from a reference's, both over windows of the context's length.
#include "compiler/tools/kiln/Quality.h"
#include "compiler/tools/kiln/LanguageModel.h"
#include <algorithm>
#include <cmath>
#include <fstream>
#include <sstream>
#include <vector>

using namespace kiln;

static bool encodeFile(const LanguageModel &lm, const std::string &path,
                       std::vector<int32_t> &tokens, std::string &problem) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream content;
  content << file.rdbuf();
  std::string text = content.str();
  if (!file || text.empty()) {
    problem = path + ": cannot be read, or is empty";
    return false;
  }
  const kiln_tokenizer_t *tokenizer = kiln_llm_tokenizer(lm.llm.get());
  if (!tokenizer) {
    problem = "the artifact has no tokenizer, so it cannot judge a text";
    return false;
  }
  kiln_error error{};
  size_t count = 0;
  tokens.resize(text.size() + 16);
  kiln_status_t status =
      kiln_tokenizer_encode(tokenizer, text.data(), text.size(), KILN_ENCODE_SPECIAL_AS_TEXT,
                            tokens.data(), tokens.size(), &count, &error);
  if (status != KILN_OK)
    problem = describe(status, error);
  tokens.resize(status == KILN_OK ? count : 0);
  return status == KILN_OK;
}

/// The logits of every token of `window`, which is a sequence of its own.
static bool windowLogits(LanguageModel &lm, const std::vector<int32_t> &window,
                         std::vector<float> &logits, std::string &problem) {
  logits.clear();
  struct Sink {
    std::vector<float> &logits;
    size_t columns;
  } sink{logits, lm.info.vocab_size};
  kiln_error error{};
  uint32_t sequence = 0;
  kiln_status_t status = kiln_sequence_open(lm.llm.get(), &sequence, &error);
  if (status == KILN_OK)
    status = kiln_sequence_append(
        lm.llm.get(), sequence, window.data(), window.size(),
        [](void *user, size_t, size_t count, const float *rows) {
          auto &sink = *static_cast<Sink *>(user);
          sink.logits.insert(sink.logits.end(), rows, rows + count * sink.columns);
          return 0;
        },
        &sink, &error);
  if (status == KILN_OK)
    status = kiln_sequence_close(lm.llm.get(), sequence, &error);
  if (status != KILN_OK)
    problem = describe(status, error);
  return status == KILN_OK;
}

/// log(sum of e^x)
static double logSumExp(const float *x, size_t count) {
  double peak = *std::max_element(x, x + count), sum = 0;
  for (size_t i = 0; i < count; ++i)
    sum += std::exp(x[i] - peak);
  return peak + std::log(sum);
}

static double divergence(const float *reference, const float *model, size_t count) {
  double referenceSum = logSumExp(reference, count), modelSum = logSumExp(model, count), sum = 0;
  for (size_t i = 0; i < count; ++i) {
    double logP = reference[i] - referenceSum;
    sum += std::exp(logP) * (logP - (model[i] - modelSum));
  }
  return std::max(0.0, sum);
}

bool kiln::measureQuality(const QualityOptions &options,
                          const std::function<void(double)> &progress, QualityResult &result,
                          std::string &problem) {
  LanguageModel lm, reference;
  if (!openLanguageModel(options.model, options.threads, {}, lm, problem))
    return false;
  bool compare = !options.reference.empty();
  if (compare && !openLanguageModel(options.reference, options.threads, {}, reference, problem))
    return false;
  if (compare && reference.info.vocab_size != lm.info.vocab_size) {
    problem = "the artifacts have vocabularies of " + std::to_string(lm.info.vocab_size) + " and " +
              std::to_string(reference.info.vocab_size) + " tokens";
    return false;
  }
  std::vector<int32_t> tokens;
  if (!encodeFile(lm, options.text, tokens, problem))
    return false;
  tokens.resize(std::min<size_t>(tokens.size(), options.tokens));
  size_t length = lm.info.context_length, vocab = lm.info.vocab_size;
  if (compare)
    length = std::min<size_t>(length, reference.info.context_length);
  length = std::min<size_t>(length, 2048);

  std::vector<float> logits, referenceLogits;
  double loss = 0, referenceLoss = 0, kl = 0;
  uint64_t agreed = 0;
  for (size_t at = 0; at < tokens.size(); at += length) {
    progress(double(at) / double(tokens.size()));
    std::vector<int32_t> window(tokens.begin() + long(at),
                                tokens.begin() + long(std::min(at + length, tokens.size())));
    if (lm.info.bos_token >= 0)
      window.front() = lm.info.bos_token; // every window begins as a text does
    if (window.size() < 2)
      break;
    if (!windowLogits(lm, window, logits, problem) ||
        (compare && !windowLogits(reference, window, referenceLogits, problem)))
      return false;
    for (size_t i = 0; i + 1 < window.size(); ++i) {
      const float *row = &logits[i * vocab];
      loss += logSumExp(row, vocab) - row[window[i + 1]];
      ++result.tokens;
      if (!compare)
        continue;
      const float *other = &referenceLogits[i * vocab];
      referenceLoss += logSumExp(other, vocab) - other[window[i + 1]];
      kl += divergence(other, row, vocab);
      agreed += std::max_element(row, row + vocab) - row ==
                std::max_element(other, other + vocab) - other;
    }
  }
  if (!result.tokens) {
    problem = options.text + ": fewer than two tokens";
    return false;
  }
  double count = double(result.tokens);
  result.perplexity = std::exp(loss / count);
  result.referencePerplexity = compare ? std::exp(referenceLoss / count) : 0;
  result.meanKlDivergence = kl / count;
  result.top1Agreement = double(agreed) / count;
  return true;
}
