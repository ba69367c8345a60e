// How an encoder's last hidden states become one embedding: the files that sentence-transformers
// puts beside a model.
#ifndef KILN_COMPILER_IMPORT_SENTENCECONFIG_H
#define KILN_COMPILER_IMPORT_SENTENCECONFIG_H

#include "compiler/import/ConfigObject.h"
#include <string>

namespace kiln {

enum class Pooling { Mean, Cls, Max };

/// "mean", "cls" or "max".
llvm::StringRef getName(Pooling pooling);

/// What modules.json says.
struct SentenceModules {
  std::string pooling; // the folder of the pooling's config.json; empty: there is none
  bool normalize = false;
};

struct SentenceConfig {
  Pooling pooling = Pooling::Mean;  // as sentence-transformers where no file says anything
  bool normalize = false;           // to length 1
  std::optional<int64_t> maxLength; // tokens of a text, begin and end tokens included
  bool hasPooling = false;          // a file says which
};

/// Parses modules.json: a Transformer in the folder itself, a Pooling, perhaps a Normalize. A
/// module that the runtime does not compute is a problem.
std::optional<SentenceModules> parseSentenceModules(llvm::StringRef file, llvm::StringRef text,
                                                    Problems &problems);

/// The one pooling that its config.json switches on, for embeddings of `hidden` numbers.
std::optional<Pooling> readPooling(const ConfigObject &config, int64_t hidden);

/// Reads modules.json, sentence_bert_config.json and the pooling's config.json of a model's folder,
/// those that are there. `tokenizer` is tokenizer_config.json, whose model_max_length counts where
/// no other file has one.
SentenceConfig readSentenceConfig(llvm::StringRef folder, const ConfigObject &tokenizer,
                                  int64_t hidden, Problems &problems);

} // namespace kiln

#endif
