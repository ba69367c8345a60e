// Links an object of kernels to a position-independent image.
#ifndef KILN_CODEGEN_LINKIMAGE_H
#define KILN_CODEGEN_LINKIMAGE_H

#include "codegen/KernelImage.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/Support/Error.h"

namespace kiln {

/// Links `object` with ld.lld into a shared image without imports and with relative relocations
/// only, and fills `image.elf` and the entry of each of `image.kernels`, found by name.
llvm::Error linkImage(llvm::ArrayRef<char> object, KernelImage &image);

} // namespace kiln

#endif
