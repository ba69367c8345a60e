// Model families as records: what a family calls things in config.json and in its tensors, and
// which variant of each part of a decoder or encoder it has. To add one: a file in Families/ and a
// line in Families.def.
#ifndef KILN_COMPILER_IMPORT_FAMILY_H
#define KILN_COMPILER_IMPORT_FAMILY_H

#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringRef.h"
#include <optional>
#include <string>

namespace kiln {

enum class ModelKind { Decoder, Encoder };          // tokens see those before them, or all
enum class NormKind { Rms, Layer };                 // Layer has a bias
enum class HeadNorm { None, PerHead, WholeRow };    // RMS norm of query and key, before rotation
enum class PositionKind { Rotary, Learned, Alibi }; // Learned: a table added to the embedding
enum class MlpKind { Gated, Plain };                // down(act(gate x) * up x) or down(act(up x))
enum class WeightOrientation { OutIn, InOut };      // nn.Linear [out, in]; GPT-2's Conv1D [in, out]
enum class QkvOrder { Blocks, PerHead }; // rows of a fused map: all of q, k, v, or each head's
enum class Activation { Silu, Relu, Gelu, GeluTanh };

/// Whether linear maps of one kind have biases: a fixed answer unless config.json has the key.
struct BiasRule {
  llvm::StringRef key;
  bool otherwise;
};

/// A config value that alone this family's graph computes; any other is refused with the reason.
struct RequiredBool {
  llvm::StringRef key;
  bool value;
  llvm::StringRef reason;
};

/// The same of a string.
struct RequiredString {
  llvm::StringRef key, value, reason;
};

/// Keys of config.json; empty where the family has no such key.
struct ConfigKeys {
  llvm::StringRef hiddenSize, layers, heads, kvHeads, headDim, intermediateSize, contextLength,
      normEps, activation, ropeTheta, ropeScaling, ropeParameters, partialRotary;
  /// Theta of the layers with a window; a list with 0 for each layer without rotation, and the
  /// interval of such layers where there is no list; rope scaling's own idea of the context.
  llvm::StringRef localRopeTheta, ropeLayers, noRopeInterval, originalContext;
  /// The window; whether it is used; from which layer on; a list of the layers' kinds; every how
  /// many layers there is one without.
  llvm::StringRef slidingWindow, useSlidingWindow, firstWindowLayer, layerTypes, windowPeriod;
  /// Scores are divided by its root in place of head_dim's; limits of scores and logits.
  llvm::StringRef queryScalar, attentionSoftcap, logitSoftcap;
  llvm::StringRef parallelResidual;
  /// Experts of a layer (a second name in newer files), how many a token takes, their width,
  /// whether their weights sum to 1.
  llvm::StringRef experts, newerExperts, expertsUsed, expertIntermediate, normalizeExperts;
  llvm::StringRef sparseStep, denseLayers; // every so many layers has experts; layers without
  llvm::StringRef tokenTypes;              // how many there are
  /// The row of the table of positions before the one of a text's first token; 0 without the key.
  llvm::StringRef positionPadding;
};

/// Names of modules. A module's tensors are `<module>.weight` and `<module>.bias`. Layer modules
/// are relative to `layer` + "." + number. Empty where the family has no such module.
struct ModuleNames {
  llvm::StringRef prefix; // of all but the head; absent from files saved without the head
  llvm::StringRef embedding, positions, tokenTypes, embeddingNorm, layer;
  /// Norms of what attention and MLP read, of query and key, and of what attention and MLP give.
  llvm::StringRef attentionNorm, query, key, value, fusedQkv, queryNorm, keyNorm, attentionOutput,
      attentionPostNorm;
  llvm::StringRef mlpNorm, gate, up, fusedGateUp, down, mlpPostNorm;
  /// Norms of x plus what attention and MLP give.
  llvm::StringRef attentionSumNorm, mlpSumNorm;
  /// The router, and an expert's maps relative to `experts` + "." + number.
  llvm::StringRef router, experts, expertGate, expertUp, expertDown;
  llvm::StringRef finalNorm, head; // of decoders
};

struct Family {
  llvm::StringRef name;
  llvm::SmallVector<llvm::StringRef> modelTypes; // config.json's model_type
  /// model_type of models whose text part is of this family.
  llvm::SmallVector<llvm::StringRef> multimodalTypes;
  ModelKind kind = ModelKind::Decoder;

  ConfigKeys keys;
  double defaultNormEps;
  std::optional<int64_t> defaultContextLength;
  llvm::StringRef defaultActivation;
  bool defaultTied;
  int64_t intermediateFactor =
      0; // intermediate = factor * hidden where the key is absent; 0: required
  double defaultRopeTheta = 10000, defaultPartialRotary = 1;
  double defaultQueryScalar = 0; // 0: head_dim
  std::optional<int64_t> defaultHeadDim, defaultHeads, defaultKvHeads, defaultVocabulary;
  std::optional<int64_t> defaultWindow;
  double defaultAttentionSoftcap = 0, defaultLogitSoftcap = 0; // 0: none

  NormKind norm;
  /// What a norm adds to its stored weights.
  double normOffset = 0;
  HeadNorm headNorm = HeadNorm::None;
  PositionKind position;
  MlpKind mlp;
  WeightOrientation orientation;
  QkvOrder qkvOrder = QkvOrder::Blocks;
  BiasRule qkvBias, attentionOutputBias, mlpBias;
  bool scaledEmbedding = false; // times sqrt(hidden)

  /// Attention and MLP read the same x, unless config.json says otherwise; through one norm?
  bool parallelResidual = false, parallelSharesNorm = false;
  /// Whether a window is used where config.json does not say; every how many layers there is one
  /// without (0: none).
  bool usesWindow = true;
  int64_t windowPeriod = 0;
  int64_t noRopeInterval = 0;    // every so many layers has no rotation; 0: all have
  bool normalizeExperts = false; // unless config.json says otherwise

  ModuleNames modules;
  /// Tensors that hold no weight, by the end of their names: masks and tables saved by accident.
  llvm::SmallVector<llvm::StringRef> ignoredSuffixes;
  /// Modules of other tasks that files may carry (a pooler, the head of the training), with and
  /// without the prefix.
  llvm::SmallVector<llvm::StringRef> ignoredModules;
  llvm::SmallVector<RequiredBool> requiredBools;
  llvm::SmallVector<RequiredString> requiredStrings;
};

/// Llama's record, which those of many families differ from in a few fields.
Family describeLlama();

/// The family that says `modelType`, or null.
const Family *findFamily(llvm::StringRef modelType);

/// Whether a family is the text part of models of this type.
bool isMultimodalType(llvm::StringRef modelType);

/// Every model_type of every family: "gpt2, llama, …".
std::string listModelTypes();

} // namespace kiln

#endif
