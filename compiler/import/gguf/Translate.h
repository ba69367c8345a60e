// The steps of translateGguf (GgufModel.h).
#ifndef KILN_COMPILER_IMPORT_GGUF_TRANSLATE_H
#define KILN_COMPILER_IMPORT_GGUF_TRANSLATE_H

#include "compiler/import/gguf/GgufModel.h"
#include <nlohmann/json.hpp>

namespace kiln {

/// A line of Architectures.def.
struct GgufArchitecture {
  llvm::StringLiteral name, modelType, withWindow, withExperts;
  bool interleaved;
};

/// The model's architecture, or null with a problem that lists all.
const GgufArchitecture *findArchitecture(const GgufMetadata &metadata, Problems &problems);

/// The architecture's metadata under the keys that `family` reads in config.json.
nlohmann::json translateConfig(const GgufModel &model, const GgufArchitecture &architecture,
                               const Family &family, Problems &problems);

/// The begin and end tokens under the keys of generation_config.json.
nlohmann::json translateGeneration(const GgufMetadata &metadata, Problems &problems);
/// add_bos_token and chat_template, as in tokenizer_config.json.
nlohmann::json translateTokenizerConfig(const GgufMetadata &metadata, Problems &problems);

/// The tensors under the names that `family` gives them; one that it has no name for keeps its own.
/// `headDim`: rows of a query or key head, for architectures whose rows are interleaved.
ModelTensors translateTensors(const GgufModel &model, const GgufArchitecture &architecture,
                              const Family &family, int64_t headDim, Problems &problems);

/// Tensors that hold divisors of rope's frequencies: they become configuration.
inline constexpr llvm::StringLiteral ropeDivisors = "rope_freqs.weight",
                                     longRopeDivisors = "rope_factors_long.weight",
                                     shortRopeDivisors = "rope_factors_short.weight";

} // namespace kiln

#endif
