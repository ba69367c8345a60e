// Model families as records: what a family calls things in config.json and in its tensors, and
// which variant of each part of a decoder it has. To add one: a file in Families/ and a line in
// Families.def.
#ifndef KILN_COMPILER_IMPORT_FAMILY_H
#define KILN_COMPILER_IMPORT_FAMILY_H

#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringRef.h"
#include <optional>
#include <string>

namespace kiln {

enum class NormKind { Rms, Layer };            // Layer has a bias
enum class PositionKind { Rotary, Learned };   // Learned: a table added to the embedding
enum class MlpKind { Gated, Plain };           // down(act(gate x) * up x) or down(act(up x))
enum class WeightOrientation { OutIn, InOut }; // nn.Linear [out, in]; GPT-2's Conv1D [in, out]
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

/// Keys of config.json; empty where the family has no such key.
struct ConfigKeys {
  llvm::StringRef hiddenSize, layers, heads, kvHeads, headDim, intermediateSize, contextLength,
      normEps, activation, ropeTheta, ropeScaling, ropeParameters, partialRotary, slidingWindow;
};

/// Names of modules. A module's tensors are `<module>.weight` and `<module>.bias`. Layer modules
/// are relative to `layer` + "." + number. Empty where the family has no such module.
struct ModuleNames {
  llvm::StringRef prefix; // of all but the head; absent from files saved without the head
  llvm::StringRef embedding, positions, layer;
  llvm::StringRef attentionNorm, query, key, value, fusedQkv, attentionOutput;
  llvm::StringRef mlpNorm, gate, up, down;
  llvm::StringRef finalNorm, head;
};

struct Family {
  llvm::StringRef name;
  llvm::SmallVector<llvm::StringRef> modelTypes; // config.json's model_type

  ConfigKeys keys;
  double defaultNormEps;
  std::optional<int64_t> defaultContextLength;
  llvm::StringRef defaultActivation;
  bool defaultTied;
  int64_t intermediateFactor =
      0; // intermediate = factor * hidden where the key is absent; 0: required

  NormKind norm;
  PositionKind position;
  MlpKind mlp;
  WeightOrientation orientation;
  BiasRule qkvBias, attentionOutputBias, mlpBias;

  ModuleNames modules;
  /// Tensors that hold no weight, by the end of their names: masks and tables saved by accident.
  llvm::SmallVector<llvm::StringRef> ignoredSuffixes;
  llvm::SmallVector<RequiredBool> requiredBools;
};

/// The family that says `modelType`, or null.
const Family *findFamily(llvm::StringRef modelType);

/// Every model_type of every family: "gpt2, llama, …".
std::string listModelTypes();

} // namespace kiln

#endif
