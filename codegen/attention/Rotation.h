// Rotary embedding in attention kernels: angles once per token, rows of heads from them.
#ifndef KILN_CODEGEN_ATTENTION_ROTATION_H
#define KILN_CODEGEN_ATTENTION_ROTATION_H

#include "codegen/attention/AttentionFrame.h"

namespace kiln {

class Rotation {
public:
  explicit Rotation(AttentionFrame &frame);

  /// Sines and cosines of all tokens of the call, to scratch.
  void emitAngles();
  /// A head's row of query or key, normalised, rotated and times `scale`, to f32 [head_dim] at
  /// `destination`.
  void emitRow(const HeadSource &source, mlir::Value token, mlir::Value head,
               mlir::Value destination, double scale);

private:
  struct Table {
    graph::RopeOp rope;
    int64_t offset; // in a token's record: sines, then cosines
  };
  const Table &tableOf(graph::RopeOp rope);
  /// `scale` over the root of the row's mean square, f32.
  mlir::Value normFactor(graph::RmsNormOp norm, mlir::Value row, double scale);

  AttentionFrame &f;
  mlir::ImplicitLocOpBuilder &b;
  llvm::SmallVector<Table, 2> tables;
};

} // namespace kiln

#endif
