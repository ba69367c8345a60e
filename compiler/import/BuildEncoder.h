// Builds the graph of an encoder from its plan.
#ifndef KILN_COMPILER_IMPORT_BUILDENCODER_H
#define KILN_COMPILER_IMPORT_BUILDENCODER_H

#include "compiler/import/DecoderPlan.h"
#include "compiler/import/ImportModel.h"

namespace kiln {

/// Builds `module { graph.dim…; graph.weight…; graph.func @encode }`. Every tensor of the plan must
/// be in `tensors`, checked by checkTensors.
mlir::OwningOpRef<mlir::ModuleOp> buildEncoder(const DecoderConfig &config, const DecoderPlan &plan,
                                               const ModelTensors &tensors,
                                               const ImportOptions &options,
                                               mlir::MLIRContext &context);

} // namespace kiln

#endif
