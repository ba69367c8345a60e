// What the ways of emitting a contraction share: the frame, addresses of panels, and the region's
// elementwise ops and stores around tiles of results.
#ifndef KILN_CODEGEN_CONTRACTIONKERNEL_H
#define KILN_CODEGEN_CONTRACTIONKERNEL_H

#include "codegen/ContractionShape.h"
#include "codegen/KernelFrame.h"
#include "codegen/Target.h"
#include "mlir/IR/IRMapping.h"

namespace kiln {

struct ContractionKernel {
  ContractionKernel(exec::KernelOp kernel, const Target &target, mlir::OpBuilder &builder,
                    ContractionShape shape)
      : kernel(kernel), target(target), shape(std::move(shape)), frame(kernel, builder),
        b(frame.builder()), layout(this->shape.layout()) {}

  mlir::Value resultRows() { return frame.rowsOf(resultType()); } // i64
  mlir::AffineExpr resultRowsExpr() { return frame.rowsExprOf(resultType()); }
  mlir::Type resultType();

  /// Address of a panel (i64) of the weight of one of the matmuls.
  mlir::Value panelAddress(graph::MatmulOp matmul, mlir::Value panel);

  /// The elementwise ops and stores for one tile: `tiles` maps the matmuls' results to theirs; row
  /// and column (index) say where the tile lies in the results.
  void emitEpilogue(mlir::IRMapping &tiles, mlir::RankedTensorType type, mlir::Value row,
                    mlir::Value column);

  mlir::Value toIndex(mlir::Value i64);

  exec::KernelOp kernel;
  const Target &target;
  ContractionShape shape;
  KernelFrame frame;
  mlir::ImplicitLocOpBuilder &b;
  PanelLayout layout;
};

} // namespace kiln

#endif
