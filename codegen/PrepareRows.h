// The prologue of a contraction: brings rows of an activation into the form a dot strategy wants,
// applying a norm on the way.
#ifndef KILN_CODEGEN_PREPAREROWS_H
#define KILN_CODEGEN_PREPAREROWS_H

#include "codegen/DotStrategy.h"
#include "codegen/KernelFrame.h"
#include "codegen/MatrixUnit.h"
#include "ir/Exec/ExecDialect.h"
#include <string>

namespace kiln {

/// What a contraction's left operand is: rows of a kernel parameter, possibly picked by an index
/// parameter, possibly normalised. Numbers are positions of kernel parameters.
struct RowSource {
  unsigned parameter = 0;
  std::optional<unsigned> picks;   // index vector of a graph.gather
  mlir::Operation *norm = nullptr; // rms_norm or layer_norm
  int64_t columns = 0;             // logical
  int64_t stride = 0;              // elements from row to row of the parameter

  /// Matches `value` inside the kernel's body; on failure `reason` says what stands in the way.
  static std::optional<RowSource> match(mlir::Value value, exec::KernelOp kernel,
                                        std::string &reason);
};

/// Prepares the rows first .. first+count-1 (i64 values) of `source` into scratch at `destination`.
/// `zero` is the weights' code of 0 when the strategy takes unsigned weights, else 0.
void emitPrepareRows(KernelFrame &frame, const RowSource &source, const PreparedRows &rows,
                     int64_t zero, mlir::Value first, mlir::Value count, mlir::Value destination);

/// Prepares the one row whose columns begin at the address `row`.
void emitPrepareRow(KernelFrame &frame, const RowSource &source, const PreparedRows &rows,
                    int64_t zero, mlir::Value row, mlir::Value destination);

/// Prepares them as left operands of a matrix unit instead: tiles [row tile][group][16][32] of
/// bf16, `groups` of 32 columns each. Rows past `count` up to a multiple of 32 become zeros. With
/// `parts` other than 1 each group is as many tiles behind each other (codegen/SplitFloat.h). With
/// `firstGroup` (i64) they are the groups from there on, all of them whole.
void emitPrepareTiles(KernelFrame &frame, const RowSource &source, const MatrixUnit &unit,
                      int64_t groups, int64_t parts, mlir::Value first, mlir::Value count,
                      mlir::Value destination, mlir::Value firstGroup = {});

} // namespace kiln

#endif
