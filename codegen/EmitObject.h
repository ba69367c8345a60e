// From the LLVM dialect to a relocatable object file.
#ifndef KILN_CODEGEN_EMITOBJECT_H
#define KILN_CODEGEN_EMITOBJECT_H

#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/Support/Error.h"

namespace kiln {

struct Target;

enum class ObjectKind { Object, Assembly, LLVMIR };

/// Optimizes and compiles the module; the bytes are an ELF object, or text for the other kinds.
/// Deterministic for equal input.
llvm::Expected<llvm::SmallVector<char, 0>> emitObject(mlir::ModuleOp kernels, const Target &target,
                                                      ObjectKind kind = ObjectKind::Object);

} // namespace kiln

#endif
