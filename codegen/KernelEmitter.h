// One way to turn an exec.kernel into a function: an entry of a target's ordered kernel list.
#ifndef KILN_CODEGEN_KERNELEMITTER_H
#define KILN_CODEGEN_KERNELEMITTER_H

#include "ir/Exec/ExecDialect.h"
#include "mlir/IR/AffineMap.h"
#include <optional>
#include <string>

namespace kiln {

struct Target;

/// What the runtime must know of an emitted kernel. Maps are over the kernel's dims as symbols,
/// one result each (scratch may have several: their maximum counts).
struct KernelCode {
  mlir::AffineMap items;        // number of work items of a launch
  mlir::AffineMap scratchBytes; // per worker
  int64_t counters = 0;         // 32-bit words of a launch's own, common to its workers (abi.h)
};

struct KernelEmitter {
  llvm::StringLiteral name;

  /// Why this emitter does not take the kernel on that target; nullopt where it does. A reason is
  /// a sentence for `kiln inspect`.
  std::optional<std::string> (*refuse)(exec::KernelOp kernel, const Target &target);

  /// Builds `func.func @<kernel's name>(%args: !llvm.ptr)` at the builder's insertion point (a
  /// module body), where %args points at a kiln_kernel_args (runtime/include/kiln/abi.h). The body
  /// may use func, scf, cf, arith, math, vector, memref, exec.tile_* and llvm ops; lowering them is
  /// the driver's work (codegen/GenerateCode.cpp). Only called on kernels it does not refuse.
  mlir::FailureOr<KernelCode> (*emit)(exec::KernelOp kernel, const Target &target,
                                      mlir::OpBuilder &builder);
};

} // namespace kiln

#endif
