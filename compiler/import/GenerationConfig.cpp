// Defaults for generating text. generation_config.json wins over config.json, as in Hugging Face's
// own loader; sampling values count only where `do_sample` is true, else decoding is greedy.
#include "compiler/import/DecoderConfig.h"

using namespace llvm;
using namespace kiln;

static constexpr int64_t largestId = INT32_MAX;

/// Token ids that the model can produce; others are left out with a warning.
static std::vector<int64_t> readTokens(const ConfigObject &object, StringRef key,
                                       int64_t vocabulary, std::vector<std::string> &warnings) {
  std::vector<int64_t> tokens;
  for (int64_t token : object.getIntegers(key, 0, largestId)) {
    if (token < vocabulary)
      tokens.push_back(token);
    else
      warnings.push_back((key + ": " + Twine(token) + " is outside the vocabulary of " +
                          Twine(vocabulary) + " and is left out")
                             .str());
  }
  return tokens;
}

GenerationConfig kiln::readGenerationConfig(const ConfigObject &config,
                                            const ConfigObject &generation,
                                            const ConfigObject &tokenizer, int64_t vocabulary) {
  GenerationConfig result;
  auto from = [&](StringRef key) -> const ConfigObject & {
    return generation.has(key) ? generation : config;
  };
  std::vector<int64_t> bos =
      readTokens(from("bos_token_id"), "bos_token_id", vocabulary, result.warnings);
  if (!bos.empty())
    result.bosToken = bos.front();
  result.eosTokens = readTokens(from("eos_token_id"), "eos_token_id", vocabulary, result.warnings);

  result.addBos = tokenizer.getBool("add_bos_token");
  std::string tokenizerClass = tokenizer.getString("tokenizer_class").value_or("");
  if (!result.addBos && StringRef(tokenizerClass).starts_with("LlamaTokenizer"))
    result.addBos = true; // that class's own default

  if (std::optional<bool> sample = generation.getBool("do_sample"))
    result.temperature = *sample ? 1.0 : 0.0;
  std::optional<double> temperature = generation.getNumber("temperature", 0, 100);
  if (temperature && result.temperature == 1.0)
    result.temperature = temperature;
  result.topK = generation.getInteger("top_k", 0, largestId);
  result.topP = generation.getNumber("top_p", 0, 1);
  result.repetitionPenalty = generation.getNumber("repetition_penalty", 0.01, 100);
  return result;
}
