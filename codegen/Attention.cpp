// Emits kernels around attention over the paged KV cache: [rope] [norm] [slice] of query, key and
// value, then the attention. A worker, in its first range of a launch, computes the angles of all
// tokens and lists the work (attention/WorkList); then, for each piece of its ranges:
//
//   append the tokens of the piece's kv head, once per launch        attention/AppendTokens
//   a block of neighbouring tokens of a sequence, against each page:
//     through the matrix unit where the target has one               attention/MatrixAttention
//     else by vectors                                                attention/VectorAttention
//   a single token by vectors; in a call of few, each worker takes segments of the context, and who
//   finishes a token's last segment merges them
#include "codegen/Attention.h"
#include "codegen/Target.h"
#include "codegen/attention/AppendTokens.h"
#include "codegen/attention/MatrixAttention.h"
#include "codegen/attention/WorkList.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"

using namespace mlir;
using namespace kiln;
using namespace kiln::emit;

/// Rows (tokens times query heads of a group) of a block of the vector path.
static constexpr int64_t vectorBlockRows = 32;
/// What a token of the vector path costs, in tokens of the matrix path.
static constexpr int64_t vectorWeight = 4;

namespace {

class AttentionKernel {
public:
  AttentionKernel(exec::KernelOp kernel, const Target &target, OpBuilder &builder,
                  const AttentionShape &shape, bool useMatrix)
      : f(kernel, builder, shape), b(f.b), rotation(f), append(f, rotation),
        single(f, rotation, target, 1) {
    if (useMatrix) {
      matrix.emplace(f, rotation, *target.matrix);
      work.emplace(f, matrix->minTokens(), matrix->maxTokens(), vectorWeight, single.stateBytes());
    } else {
      int64_t tokens = std::max<int64_t>(2, vectorBlockRows / f.group);
      block.emplace(f, rotation, target, tokens);
      work.emplace(f, 2, tokens, 1, single.stateBytes());
    }
  }

  KernelCode emit() {
    Value isFirst = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, f.frame.range(), i64(b, 0));
    branch(b, isFirst, [&] {
      rotation.emitAngles();
      f.emitSlopes();
      append.emitReset();
      work->emitBuild();
    });
    work->emitPieces({[&](const WorkList::Piece &piece) {
                        append.emit(piece.rows.head);
                        if (matrix)
                          return matrix->emitAttend(piece.rows);
                        block->emitQueries(piece.rows);
                        block->emitAttend(piece.rows);
                      },
                      [&](const WorkList::Piece &piece) {
                        append.emit(piece.rows.head);
                        single.emitQueries(piece.rows);
                        single.emitAttend(piece.rows);
                      },
                      [&](const WorkList::Piece &piece) { emitSegment(piece); }});
    auto map = [&](AffineExpr expr) {
      return AffineMap::get(0, f.kernel.getDims().size(), expr, b.getContext());
    };
    return {map(work->items()), map(f.scratchBytes()),
            f.shape.hasWorkspace ? WorkList::kCounters : 0};
  }

private:
  void emitSegment(const WorkList::Piece &piece) {
    append.emit(piece.rows.head);
    single.emitQueries(piece.rows);
    single.emitSegment(piece.rows, piece.segment, piece.state);
    auto word = [&](int32_t value) -> Value {
      return arith::ConstantOp::create(b, b.getI32IntegerAttr(value));
    };
    // Releases this state; who counts last acquires those of the others.
    Value before = LLVM::AtomicRMWOp::create(b, LLVM::AtomicBinOp::add, piece.counter, word(1),
                                             LLVM::AtomicOrdering::acq_rel);
    Value finished = f.frame.add(arith::ExtUIOp::create(b, b.getI64Type(), before), i64(b, 1));
    Value isLast = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, finished, piece.segments);
    branch(b, isLast, [&] {
      single.emitMergeStates(piece.rows, piece.states, piece.segments);
      store(b, word(0), piece.counter, 4);
    });
  }

  AttentionFrame f;
  ImplicitLocOpBuilder &b;
  Rotation rotation;
  AppendTokens append;
  VectorAttention single;
  std::optional<VectorAttention> block;
  std::optional<MatrixAttention> matrix;
  std::optional<WorkList> work;
};

} // namespace

static std::optional<std::string> refuseMatrix(exec::KernelOp kernel, const Target &target) {
  std::string reason;
  std::optional<AttentionShape> shape = AttentionShape::match(kernel, reason);
  if (!shape)
    return reason;
  if (!target.matrix)
    return "the target has no matrix unit";
  return MatrixAttention::refuse(*shape);
}

static std::optional<std::string> refuseVector(exec::KernelOp kernel, const Target &) {
  std::string reason;
  if (AttentionShape::match(kernel, reason))
    return std::nullopt;
  return reason;
}

template <bool useMatrix>
static FailureOr<KernelCode> emitAttention(exec::KernelOp kernel, const Target &target,
                                           OpBuilder &builder) {
  std::string reason;
  std::optional<AttentionShape> shape = AttentionShape::match(kernel, reason);
  if (!shape)
    return kernel.emitOpError() << "has no attention to emit: " << reason;
  return AttentionKernel(kernel, target, builder, *shape, useMatrix).emit();
}

const KernelEmitter &kiln::attentionEmitter() {
  static constexpr KernelEmitter emitter = {"attention-vector", refuseVector, emitAttention<false>};
  return emitter;
}

const KernelEmitter &kiln::matrixAttentionEmitter() {
  static constexpr KernelEmitter emitter = {"attention-matrix", refuseMatrix, emitAttention<true>};
  return emitter;
}
