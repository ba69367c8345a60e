// The last stage of a compile: a planned module, code images and a tokenizer become a .kiln file.
#ifndef KILN_COMPILER_ARTIFACT_ARTIFACTWRITER_H
#define KILN_COMPILER_ARTIFACT_ARTIFACTWRITER_H

#include "codegen/KernelImage.h"
#include "compiler/artifact/QuantizeSymmetric.h"
#include "compiler/artifact/SourceFiles.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/Support/Error.h"
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace kiln {

struct WriteOptions {
  unsigned threads = 0; // 0: as many as the machine runs at once
  ScaleChoice scales = ScaleChoice::Search;
  std::optional<std::vector<uint8_t>> chat; // a chat section
  const MemorySources *memory = nullptr;    // sources of weights that are no files
  std::vector<uint8_t> launcher;            // the program of an executable; empty for an artifact
  /// Called as weights are written, from any thread, one call at a time: bytes of the weights
  /// section written and to write, and the weight that is being packed.
  std::function<void(uint64_t doneBytes, uint64_t totalBytes, llvm::StringRef weight)> progress;
};

struct WriteReport {
  struct Weight {
    std::string name, format;
    uint64_t sizeBytes;
    double relativeRmsError; // against the source; 0 where exact
  };
  uint64_t fileBytes = 0; // of the artifact, and the launcher and trailer of an executable
  uint64_t totalBytes = 0, programBytes = 0, codeBytes = 0, tokenizerBytes = 0, chatBytes = 0,
           weightBytes = 0;
  std::vector<Weight> weights;
  uint64_t peakResidentBytes = 0; // of the process, so far
};

/// Writes the artifact to `outPath`, replacing what is there once it is complete; after an error
/// nothing is left behind. `sourceFolder` is what the files of graph.weight sources are relative
/// to. The same input gives the same bytes, whatever the number of threads.
llvm::Error writeArtifact(mlir::ModuleOp module, llvm::StringRef sourceFolder,
                          llvm::ArrayRef<KernelImage> images,
                          const std::optional<std::vector<uint8_t>> &tokenizer,
                          llvm::StringRef outPath, const WriteOptions &options,
                          WriteReport &report);

} // namespace kiln

#endif
