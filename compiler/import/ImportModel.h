// The front of the compiler: from a model's folder or file to a verified module of the graph
// dialect.
#ifndef KILN_COMPILER_IMPORT_IMPORTMODEL_H
#define KILN_COMPILER_IMPORT_IMPORTMODEL_H

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"
#include "llvm/Support/Error.h"
#include <optional>

namespace kiln {

/// Elements of the KV cache: Q8 is 8-bit codes with a scale per position and kv head.
enum class CacheElement { F32, F16, Q8 };

struct ImportOptions {
  /// Tokens of one call. Of a decoder at most the context; of an encoder at least, since a text
  /// cannot be cut.
  int64_t maxTokens = 512;
  int64_t pageSize = 64;                // positions of one page of the KV cache
  std::optional<int64_t> contextLength; // shorter than the model's own
  CacheElement cache = CacheElement::F32;
};

/// Imports the model at `path` (findModel of ModelFolder.h). Of a Hugging Face folder config.json,
/// model.safetensors (or shards), and where they are there generation_config.json and
/// tokenizer_config.json, for an encoder also what sentence-transformers adds (SentenceConfig.h);
/// of a GGUF file, or the files of a split model, their headers. Weights are not read; their
/// sources name files relative to the model's folder. The error's text is the full report, one
/// problem a line. What does not stop the import (a begin token outside the vocabulary) is a
/// warning diagnostic of `context`. A decoder's module has the attribute graph.language_model, an
/// encoder's graph.encoder (ir/Graph/README.md).
llvm::Expected<mlir::OwningOpRef<mlir::ModuleOp>>
importModel(llvm::StringRef path, const ImportOptions &options, mlir::MLIRContext &context);

} // namespace kiln

#endif
