// A model in GGUF form, in the words of the rest of the importer: metadata as the config.json of a
// family, tensors by that family's names.
#ifndef KILN_COMPILER_IMPORT_GGUF_GGUFMODEL_H
#define KILN_COMPILER_IMPORT_GGUF_GGUFMODEL_H

#include "compiler/import/ConfigObject.h"
#include "compiler/import/Family.h"
#include "compiler/import/ModelFolder.h"
#include "compiler/import/gguf/GgufFile.h"

namespace kiln {

/// One file, or the files of a split model, as they are.
struct GgufModel {
  std::string folder;
  std::string file; // the first one's name; its metadata is the model's
  GgufMetadata metadata;
  struct Tensor {
    std::string file; // relative to the folder
    GgufTensor entry;
  };
  std::map<std::string, Tensor> tensors; // by name
  /// xxh64 over the headers of all files, in their order.
  uint64_t hash = 0;
};

/// Reads the headers of `file` in `folder` and, where that is the first of a split model
/// ("name-00001-of-00003.gguf"), of those beside it.
std::optional<GgufModel> readGgufModel(llvm::StringRef folder, llvm::StringRef file,
                                       Problems &problems);

/// A GGUF model as a family's. What GGUF files store otherwise than Hugging Face is in `family`.
struct GgufDecoder {
  /// The family's record as the file's tensors ask for it: linear weights are [out, in], fused ones
  /// are all of q, then k, then v, norms have their offset added.
  Family family;
  ConfigObject config;                // what config.json would say
  ConfigObject generation, tokenizer; // generation_config.json, tokenizer_config.json
  ModelTensors tensors;
  std::string name;
  std::optional<std::string> license;
};

/// Translates the metadata and names of a model whose architecture is known. On any problem gives
/// nothing.
std::optional<GgufDecoder> translateGguf(const GgufModel &model, Problems &problems);

/// Every general.architecture that can be translated: "gemma2, gemma3, …".
std::string listGgufArchitectures();

} // namespace kiln

#endif
