// Imports a folder and asks the module simple questions.
#ifndef KILN_TESTS_IMPORT_IMPORTEDMODULE_H
#define KILN_TESTS_IMPORT_IMPORTEDMODULE_H

#include "compiler/import/ImportModel.h"
#include "ir/Graph/GraphDialect.h"
#include "mlir/Parser/Parser.h"
#include "llvm/Support/raw_ostream.h"
#include <gtest/gtest.h>
#include <map>

namespace kiln::testing {

class ImportedModule {
public:
  explicit ImportedModule(const std::string &folder, const ImportOptions &options = {}) {
    auto result = importModel(folder, options, context);
    if (result)
      module = std::move(*result);
    else
      error = llvm::toString(result.takeError());
  }

  /// The one function: @decode, or an encoder's @encode.
  graph::FuncOp getDecode() { return *module->getOps<graph::FuncOp>().begin(); }
  graph::WeightOp getWeight(llvm::StringRef name) {
    return module->lookupSymbol<graph::WeightOp>(name);
  }

  /// How many of each op the function has, without the prefix "graph.".
  std::map<std::string, int> countOps() {
    std::map<std::string, int> counts;
    getDecode().walk([&](mlir::Operation *op) { ++counts[op->getName().stripDialect().str()]; });
    return counts;
  }

  std::string print(mlir::Attribute attribute) {
    std::string text;
    llvm::raw_string_ostream(text) << attribute;
    return text;
  }
  std::string printType(mlir::Type type) {
    std::string text;
    llvm::raw_string_ostream(text) << type;
    return text;
  }
  std::string print() {
    std::string text;
    llvm::raw_string_ostream stream(text);
    module->print(stream);
    return text;
  }

  mlir::MLIRContext context;
  mlir::OwningOpRef<mlir::ModuleOp> module;
  std::string error;
};

} // namespace kiln::testing

#endif
