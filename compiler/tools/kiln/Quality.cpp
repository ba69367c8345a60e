// Runs chunks of a text through one model or two and scores what they predict. Chunks go in as
// prompts, in calls as long as the function takes; only the rows of logits that are judged are
// computed, and never more of them at a time than fit `mostLogitBytes`, so that memory does not
// grow with text, chunk or vocabulary. Two models take each step together, and each row is compared
// while both are there.
#include "compiler/tools/kiln/Quality.h"
#include "compiler/tools/kiln/LanguageModel.h"
#include <algorithm>
#include <chrono>
#include <fstream>
#include <sstream>
#include <vector>

using namespace kiln;

namespace {

constexpr uint64_t mostLogitBytes = 256 << 20; // of each model
constexpr uint32_t defaultContext = 512;

bool readText(const std::string &path, std::string &text, std::string &problem) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream content;
  content << file.rdbuf();
  text = content.str();
  if (!file || text.empty()) {
    problem = path + ": cannot be read, or is empty";
    return false;
  }
  if (text.back() == '\n')
    text.pop_back();
  return true;
}

bool encode(const LanguageModel &lm, const std::string &text, std::vector<int32_t> &tokens,
            std::string &problem) {
  const kiln_tokenizer_t *tokenizer = kiln_llm_tokenizer(lm.llm.get());
  if (!tokenizer) {
    problem = "the artifact has no tokenizer, so it cannot judge a text";
    return false;
  }
  // What is spelled like a special token in the text is text.
  constexpr uint32_t flags =
      KILN_ENCODE_TEMPLATE | KILN_ENCODE_OPEN_END | KILN_ENCODE_SPECIAL_AS_TEXT;
  kiln_error error{};
  size_t count = 0;
  kiln_status_t status;
  tokens.resize(text.size() / 2 + 16);
  while ((status = kiln_tokenizer_encode(tokenizer, text.data(), text.size(), flags, tokens.data(),
                                         tokens.size(), &count, &error)) == KILN_BUFFER_TOO_SMALL)
    tokens.resize(count);
  if (status != KILN_OK)
    problem = describe(status, error);
  tokens.resize(status == KILN_OK ? count : 0);
  return status == KILN_OK;
}

class Evaluation {
public:
  Evaluation(const QualityOptions &options, QualityResult &result)
      : options(options), result(result) {}

  bool open(std::string &problem);
  bool run(const std::function<void(double)> &progress, std::string &problem);

private:
  bool openModel(const std::string &path, LanguageModel &lm, std::string &problem);
  bool chooseContext(std::string &problem);
  bool encodeText(std::string &problem);
  bool evaluate(std::vector<int32_t> &chunk, std::string &problem);
  bool step(LanguageModel &lm, const kiln_llm_batch &batch, const float *&logits,
            std::string &problem);
  bool comparing() const { return !options.reference.empty(); }

  const QualityOptions &options;
  QualityResult &result;
  LanguageModel model, reference;
  std::vector<int32_t> tokens;
  std::vector<PredictionScore> scores;
};

} // namespace

bool Evaluation::openModel(const std::string &path, LanguageModel &lm, std::string &problem) {
  kiln_llm_options wanted{};
  wanted.context_length = options.context; // what the model cannot hold is refused here
  if (openLanguageModel(path, options.threads, wanted, lm, problem))
    return true;
  if (problem.find(path) == std::string::npos)
    problem = path + ": " + problem;
  return false;
}

bool Evaluation::chooseContext(std::string &problem) {
  result.context = options.context;
  if (!result.context) {
    result.context = std::min(defaultContext, model.info.context_length);
    if (comparing())
      result.context = std::min(result.context, reference.info.context_length);
  }
  if (result.context >= 4)
    return true;
  problem = "--context: expected at least 4 tokens, found " + std::to_string(result.context);
  return false;
}

bool Evaluation::encodeText(std::string &problem) {
  std::string text;
  if (!readText(options.text, text, problem) || !encode(model, text, tokens, problem))
    return false;
  if (comparing()) {
    std::vector<int32_t> others;
    if (!encode(reference, text, others, problem))
      return false;
    if (others != tokens) {
      size_t at =
          size_t(std::mismatch(tokens.begin(), tokens.end(), others.begin(), others.end()).first -
                 tokens.begin());
      problem = "the artifacts are not of one model: their tokenizers differ at token " +
                std::to_string(at) + " of " + options.text;
      return false;
    }
  }
  result.tokens = tokens.size();
  size_t chunks = tokens.size() / result.context;
  if (options.chunks)
    chunks = std::min<size_t>(chunks, options.chunks);
  result.chunks = uint32_t(std::min<size_t>(chunks, UINT32_MAX));
  if (result.chunks)
    return true;
  problem = options.text + ": expected at least " + std::to_string(result.context) +
            " tokens, a chunk of --context, found " + std::to_string(tokens.size());
  return false;
}

