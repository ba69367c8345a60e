// A kernel of the operator "attention", as its emitter understands it.
#ifndef KILN_CODEGEN_ATTENTION_DENSEATTENTIONSHAPE_H
#define KILN_CODEGEN_ATTENTION_DENSEATTENTIONSHAPE_H

#include "codegen/KernelFrame.h"
#include "ir/Graph/Operators.h"

namespace kiln {

/// Where the rows of an operand or result [batch, heads, rows, columns] lie; without headsFirst
/// [batch, rows, heads, columns].
struct HeadRows {
  mlir::RankedTensorType type;
  unsigned buffer = 0; // of the kernel's reads, then its writes
  bool headsFirst = false;
  int64_t stride = 0;   // elements from row to row of the last dim
  int64_t rowBytes = 0; // from a head's row to its next

  unsigned headsDim() const { return headsFirst ? 1 : 2; }
  unsigned rowsDim() const { return headsFirst ? 2 : 1; }
  int64_t columns() const { return type.getShape().back(); }
};

struct DenseAttentionShape {
  graph::ComputeOp op;
  HeadRows q, k, v, y;
  double scale = 1, softcap = 0;
  int64_t left = -1, right = -1;              // -1: no limit
  mlir::BlockArgument mask, offsets, lengths; // or null

  /// On failure `reason` says what stands in the way.
  static std::optional<DenseAttentionShape> match(exec::KernelOp kernel, std::string &reason);

  int64_t depth() const { return q.columns(); }
  int64_t width() const { return v.columns(); }
  /// Whether queries beside each other may see different keys.
  bool hasLimits() const { return left >= 0 || right >= 0; }
  bool isMaskOfTruths() const { return graph::tensorOf(mask).getElementType().isInteger(1); }
  /// Whether the mask differs from query to query.
  bool isMaskOfRows() const { return graph::tensorOf(mask).getDimSize(2) != 1; }
};

} // namespace kiln

#endif
