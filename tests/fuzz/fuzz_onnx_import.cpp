// Any bytes as an ONNX model: where the reader takes it, the importer makes a module that verifies,
// or says what is wrong with the model.
#include "compiler/import/onnx/ImportOnnx.h"
#include "ir/Exec/ExecDialect.h"
#include "ir/Graph/GraphDialect.h"
#include "mlir/IR/Verifier.h"

using namespace kiln;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  auto model = readOnnxModel(llvm::ArrayRef<uint8_t>(data, size), "", "m.onnx");
  if (!model) {
    llvm::consumeError(model.takeError());
    return 0;
  }
  mlir::MLIRContext context(mlir::MLIRContext::Threading::DISABLED);
  context.loadDialect<graph::GraphDialect, exec::ExecDialect>();
  auto imported = importOnnx(std::move(*model), {{"N", 0, 8}}, context);
  if (!imported) {
    if (llvm::toString(imported.takeError()).empty())
      __builtin_trap();
    return 0;
  }
  if (failed(mlir::verify(*imported->module)))
    __builtin_trap();
  return 0;
}
