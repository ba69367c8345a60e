// Matches the kernels of a code image with those of the program, by name: every image implements
// every kernel, in the program's order.
#include "compiler/artifact/ExprFromAffine.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Support/FormatVariadic.h"

using namespace kiln;

llvm::Expected<std::unique_ptr<schema::ImageT>>
kiln::describeImage(const KernelImage &image, const schema::ProgramT &program) {
  llvm::StringMap<const KernelImage::Kernel *> byName;
  for (const KernelImage::Kernel &kernel : image.kernels)
    byName[kernel.name] = &kernel;
  auto described = std::make_unique<schema::ImageT>();
  described->target = image.target;
  described->machine = image.machine;
  described->features = image.features;
  for (const auto &kernel : program.kernels) {
    const KernelImage::Kernel *code = byName.lookup(kernel->name);
    if (!code)
      return llvm::createStringError(
          llvm::formatv("the image for {0} has no kernel '{1}'", image.target, kernel->name).str());
    auto entry = std::make_unique<schema::KernelCodeT>();
    entry->entry = code->entry;
    auto items = exprFromAffine(code->items);
    if (!items)
      return items.takeError();
    entry->items = std::move(*items);
    auto scratch = exprFromAffine(code->scratchBytes);
    if (!scratch)
      return scratch.takeError();
    entry->scratch_bytes = std::move(*scratch);
    if (code->counters < 0 || code->counters > 4096)
      return llvm::createStringError(
          llvm::formatv("kernel '{0}' for {1}: expected 0 to 4096 counters, found {2}",
                        kernel->name, image.target, code->counters)
              .str());
    entry->counters = uint32_t(code->counters);
    entry->implementation = code->implementation;
    entry->refused = code->refused;
    described->kernels.push_back(std::move(entry));
  }
  return described;
}
