// How a kernel around matmuls walks its work items: blocks of rows, panels fastest, each block's
// rows prepared once per worker; and the loop over tiles of a block's rows.
#ifndef KILN_CODEGEN_ROWBLOCKS_H
#define KILN_CODEGEN_ROWBLOCKS_H

#include "codegen/KernelFrame.h"
#include "codegen/Target.h"

namespace kiln {

/// A worker's scratch begins with the number of the block that is prepared behind it.
class RowBlocks {
public:
  static constexpr int64_t kNumberBytes = 64;

  explicit RowBlocks(KernelFrame &frame) : frame(frame), b(frame.builder()) {}

  /// Address of the scratch behind the block's number.
  mlir::Value scratch();

  /// At the kernel's start: a worker that comes back with another range of the same launch finds
  /// its block still prepared, any other finds none.
  void begin();

  /// The blocks of `rows` (i64), `rowsPerBlock` (i64) each, that the worker's range touches:
  /// `prepare` where the block is not prepared, then `body` with which of the block's `items` are
  /// asked for, [from, to).
  void forEach(mlir::Value rows, mlir::Value rowsPerBlock, int64_t items,
               llvm::function_ref<void(mlir::Value first, mlir::Value count)> prepare,
               llvm::function_ref<void(mlir::Value first, mlir::Value count, mlir::Value from,
                                       mlir::Value to)>
                   body);
  /// Runs `prepare` unless `block` (i64) is prepared.
  void ifNotPrepared(mlir::Value block, llvm::function_ref<void()> prepare);

private:
  KernelFrame &frame;
  mlir::ImplicitLocOpBuilder &b;
};

/// A loop over tiles of `count` rows (i64) in heights that the target likes, at most `most`; `body`
/// gets a tile's first row (index) and the type of its results: tensor<?x16xf32>.
void forTiles(mlir::ImplicitLocOpBuilder &b, const Target &target, mlir::Value count, int64_t most,
              llvm::function_ref<void(mlir::Value tileRow, mlir::RankedTensorType type)> body);

/// The same in given heights, descending to 1.
void forTiles(mlir::ImplicitLocOpBuilder &b, llvm::ArrayRef<int64_t> heights, mlir::Value count,
              llvm::function_ref<void(mlir::Value tileRow, mlir::RankedTensorType type)> body);

} // namespace kiln

#endif
