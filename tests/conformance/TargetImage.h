// A kernel compiled for one target and a way to call it here.
#ifndef KILN_TESTS_CONFORMANCE_TARGETIMAGE_H
#define KILN_TESTS_CONFORMANCE_TARGETIMAGE_H

#include "Conformance.h"
#include "codegen/KernelImage.h"
#include "codegen/Target.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/IR/OwningOpRef.h"

namespace kiln::test {

/// Whether kernels of the target can be called here, and if not why.
bool canRun(const Target &target, std::string &reason);

class TargetImage {
public:
  /// Compiles `kernel` with the entry `only` of the target's list, unless that refuses it.
  TargetImage(const ConformanceCase &kernel, const Target &target, llvm::StringRef only);
  ~TargetImage();
  TargetImage(const TargetImage &) = delete;

  bool refused() const { return notTaken; }
  /// Empty when it compiled.
  const std::string &problem() const { return text; }
  /// Calls the kernel on all items. False with a problem.
  bool run(Call &call);

private:
  bool runHere(Call &call, int64_t items, int64_t scratchBytes);
  bool runEmulated(Call &call, int64_t items, int64_t scratchBytes);

  mlir::MLIRContext context;
  KernelImage image;
  std::string text, path;
  void *library = nullptr;
  bool notTaken = false;
};

} // namespace kiln::test

#endif
