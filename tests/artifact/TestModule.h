// Parsing of small modules and files in a folder of their own, for the tests here.
#ifndef KILN_TESTS_ARTIFACT_TESTMODULE_H
#define KILN_TESTS_ARTIFACT_TESTMODULE_H

#include "ir/Exec/ExecDialect.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Parser/Parser.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include <gtest/gtest.h>

namespace kiln {

class TestModule {
public:
  explicit TestModule(llvm::StringRef text) {
    context.loadDialect<graph::GraphDialect, exec::ExecDialect>();
    module = mlir::parseSourceString<mlir::ModuleOp>(text, &context);
  }
  mlir::ModuleOp get() { return *module; }
  graph::WeightOp weight(llvm::StringRef name) {
    return mlir::SymbolTable(*module).lookup<graph::WeightOp>(name);
  }
  explicit operator bool() const { return bool(module); }

private:
  mlir::MLIRContext context{mlir::MLIRContext::Threading::DISABLED};
  mlir::OwningOpRef<mlir::ModuleOp> module;
};

/// A folder that goes with the object.
class TestFolder {
public:
  TestFolder() { EXPECT_FALSE(llvm::sys::fs::createUniqueDirectory("kiln-artifact-test", path)); }
  ~TestFolder() { llvm::sys::fs::remove_directories(path); }

  std::string file(llvm::StringRef name) const {
    llvm::SmallString<128> full(path);
    llvm::sys::path::append(full, name);
    return full.str().str();
  }
  template <typename T> void write(llvm::StringRef name, const std::vector<T> &elements) const {
    std::error_code code;
    llvm::raw_fd_ostream stream(file(name), code);
    ASSERT_FALSE(code);
    stream.write(reinterpret_cast<const char *>(elements.data()), elements.size() * sizeof(T));
  }
  std::vector<std::string> names() const {
    std::vector<std::string> result;
    std::error_code code;
    for (llvm::sys::fs::directory_iterator entry(path, code), end; entry != end && !code;
         entry.increment(code))
      result.push_back(llvm::sys::path::filename(entry->path()).str());
    llvm::sort(result);
    return result;
  }

  llvm::SmallString<128> path;
};

inline std::string readFile(llvm::StringRef path) {
  auto buffer = llvm::MemoryBuffer::getFile(path);
  return buffer ? (*buffer)->getBuffer().str() : "";
}

} // namespace kiln

#endif
