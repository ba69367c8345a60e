// An ONNX model as a graph module: one function, `main`, whose arguments and results are the
// graph's.
#ifndef KILN_COMPILER_IMPORT_ONNX_IMPORTONNX_H
#define KILN_COMPILER_IMPORT_ONNX_IMPORTONNX_H

#include "compiler/import/onnx/ArrayBuilder.h"
#include "mlir/IR/OwningOpRef.h"

namespace kiln {

struct ImportedOnnx {
  mlir::OwningOpRef<mlir::ModuleOp> module;
  std::unique_ptr<OnnxModel> model;
  std::vector<ConstantTensor> kept;
  MemorySources sources; // of the module's weights; in `model` and `kept`
};

/// Translates a model. `bounds` are those of dims by their names in the model; an input's dim
/// without a name is called <input>_<position>. One whose bounds are equal is fixed. A sequence at
/// the boundary is its tensors, <name>.0, <name>.1 and so on; how many an input has, the bounds of
/// "<input>.length" say, and those of an optional's whether it is there. All operators
/// that are not supported are told at once, with the names of their nodes.
llvm::Expected<ImportedOnnx> importOnnx(std::unique_ptr<OnnxModel> model,
                                        llvm::ArrayRef<DimBounds> bounds,
                                        mlir::MLIRContext &context);

} // namespace kiln

#endif
