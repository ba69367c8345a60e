// The text part of a model that also sees: a config and tensors of their own among the others.
#ifndef KILN_COMPILER_IMPORT_TEXTPART_H
#define KILN_COMPILER_IMPORT_TEXTPART_H

#include "compiler/import/ConfigObject.h"
#include "compiler/import/ModelFolder.h"

namespace kiln {

/// Where `config` is of a model whose text part a family is (Family::multimodalTypes), gives its
/// `text_config`, with what only the whole has; else nothing.
std::optional<ConfigObject> findTextConfig(const ConfigObject &config);

/// Gives the text part's tensors the names they have in a model of text alone and takes those of
/// other parts out; returns how many.
size_t takeTextTensors(ModelTensors &tensors);

} // namespace kiln

#endif
