// What a model's files say about the work it takes: the sizes of its layers, and its tensors by
// kind.
#ifndef KILN_COMPILER_ESTIMATE_MODELSHAPE_H
#define KILN_COMPILER_ESTIMATE_MODELSHAPE_H

#include "compiler/import/Problems.h"
#include <optional>
#include <string>

namespace kiln {

struct ModelShape {
  std::string architecture;
  int64_t hidden = 0, layers = 0, heads = 0, kvHeads = 0, headDim = 0, intermediate = 0;
  int64_t vocabulary = 0, contextLength = 0;
  /// Positions that a layer with a window attends to, and how many layers have one. 0: none.
  int64_t window = 0, windowedLayers = 0;
  int64_t experts = 0, expertsUsed = 0;

  /// Parameters: of matrices that every token meets, of experts, of the embedding, of the output
  /// head (0: the embedding is the head too), and of everything else (norms, biases).
  uint64_t matrixParameters = 0, expertParameters = 0, embeddingParameters = 0, headParameters = 0,
           otherParameters = 0;
  uint64_t storedBytes = 0; // of all tensors, as the files have them

  uint64_t getParameters() const {
    return matrixParameters + expertParameters + embeddingParameters + headParameters +
           otherParameters;
  }
};

/// Reads a Hugging Face folder or a GGUF file: headers only, no weights. The family need not be one
/// that can be compiled.
std::optional<ModelShape> readModelShape(llvm::StringRef path, Problems &problems);

} // namespace kiln

#endif
