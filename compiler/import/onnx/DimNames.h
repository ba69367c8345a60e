// Names of dims, by which the user of the compiler gives them bounds.
#ifndef KILN_COMPILER_IMPORT_ONNX_DIMNAMES_H
#define KILN_COMPILER_IMPORT_ONNX_DIMNAMES_H

#include "compiler/import/DimBounds.h"
#include "compiler/import/onnx/OnnxModel.h"

namespace kiln {

/// A dim that bounds decide about, and whose it is: "dim 0 of input x".
struct NamedDim {
  std::string name, owner;
};

/// What a dim of a value is called: as the model says, or after the value, "x_0".
std::string nameOfDim(const OnnxDim &dim, llvm::StringRef value, size_t position);

/// A problem for each of the bounds whose dim is neither among those that the import asked about
/// nor declared by a value of the model. Declared dims may have folded away.
std::vector<std::string> findUnknownDims(const OnnxGraph &graph, llvm::ArrayRef<NamedDim> asked,
                                         llvm::ArrayRef<DimBounds> bounds);

} // namespace kiln

#endif
