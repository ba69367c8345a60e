// The compiler as one call: from a model's folder to an artifact.
#ifndef KILN_COMPILER_PIPELINE_H
#define KILN_COMPILER_PIPELINE_H

#include "compiler/artifact/ArtifactWriter.h"
#include "compiler/import/DimBounds.h"
#include "llvm/Support/Error.h"
#include <functional>
#include <string>
#include <vector>

namespace kiln {

struct OnnxModel;

/// What the file is: an artifact for the runtime, or a program with the artifact inside.
enum class Emit { Artifact, Executable };

struct CompileOptions {
  std::string model;  // a Hugging Face folder, a GGUF file or an ONNX file
  std::string output; // the artifact to write
  Emit emit = Emit::Artifact;
  std::string launcherFolder; // where the programs are that executables begin with
  /// Names of targets/Targets.def or "host"; the artifact holds one code image for each.
  std::vector<std::string> targets = {"host"};
  /// "none" (weights as in the source), "q8", "q4", or "auto": q4 from 500 million parameters on,
  /// below that q8, which costs such models no quality.
  std::string quant = "auto";
  /// Elements of the KV cache: "f32", "f16", "q8" (8-bit codes with a scale per position and head),
  /// or "auto": f32 where weights are not quantized, else f16.
  std::string kvCache = "auto";
  /// How activations are rounded before they meet quantized weights at decode: "fast" (8 bits in
  /// groups of 32) or "fine" (15 bits).
  std::string activations = "fast";
  std::vector<DimBounds> dims;        // of an ONNX model: bounds of its dims by their names
  std::vector<std::string> overrides; // "glob=format": the format of matching weights
  int64_t contextLength = 0;          // 0: the model's own
  int64_t maxTokens = 512;            // of one call
  unsigned threads = 0;               // 0: as many as the machine runs at once
  bool plainScales = false;           // absmax rounding instead of the scale search, to compare
  std::string onlyKernel; // use only this kernel-list entry and the reference; for tests
  std::string dumpFolder; // write the IR after every stage there
  /// Called at the start of each stage and, while weights are packed, with the share done.
  std::function<void(llvm::StringRef stage, double done)> progress;
};

struct CompileReport {
  WriteReport written;
  std::string quant; // what "auto" became
  std::vector<std::string> targets;
  uint64_t parameters = 0;
  std::vector<std::string> warnings;
};

/// Compiles an ONNX model that has been read; `options.model` is for messages. As compileModel.
llvm::Error compileOnnxModel(std::unique_ptr<OnnxModel> model, const CompileOptions &options,
                             CompileReport &report);

/// Compiles the model. On failure no output file is left and an older one is untouched; the error's
/// text names what is wrong with the model, all of it at once.
llvm::Error compileModel(const CompileOptions &options, CompileReport &report);

} // namespace kiln

#endif
