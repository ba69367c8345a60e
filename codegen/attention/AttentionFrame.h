// The kernel frame of attention: pages of the cache, tokens, and a layout of scratch.
#ifndef KILN_CODEGEN_ATTENTION_ATTENTIONFRAME_H
#define KILN_CODEGEN_ATTENTION_ATTENTIONFRAME_H

#include "codegen/EmitSupport.h"
#include "codegen/KernelFrame.h"
#include "codegen/attention/AttentionShape.h"

namespace kiln {

/// Shared by the parts of an attention kernel. Every part reserves its scratch when it is
/// constructed; after `emitFrame` they emit.
class AttentionFrame {
public:
  AttentionFrame(exec::KernelOp kernel, mlir::OpBuilder &builder, const AttentionShape &shape);

  static constexpr int64_t kLanes = 16;

  exec::KernelOp kernel;
  AttentionShape shape;
  KernelFrame frame;
  mlir::ImplicitLocOpBuilder &b;
  graph::CacheType cache;
  int64_t headDim, pageSize, kvHeads, group;
  int64_t headLanes; // widest vector of at most 16 that divides headDim
  int64_t window;    // positions that a token sees, 0: all before it
  mlir::Type f32Type;
  mlir::Value tokens; // i64: rows of this call

  /// Bytes of this worker's scratch, from a multiple of 64; the offset.
  int64_t reserve(int64_t bytes);
  /// The same, for every token of the call, after everything else.
  int64_t reservePerToken(int64_t bytes);
  /// Where `reserve` or, with a token's index, `reservePerToken` put something.
  mlir::Value scratch(int64_t offset);
  mlir::Value tokenScratch(int64_t offset, mlir::Value token);
  /// Scratch of a launch as an expression over the kernel's dims.
  mlir::AffineExpr scratchBytes();

  mlir::Value position(mlir::Value token); // i64
  mlir::Value slot(mlir::Value token);     // i64
  /// First position that a token at `position` sees; i64.
  mlir::Value firstSeen(mlir::Value position);
  /// Whether every token sees all of its sequence, not only what precedes it.
  bool seesAll() { return bool(shape.op.getLengths()); }
  /// What follows the last position that `count` neighbouring tokens of a sequence, from one at
  /// `position` on, see; i64.
  mlir::Value endSeen(mlir::Value slot, mlir::Value position, mlir::Value count);
  mlir::Value index(mlir::Value operand, mlir::Value at); // element of an i32 parameter, as i64

  /// Address of the page that holds positions page * pageSize ... of a sequence.
  mlir::Value pageAddress(mlir::Value slot, mlir::Value page);
  /// Keys [head_dim][page_size] and values [page_size][head_dim] of a head of a page.
  mlir::Value keysOf(mlir::Value page, mlir::Value head);
  mlir::Value valuesOf(mlir::Value page, mlir::Value head);
  /// f32 [page_size] behind them where the cache has scales.
  mlir::Value scalesOf(mlir::Value codes);
  bool hasScales() const { return cache.hasScales(); }
  int64_t elementBytes() const { return cache.getElementBytes(); }
  /// Loads `lanes` elements as f32, without their scale.
  mlir::Value loadElements(mlir::Value address, int64_t lanes);

  /// First element of a head in a row of query, key or value.
  mlir::Value sourceRow(const HeadSource &source, mlir::Value token, mlir::Value head);
  /// First element of a query head in a row of the result.
  mlir::Value resultRow(mlir::Value token, mlir::Value queryHead);

  /// Before scores are changed by slopes: writes the slopes of all heads to scratch.
  void emitSlopes();
  /// Whether `changeScores` does anything.
  bool changesScores() { return shape.op.getSoftcap() || shape.op.getSlopes(); }
  /// 16 scores (in units of log2 e) after their limit and the linear bias of their distance.
  /// `queryHead` and `distance`, position of the first score less the query's, are i64.
  mlir::Value changeScores(mlir::Value scores, mlir::Value queryHead, mlir::Value distance);

  mlir::VectorType vector(int64_t lanes) { return emit::vectorOf(lanes, f32Type); }
  mlir::Value max(mlir::Value x, mlir::Value y);
  /// The largest lane and the sum of lanes, by halves; scalars.
  mlir::Value reduceMax(mlir::Value vector);
  mlir::Value reduceAdd(mlir::Value vector);
  /// 2^x for x <= 0 and finite, exactly 0 below -125 and exactly 1 at 0; relative error below 2e-4
  /// for degree 3, 5e-6 for 4, 3e-7 for 5.
  mlir::Value exp2(mlir::Value x, int64_t degree);

  /// The widest power of two up to 16 that divides `extent`.
  static int64_t widestLanes(int64_t extent) { return std::min<int64_t>(kLanes, extent & -extent); }

private:
  mlir::Value halves(mlir::Value vector,
                     llvm::function_ref<mlir::Value(mlir::Value, mlir::Value)> combine);

  mlir::Value tableColumns;
  int64_t fixedBytes = 0, tokenBytes = 0, slopeOffset = 0;
  bool sealed = false;
};

} // namespace kiln

#endif
