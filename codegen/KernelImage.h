// What code generation hands to the artifact writer: one linked image and what the runtime must
// know of each kernel in it.
#ifndef KILN_CODEGEN_KERNELIMAGE_H
#define KILN_CODEGEN_KERNELIMAGE_H

#include "mlir/IR/AffineMap.h"
#include <cstdint>
#include <string>
#include <vector>

namespace kiln {

/// Machine code of all kernels of a module for one target. Kernels are in the module's order of
/// exec.kernel ops; maps are over the exec functions' dims as symbols.
struct KernelImage {
  struct Kernel {
    std::string name;
    uint64_t entry = 0; // virtual address in the image
    mlir::AffineMap items, scratchBytes;
    int64_t counters = 0;             // 32-bit words common to the workers of a launch
    std::string implementation;       // the kernel-list entry that won
    std::vector<std::string> refused; // "name: reason" of better entries
  };
  std::string target;
  uint16_t machine = 0;              // ELF e_machine
  std::vector<std::string> features; // the device must have
  std::vector<uint8_t> elf;
  std::vector<Kernel> kernels;
};

} // namespace kiln

#endif