bool Evaluation::open(std::string &problem) {
  if (!openModel(options.model, model, problem) ||
      (comparing() && !openModel(options.reference, reference, problem)))
    return false;
  if (comparing() && reference.info.vocab_size != model.info.vocab_size) {
    problem = "the artifacts are not of one model: they have vocabularies of " +
              std::to_string(model.info.vocab_size) + " and " +
              std::to_string(reference.info.vocab_size) + " tokens";
    return false;
  }
  result.beginTokens = model.info.add_bos && model.info.bos_token >= 0;
  return chooseContext(problem) && encodeText(problem);
}

/// Appends the batch to sequence 0, which is open.
bool Evaluation::step(LanguageModel &lm, const kiln_llm_batch &batch, const float *&logits,
                      std::string &problem) {
  kiln_error error{};
  kiln_status_t status = kiln_llm_step(lm.llm.get(), &batch, &logits, &error);
  if (status != KILN_OK)
    problem = describe(status, error);
  return status == KILN_OK;
}

bool Evaluation::evaluate(std::vector<int32_t> &chunk, std::string &problem) {
  for (LanguageModel *lm : {&model, comparing() ? &reference : nullptr})
    if (lm)
      kiln_sequence_truncate(lm->llm.get(), 0, 0, nullptr);
  uint32_t vocab = model.info.vocab_size, first = result.context / 2;
  uint32_t end = result.context - 1; // the last token is predicted, and predicts nothing
  uint32_t mostTokens = model.info.chunk;
  if (comparing())
    mostTokens = std::min(mostTokens, reference.info.chunk);
  uint32_t mostRows = uint32_t(std::max<uint64_t>(1, mostLogitBytes / sizeof(float) / vocab));
  std::vector<uint32_t> sequences(mostTokens, 0), rows;
  for (uint32_t at = 0; at < end;) {
    uint32_t count = std::min(mostTokens, end - at), skipped = at < first ? first - at : 0;
    count = uint32_t(std::min<uint64_t>(count, uint64_t(skipped) + mostRows));
    rows.clear();
    for (uint32_t i = skipped; i < count; ++i)
      rows.push_back(i);
    kiln_llm_batch batch = {&chunk[at], sequences.data(), count, rows.data(), rows.size()};
    PredictionRows predictions;
    if (!step(model, batch, predictions.logits, problem) ||
        (comparing() && !step(reference, batch, predictions.reference, problem)))
      return false;
    at += count;
    if (rows.empty())
      continue;
    predictions.targets = &chunk[at - rows.size() + 1];
    predictions.count = rows.size();
    predictions.vocab = vocab;
    scores.resize(std::max(scores.size(), rows.size()));
    scorePredictions(predictions, kiln_pool_workers(model.pool.get()), scores.data());
    for (size_t i = 0; i < rows.size(); ++i)
      result.statistics.add(scores[i], comparing());
  }
  return true;
}

bool Evaluation::run(const std::function<void(double)> &progress, std::string &problem) {
  for (LanguageModel *lm : {&model, comparing() ? &reference : nullptr}) {
    kiln_error error{};
    uint32_t sequence = 0;
    kiln_status_t status = lm ? kiln_sequence_open(lm->llm.get(), &sequence, &error) : KILN_OK;
    if (status != KILN_OK) {
      problem = describe(status, error);
      return false;
    }
  }
  auto started = std::chrono::steady_clock::now();
  for (uint32_t i = 0; i < result.chunks; ++i) {
    progress(double(i) / double(result.chunks));
    auto begin = tokens.begin() + ptrdiff_t(size_t(i) * result.context);
    std::vector<int32_t> chunk(begin, begin + ptrdiff_t(result.context));
    if (result.beginTokens)
      chunk.front() = model.info.bos_token;
    if (!evaluate(chunk, problem))
      return false;
  }
  result.seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
  return true;
}

bool kiln::measureQuality(const QualityOptions &options,
                          const std::function<void(double)> &progress, QualityResult &result,
                          std::string &problem) {
  Evaluation evaluation(options, result);
  return evaluation.open(problem) && evaluation.run(progress, problem);
}
