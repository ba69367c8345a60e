// Where a model's files are, and the tensors of a Hugging Face folder: one safetensors file, or
// shards with an index.
#ifndef KILN_COMPILER_IMPORT_MODELFOLDER_H
#define KILN_COMPILER_IMPORT_MODELFOLDER_H

#include "compiler/import/SafetensorsFile.h"
#include <map>
#include <string>

namespace kiln {

/// Where a model lies.
struct ModelPlace {
  std::string folder;
  std::string
      gguf; // the GGUF file in it, the first of a split model's; empty: Hugging Face's files
  std::string onnx; // the ONNX file in it; empty: one of the others
};

/// What `path` means: a GGUF or ONNX file, or a folder with Hugging Face's files or else with one
/// model of those.
std::optional<ModelPlace> findModel(llvm::StringRef path, Problems &problems);

struct ModelTensor {
  std::string file;       // relative to the model's folder
  SafetensorsEntry entry; // its name and dtype are as the file has them
  /// Rows of a head whose rows the file has interleaved (graph.source); 0: in order.
  int64_t interleaved = 0;
};

struct ModelTensors {
  std::map<std::string, ModelTensor> byName;
  /// xxh64 over the headers of all files, in the order of the files' names.
  uint64_t hash = 0;
};

/// Finds model.safetensors or model.safetensors.index.json in `folder` and reads all headers.
std::optional<ModelTensors> readModelTensors(llvm::StringRef folder, Problems &problems);

/// Whether a name from a file names a file beside it: no separator, not "..".
bool isPlainFileName(llvm::StringRef name);

/// The `weight_map` of an index: tensor name to shard, in order of the names. Shards are plain file
/// names; anything that could leave the folder is a problem.
std::optional<std::map<std::string, std::string>>
parseShardIndex(llvm::StringRef file, llvm::StringRef text, Problems &problems);

} // namespace kiln

#endif
