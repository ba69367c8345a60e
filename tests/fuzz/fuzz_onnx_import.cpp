// Any bytes as an ONNX model: where the reader takes it, the importer makes a module that verifies
// or says what is wrong with the model. Half of the models (by their size) have bounds for any dim,
// 0 to 8.
#include "compiler/import/onnx/DimNames.h"
#include "compiler/import/onnx/ImportOnnx.h"
#include "ir/Exec/ExecDialect.h"
#include "ir/Graph/GraphDialect.h"
#include "mlir/IR/Verifier.h"
#include <set>

using namespace kiln;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  auto model = readOnnxModel(llvm::ArrayRef<uint8_t>(data, size), "", "m.onnx");
  if (!model) {
    llvm::consumeError(model.takeError());
    return 0;
  }
  mlir::MLIRContext context(mlir::MLIRContext::Threading::DISABLED);
  context.loadDialect<graph::GraphDialect, exec::ExecDialect>();
  std::vector<DimBounds> bounds;
  std::set<std::string> named;
  for (const OnnxValue &input : (*model)->graph.inputs)
    for (size_t i = 0; size % 2 && i < input.shape.size(); ++i)
      if (std::string name = nameOfDim(input.shape[i], input.name, i);
          input.shape[i].extent < 0 && named.insert(name).second)
        bounds.push_back({name, 0, 8});
  auto imported = importOnnx(std::move(*model), bounds, context);
  if (!imported) {
    if (llvm::toString(imported.takeError()).empty())
      __builtin_trap();
    return 0;
  }
  if (failed(mlir::verify(*imported->module)))
    __builtin_trap();
  return 0;
}
