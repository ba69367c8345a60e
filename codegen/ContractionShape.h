// The parts of a fused region around matmuls, as the contraction emitters understand it.
#ifndef KILN_CODEGEN_CONTRACTIONSHAPE_H
#define KILN_CODEGEN_CONTRACTIONSHAPE_H

#include "codegen/PrepareRows.h"
#include "ir/PanelLayout.h"

namespace kiln {

/// [gather] [norm] -> one or more matmuls of the same rows -> elementwise ops with rows, vectors
/// and each other -> results.
struct ContractionShape {
  llvm::SmallVector<graph::MatmulOp> matmuls;
  RowSource rows;
  const Format *format = nullptr;
  int64_t outputs = 0;                           // columns of every matmul
  int64_t depth = 0;                             // logical
  llvm::SmallVector<mlir::Operation *> epilogue; // elementwise, in order

  /// On failure `reason` says what stands in the way.
  static std::optional<ContractionShape> match(exec::KernelOp kernel, std::string &reason);

  PanelLayout layout() const { return PanelLayout(*format, outputs, depth); }
};

} // namespace kiln

#endif
