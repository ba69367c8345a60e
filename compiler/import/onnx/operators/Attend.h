// Attention and rotation as ops of the graph: what ONNX's and Microsoft's operators have in common.
#ifndef KILN_COMPILER_IMPORT_ONNX_OPERATORS_ATTEND_H
#define KILN_COMPILER_IMPORT_ONNX_OPERATORS_ATTEND_H

#include "compiler/import/onnx/NodeImport.h"

namespace kiln {

/// Operands of attention: of 4 dims, [batch, rows, heads, depth], or heads before rows.
struct Attend {
  Array query, key, value;
  bool queryHeadsFirst = false, keyHeadsFirst = false, resultHeadsFirst = false;
  Array mask;    // 4 dims, [batch, heads, rows, keys], some 1: summands or truths; or absent
  Array offsets; // [1] or [batch], i64: the number among the keys of query 0; or absent: 0
  Array lengths; // [batch], i64: keys that count; or absent: all
  double scale = 1, softcap = 0;
  bool causal = false;
  int64_t left = -1, right = -1; // keys to either side that are seen, -1: all
  int64_t scores = -1;           // which scores are a second result, -1: none
};

/// The result [batch, rows, heads, depth] (or heads first), and the scores if wanted.
llvm::SmallVector<Array> attend(ArrayBuilder &a, const Attend &operands);

/// [batch, rows, heads * depth] as [batch, rows, heads, depth]; empty after fail().
Array splitHeads(NodeImport &n, const Array &x, int64_t heads);
/// [batch, rows, heads, depth] as [batch, rows, heads * depth].
Array joinHeads(ArrayBuilder &a, const Array &x);
/// [batch, rows, heads, depth] as [batch, heads, rows, depth] and back.
Array swapHeads(ArrayBuilder &a, const Array &x);
/// Puts the heads of keys and values first, as caches have them.
void putKeyHeadsFirst(ArrayBuilder &a, Attend &operands);
/// Puts what came before in front of keys and values whose heads are first.
void prependPast(ArrayBuilder &a, Attend &operands, const Array &keys, const Array &values);
/// `x` with dims of 1 in front until it has 4.
Array withFourDims(ArrayBuilder &a, const Array &x);
/// A mask whose last dim is as long as there are keys: what is missing lets no key be.
Array fittedMask(ArrayBuilder &a, const Array &mask, mlir::AffineExpr keys);
/// Turns pairs of elements of x, 4 dims: see the record "rotate". `positions` may be absent.
Array rotate(ArrayBuilder &a, const Array &x, const Array &cosines, const Array &sines,
             const Array &positions, bool interleaved, bool headsFirst);

} // namespace kiln

#endif
