// The artifact's program as plain structs, and how a module is described by them. The structs are
// those that flatc generates from runtime/schema/program.fbs: one description of the format, not
// two.
#ifndef KILN_COMPILER_ARTIFACT_PROGRAMDESCRIPTION_H
#define KILN_COMPILER_ARTIFACT_PROGRAMDESCRIPTION_H

#include "codegen/KernelImage.h"
#include "compiler/artifact/schema/program_generated.h"
#include "ir/Graph/GraphDialect.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/Support/Error.h"

namespace kiln {

struct ProgramDescription {
  schema::ProgramT program; // without images
  /// The weights of program.weights, in its order. Symbols that declare the same bytes share one.
  std::vector<graph::WeightOp> weights;
};

/// Describes the exec.func ops of a planned module: schedule, kernels, weights (with their places
/// in the weights section), and the facts in the attributes `graph.facts` and
/// `graph.language_model`.
llvm::Expected<ProgramDescription> describeProgram(mlir::ModuleOp module);

/// Describes how `image` implements program.kernels; its section is left 0.
llvm::Expected<std::unique_ptr<schema::ImageT>> describeImage(const KernelImage &image,
                                                              const schema::ProgramT &program);

/// The flatbuffer. Its size does not depend on the values of scalars.
std::vector<uint8_t> serializeProgram(const schema::ProgramT &program);

} // namespace kiln

#endif
