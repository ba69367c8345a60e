// Streams weights from their source files through quantization into the artifact's layout.
#ifndef KILN_COMPILER_ARTIFACT_WEIGHTPACKER_H
#define KILN_COMPILER_ARTIFACT_WEIGHTPACKER_H

#include "compiler/artifact/QuantizeSymmetric.h"
#include "compiler/artifact/SourceFiles.h"
#include "ir/Graph/GraphDialect.h"
#include "ir/PanelLayout.h"
#include "llvm/ADT/STLFunctionalExtras.h"

namespace kiln {

struct PackOptions {
  unsigned threads = 0; // 0: as many as the machine runs at once
  ScaleChoice scales = ScaleChoice::Search;
};

/// Takes the bytes of a weight in order. Called from several threads, one at a time.
using ByteSink = llvm::function_ref<llvm::Error(llvm::ArrayRef<uint8_t>)>;

/// Bytes of the weight as its format and layout store it.
llvm::Expected<uint64_t> getPackedBytes(graph::WeightOp weight);

class WeightPacker {
public:
  /// Sources are names of files relative to `sourceFolder`, or of bytes in `memory`.
  WeightPacker(llvm::StringRef sourceFolder, const PackOptions &options,
               const MemorySources *memory = nullptr)
      : files(sourceFolder, memory), options(options) {}

  /// Writes getPackedBytes(weight) bytes to `sink` and returns what was lost. The bytes and the
  /// sums do not depend on the number of threads. Memory: a few megabytes for each thread, or one
  /// panel where that is more.
  llvm::Expected<ErrorSums> pack(graph::WeightOp weight, ByteSink sink);

private:
  llvm::Expected<ErrorSums> packRaw(graph::WeightOp weight, ByteSink sink);
  llvm::Expected<ErrorSums> packCodes(graph::WeightOp weight, const PanelLayout &layout,
                                      ByteSink sink);

  SourceFiles files;
  PackOptions options;
};

/// sqrt(squaredError / squaredValues); 0 where nothing was lost.
double relativeRmsError(const ErrorSums &sums);

} // namespace kiln

#endif
