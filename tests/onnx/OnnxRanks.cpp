#include "tests/onnx/OnnxRanks.h"
#include "compiler/import/onnx/ImportOnnx.h"
#include "ir/Exec/ExecDialect.h"
#include "ir/Graph/GraphDialect.h"
#include "mlir/IR/Verifier.h"
#include "llvm/Support/FormatVariadic.h"

using namespace kiln;

static constexpr size_t kMostDims = 5;

/// Imports the model with that input of that rank.
static llvm::Error tryRank(llvm::StringRef file, size_t input, size_t rank) {
  auto model = readOnnxModel(file);
  if (!model)
    return model.takeError();
  OnnxGraph &graph = (*model)->graph;
  graph.values.clear();
  for (OnnxValue &output : graph.outputs)
    output.hasShape = false;
  OnnxValue &value = graph.inputs[input];
  value.hasShape = true;
  value.shape.assign(rank, {});
  for (OnnxDim &dim : value.shape)
    dim.extent = 2;
  mlir::MLIRContext context(mlir::MLIRContext::Threading::DISABLED);
  context.loadDialect<graph::GraphDialect, exec::ExecDialect>();
  auto imported = importOnnx(std::move(*model), {}, context);
  std::string text = imported ? "" : llvm::toString(imported.takeError());
  bool isSound = imported ? succeeded(mlir::verify(*imported->module)) : !text.empty();
  if (isSound)
    return llvm::Error::success();
  return llvm::createStringError(
      llvm::formatv("input {0} with {1} dims: {2}", input, rank,
                    imported ? "the module does not verify" : "refused without a word")
          .str());
}

llvm::Error onnxtest::tryRanks(llvm::StringRef folder) {
  std::string file = (folder + "/model.onnx").str();
  auto model = readOnnxModel(file);
  if (!model)
    return model.takeError();
  for (auto [i, input] : llvm::enumerate((*model)->graph.inputs))
    for (size_t rank = 0; rank <= kMostDims; ++rank)
      if (input.kind == OnnxValue::Tensor && !(input.hasShape && input.shape.size() == rank))
        if (llvm::Error error = tryRank(file, i, rank))
          return error;
  return llvm::Error::success();
}
