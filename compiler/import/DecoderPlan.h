// The modules of one decoder or encoder by name, and the tensors they need: what the importer
// checks against the files and the builder turns into a graph.
#ifndef KILN_COMPILER_IMPORT_DECODERPLAN_H
#define KILN_COMPILER_IMPORT_DECODERPLAN_H

#include "compiler/import/DecoderConfig.h"
#include "compiler/import/ModelFolder.h"
#include <map>

namespace kiln {

/// Neighbouring outputs of a linear map as the file has them.
struct OutputRange {
  int64_t first, count;
};

/// y = x W^T (+ b), W [outputs, inputs] whatever the file's orientation.
struct LinearPlan {
  std::string name; // "model.layers.3.self_attn.q_proj"
  int64_t inputs, outputs;
  bool bias;
  WeightOrientation orientation;
  std::string module; // tensors module.weight, module.bias
  /// The map's outputs among those of the module, in order; empty: all, as they are.
  std::vector<OutputRange> ranges = {};
};

struct NormPlan {
  std::string name;
  bool bias;
};

/// Linear maps of the experts, one each.
struct ExpertsPlan {
  LinearPlan router;
  std::vector<LinearPlan> gate, up, down;
};

struct LayerPlan {
  std::string name; // "model.layers.3"
  std::optional<NormPlan> attentionNorm, attentionPostNorm, mlpNorm, mlpPostNorm;
  std::optional<NormPlan> attentionSumNorm, mlpSumNorm;
  std::optional<NormPlan> queryNorm, keyNorm;
  std::vector<LinearPlan> qkv; // query, key, value, or one map for all three
  LinearPlan attentionOutput;
  std::optional<ExpertsPlan> experts; // in place of the next three
  std::optional<LinearPlan> gate, up, down;
};

struct DecoderPlan {
  std::string embedding;                            // [vocabulary, hidden]
  std::optional<std::string> positions, tokenTypes; // [context, hidden], [types, hidden]
  std::optional<NormPlan> embeddingNorm;
  std::vector<LayerPlan> layers;
  std::optional<NormPlan> finalNorm;
  std::optional<LinearPlan> head; // none: the embedding is the head's weight too, or an encoder

  /// Every tensor of the modules above and its shape in the file.
  std::map<std::string, std::vector<int64_t>> tensors;
};

/// Names and shapes of everything `config` asks for. `withPrefix`: whether the file's names carry
/// the family's prefix.
DecoderPlan planDecoder(const DecoderConfig &config, bool withPrefix);

/// Whether `tensors` carry the family's prefix; true where neither form is there.
bool hasModulePrefix(const Family &family, const ModelTensors &tensors);

/// Adds what is missing, extra, misshapen or of a dtype that is no weight's.
void checkTensors(const DecoderConfig &config, const DecoderPlan &plan, const ModelTensors &tensors,
                  Problems &problems);

/// The element type, as a graph.source names it, of that dtype of safetensors or GGUF ("F32" is
/// "f32"), or nothing where weights cannot be so.
std::optional<llvm::StringRef> findElementType(llvm::StringRef dtype);

} // namespace kiln

#endif
