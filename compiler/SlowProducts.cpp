// A product that the fast kernels refuse (weights in a format that a convolution does not take,
// groups that are no whole vectors) is computed by a kernel made from its meaning alone, many times
// slower. That is worth a line: nothing else tells it but `kiln inspect`.
#include "compiler/SlowProducts.h"
#include "ir/Exec/ExecDialect.h"
#include "ir/Graph/GraphDialect.h"
#include "ir/Graph/Operators.h"
#include "llvm/ADT/StringExtras.h"

using namespace mlir;
using namespace kiln;

/// Weights of fewer elements are not worth a word.
static constexpr int64_t kFewElements = 4096;
static constexpr size_t kNamed = 3;

static std::string nameOf(Operation *op) {
  std::string name;
  op->getLoc()->walk([&](Location part) {
    auto named = dyn_cast<NameLoc>(part);
    if (!named)
      return WalkResult::advance();
    name = named.getName().str();
    return WalkResult::interrupt();
  });
  return name.empty() ? op->getName().getStringRef().str() : name;
}

/// The convolution or matrix product of a kernel whose weight is worth a word; null otherwise.
static Operation *findProduct(exec::KernelOp kernel) {
  Operation *found = nullptr;
  kernel.walk([&](Operation *op) {
    auto compute = dyn_cast<graph::ComputeOp>(op);
    if (!isa<graph::MatmulOp>(op) && !(compute && compute.getKind() == "conv"))
      return;
    auto weight = cast<RankedTensorType>(op->getOperand(1).getType());
    if (weight.hasStaticShape() && weight.getNumElements() >= kFewElements)
      found = op;
  });
  return found;
}

/// Why the fast kernel for it refused, without the kernel's name.
static std::string reasonOf(Operation *product, const KernelImage::Kernel &kernel) {
  StringRef wanted = isa<graph::MatmulOp>(product) ? "contraction-fma: " : "convolution-direct: ";
  for (StringRef refused : kernel.refused)
    if (refused.consume_front(wanted))
      return refused.str();
  return "no kernel for it";
}

std::string kiln::describeSlowProducts(ModuleOp module, const KernelImage &image) {
  SmallVector<std::string> named;
  size_t count = 0;
  for (auto [op, kernel] : llvm::zip(module.getOps<exec::KernelOp>(), image.kernels)) {
    StringRef implementation = kernel.implementation;
    Operation *product = findProduct(op);
    if (!product || implementation.starts_with("contraction-") ||
        implementation.starts_with("convolution-"))
      continue;
    if (++count <= kNamed)
      named.push_back(nameOf(product) + " (" + reasonOf(product, kernel) + ")");
  }
  if (count == 0)
    return "";
  if (count > kNamed)
    named.push_back("and " + std::to_string(count - kNamed) + " more");
  return image.target + ": no fast kernel takes " + std::to_string(count) +
         (count == 1 ? " product, which" : " products, which") +
         " will be slow: " + llvm::join(named, ", ");
}
