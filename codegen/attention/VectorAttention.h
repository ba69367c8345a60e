// Attention of a few rows by vectors.
#ifndef KILN_CODEGEN_ATTENTION_VECTORATTENTION_H
#define KILN_CODEGEN_ATTENTION_VECTORATTENTION_H

#include "codegen/attention/Rotation.h"

namespace kiln {

struct Target;

/// Attends with the query heads of one kv head of up to `maxTokens` neighbouring tokens: positions
/// and cache slots follow each other. Rows are (token, query head of the group).
///
/// The context is cut into segments of kSegmentPages pages, whatever is to come; each gives a state
/// (outputs, maxima, sums), and states are merged in order. So a row's result is the same bits
/// whoever computes the segments and whatever rows are beside it.
class VectorAttention {
public:
  VectorAttention(AttentionFrame &frame, Rotation &rotation, const Target &target,
                  int64_t maxTokens);

  static constexpr int64_t kSegmentPages = 8;

  /// Some tokens of a sequence, the first at `position`.
  struct Rows {
    mlir::Value head, token, count, slot, position;
  };
  /// Bytes of a state.
  int64_t stateBytes() const { return paddedRows * (f.headDim + 2) * 4; }
  /// Rotates the rows' queries; before the next two.
  void emitQueries(const Rows &rows);
  /// The whole context, to the result.
  void emitAttend(const Rows &rows);
  /// One segment, its state to `state`.
  void emitSegment(const Rows &rows, mlir::Value segment, mlir::Value state);
  /// Merges `count` states that follow each other from `states`, to the result.
  void emitMergeStates(const Rows &rows, mlir::Value states, mlir::Value count);

private:
  struct Page;
  void emitExpand(const Page &page);
  void emitScores(const Page &page);
  mlir::Value queryHead(const Page &page, int64_t r);
  void emitSoftmax(const Page &page);
  void emitWeightedValues(const Page &page);
  void emitInitial(mlir::Value state);
  void emitMerge(mlir::Value state);
  void emitResult(const Rows &rows);
  mlir::Value maxima(mlir::Value state) {
    return emit::address(b, state, paddedRows * f.headDim * 4);
  }
  mlir::Value sums(mlir::Value state) {
    return emit::address(b, state, paddedRows * (f.headDim + 1) * 4);
  }
  mlir::Value loadScalar(mlir::Value base, mlir::Value row) {
    return emit::load(b, f.f32Type, emit::address(b, base, row, 4), 4);
  }

  /// Whether a row sees more than the one before it.
  bool rowsDiffer() { return maxTokens > 1 && !f.seesAll(); }

  AttentionFrame &f;
  Rotation &rotation;
  mlir::ImplicitLocOpBuilder &b;
  int64_t maxTokens;
  int64_t stepRows;   // rows handled at once
  int64_t paddedRows; // a multiple of stepRows
  int64_t chunks;     // vectors of 16 positions scored at once
  int64_t dimChunks;  // vectors of dims weighted at once
  bool expands;       // pages are widened to f32 first, for several steps
  int64_t queryOffset, scoreOffset, laneSumOffset, partOffset, wholeOffset;
  int64_t keyOffset = 0, valueOffset = 0;
};

} // namespace kiln

#endif
