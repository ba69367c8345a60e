// Attention of many rows through a matrix unit.
#ifndef KILN_CODEGEN_ATTENTION_MATRIXATTENTION_H
#define KILN_CODEGEN_ATTENTION_MATRIXATTENTION_H

#include "codegen/attention/VectorAttention.h"

namespace kiln {

struct MatrixUnit;

/// Attends with the query heads of one kv head of a block of neighbouring tokens. Rows are (token,
/// query head of the group), 32 at a time; the context passes in steps of kStepPages pages.
class MatrixAttention {
public:
  MatrixAttention(AttentionFrame &frame, Rotation &rotation, const MatrixUnit &unit);

  static constexpr int64_t kStepPages = 4;
  static constexpr int64_t kMostRows = 256;

  /// Why the unit does not fit this attention; nullopt where it does.
  static std::optional<std::string> refuse(const AttentionShape &shape);
  /// Tokens of a block: at most, and at least for the unit to be worth it.
  int64_t maxTokens() const { return kMostRows / f.group; }
  int64_t minTokens() const { return std::max<int64_t>(2, llvm::divideCeil(16, f.group)); }

  using Rows = VectorAttention::Rows;
  void emitAttend(const Rows &rows);

private:
  struct Step;
  mlir::Value seenOf(const Step &step, mlir::Value token);
  void emitQueries(const Rows &rows, mlir::Value pairs);
  void emitExpandKeys(mlir::Value keys, mlir::Value page);
  void emitExpandValues(mlir::Value values, mlir::Value page, mlir::Value left);
  void emitScores(const Step &step);
  void emitSoftmax(const Step &step, bool masked);
  void emitWeightedValues(const Step &step);
  void emitResult(const Rows &rows);
  /// bf16 pairs of two f32 vectors whose low halves are zero: dword i = {even[i], odd[i]}.
  mlir::Value packExact(mlir::Value even, mlir::Value odd);
  /// x without the bits that bf16 does not hold.
  mlir::Value top(mlir::Value x);
  mlir::Value outputsOf(mlir::Value pair);

  AttentionFrame &f;
  Rotation &rotation;
  const MatrixUnit &unit;
  mlir::ImplicitLocOpBuilder &b;
  int64_t pairs;      // of 16-row tiles in a block
  int64_t depthSteps; // of 32 dims
  int64_t dimTiles;   // of 16 dims
  int64_t keyParts;   // bf16 parts of a key: 2, or 1 where codes are exact
  int64_t positions;  // of a step
  int64_t configOffset, rowOffset, queryOffset, outputOffset, maximumOffset, sumOffset, keyOffset,
      valueOffset, keyScaleOffset, valueScaleOffset, scoreOffset, weightOffset;
};

} // namespace kiln

#endif
