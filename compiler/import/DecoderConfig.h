// A decoder's or encoder's shape and variants, as a family's record and a model's config.json give
// them.
#ifndef KILN_COMPILER_IMPORT_DECODERCONFIG_H
#define KILN_COMPILER_IMPORT_DECODERCONFIG_H

#include "compiler/import/ConfigObject.h"
#include "compiler/import/Family.h"

namespace kiln {

struct RotaryConfig {
  double theta = 10000;
  int64_t rotaryDim = 0;
  /// Radians per position of each pair, where scaling changes them; else empty.
  std::vector<double> frequencies;
  /// Factor of sines and cosines.
  double magnitude = 1;
};

/// Where layers of one model differ.
struct LayerConfig {
  /// Positions a token attends to, itself included: the last `window`. 0: all.
  int64_t window = 0;
  enum class Rotation { None, Global, Local } rotation = Rotation::None;
  bool hasExperts = false; // in place of one MLP
};

struct DecoderConfig {
  const Family *family = nullptr;
  std::string modelType;
  int64_t hidden, layers, heads, kvHeads, headDim, intermediate, vocabulary, contextLength;
  /// Positions the model's own tables have: contextLength unless the caller asked for a shorter
  /// one.
  int64_t modelContextLength;
  int64_t firstPosition = 0; // row of a text's first token in a table of positions
  int64_t tokenTypes = 0;    // rows of their table; 0: none
  double normEps;
  Activation activation;
  bool qkvBias, attentionOutputBias, mlpBias, tied;
  bool parallelResidual = false;
  /// Factors of scores and of the embedding; limits L of scores and logits, x -> L tanh(x / L).
  double scoreScale = 0, embeddingScale = 1;
  double attentionSoftcap = 0, logitSoftcap = 0; // 0: none
  RotaryConfig rotary, localRotary;              // localRotary: of layers whose rotation is Local
  std::vector<double> slopes;                    // of each head's linear bias; empty without ALiBi
  std::vector<LayerConfig> layerConfigs;
  /// Of layers with experts.
  int64_t experts = 0, expertsUsed = 0, expertIntermediate = 0;
  bool normalizeExperts = false; // the weights of a token's experts sum to 1
};

/// Reads config.json. `contextLength` shortens the model's context. On any problem gives nothing.
std::optional<DecoderConfig> readDecoderConfig(const ConfigObject &config,
                                               std::optional<int64_t> contextLength);

/// What generation_config.json, config.json and tokenizer_config.json say about generating text.
struct GenerationConfig {
  std::optional<int64_t> bosToken;
  std::vector<int64_t> eosTokens;
  std::optional<bool> addBos;
  std::optional<double> temperature, topP, repetitionPenalty; // temperature 0 means greedy
  std::optional<int64_t> topK;
  /// What was left out and why, one line each: the model works without it.
  std::vector<std::string> warnings;
};

GenerationConfig readGenerationConfig(const ConfigObject &config, const ConfigObject &generation,
                                      const ConfigObject &tokenizer, int64_t vocabulary);

} // namespace kiln

#endif
