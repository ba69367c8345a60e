// What there is to do in a launch of attention, and which worker does it.
#ifndef KILN_CODEGEN_ATTENTION_WORKLIST_H
#define KILN_CODEGEN_ATTENTION_WORKLIST_H

#include "codegen/attention/VectorAttention.h"

namespace kiln {

/// Cuts the call's tokens into pieces: blocks of neighbouring tokens of a sequence where enough
/// follow each other, single tokens else; single tokens of a small call further into segments of
/// their context. The items of a launch share out the pieces by their cost.
class WorkList {
public:
  /// Blocks have `minTokens` to `maxTokens` tokens; a single token costs `singleWeight` times its
  /// share of a block. Segments are shared out where their states, of `stateBytes`, fit into the
  /// kernel's workspace.
  WorkList(AttentionFrame &frame, int64_t minTokens, int64_t maxTokens, int64_t singleWeight,
           int64_t stateBytes);

  /// Words that single tokens count their finished segments in.
  static constexpr int64_t kCounters = 64;

  struct Piece {
    VectorAttention::Rows rows;
    mlir::Value segment, segments; // of a single token: this one, of so many it sees, whose ...
    mlir::Value state, states;     // ... states lie here, this one's and the first
    mlir::Value counter;           // finished segments (address)
  };
  struct Emitters {
    llvm::function_ref<void(const Piece &)> block, single, segment;
  };

  /// At a worker's first range: the list, to scratch.
  void emitBuild();
  /// Calls back for every piece of this range.
  void emitPieces(const Emitters &emitters);
  mlir::AffineExpr items();

private:
  enum Field { Token, Count, Start, Slot, Ordinal }; // of a record, i64
  enum Total { Records, Cost, Shared, Totals };      // of the list, i64
  mlir::Value field(int64_t index, mlir::Value record) {
    return emit::address(b, f.tokenScratch(recordOffset, record), index * 8);
  }
  mlir::Value total(int64_t index) { return emit::address(b, f.scratch(totalOffset), index * 8); }
  mlir::Value load(mlir::Value address) { return emit::load(b, b.getI64Type(), address, 8); }
  mlir::Value pagesOf(mlir::Value token, mlir::Value count);
  mlir::Value firstSegmentOf(mlir::Value token);
  mlir::Value segmentsOf(mlir::Value token);
  mlir::Value workspaceStates();
  void emitPiece(const Emitters &emitters, mlir::Value head, mlir::Value record,
                 llvm::function_ref<void(mlir::Value offset, llvm::function_ref<void()>)> whenMine);

  AttentionFrame &f;
  mlir::ImplicitLocOpBuilder &b;
  int64_t minTokens, maxTokens, singleWeight, stateBytes;
  int64_t parts; // items of a head
  int64_t totalOffset, recordOffset;
};

} // namespace kiln

#endif
