// The emitter "reference": any kernel, from the ops' decompositions. A row-wise kernel's items are
// rows: for each, its results are built as one-row tensors and lowered to loops. It is what faster
// emitters are tested against, so it shares no code with them beyond addresses.
#include "codegen/EmitSupport.h"
#include "codegen/reference/LowerReference.h"
#include "codegen/reference/OneRow.h"
#include "codegen/reference/Reference.h"
#include "codegen/reference/ReferenceAttention.h"
#include "mlir/Dialect/Arith/Transforms/BufferizableOpInterfaceImpl.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Linalg/Transforms/BufferizableOpInterfaceImpl.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/SCF/Transforms/BufferizableOpInterfaceImpl.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Tensor/Transforms/BufferizableOpInterfaceImpl.h"

using namespace mlir;
using namespace kiln;

static std::optional<std::string> refuse(exec::KernelOp kernel, const Target &) {
  if (auto reason = OneRow::refuse(kernel))
    return reason;
  if (findAttention(kernel))
    return refuseReferenceAttention(kernel);
  auto yield = cast<graph::YieldOp>(kernel.getBody().front().getTerminator());
  for (Value value : yield.getValues()) {
    auto type = cast<RankedTensorType>(value.getType());
    auto first = cast<RankedTensorType>(yield.getOperand(0).getType());
    if (type.getRank() != 2 || !type.getElementType().isF32())
      return "a result is no matrix of f32";
    if (graph::getRowSymbol(type) != graph::getRowSymbol(first) ||
        type.getDimSize(0) != first.getDimSize(0))
      return "results have different numbers of rows";
  }
  return std::nullopt;
}

/// Builds every result's row of each item.
static LogicalResult emitRows(KernelFrame &frame, exec::KernelOp kernel) {
  auto yield = cast<graph::YieldOp>(kernel.getBody().front().getTerminator());
  ImplicitLocOpBuilder &b = frame.builder();
  bool failedRow = false;
  emit::loop(b, frame.begin(), frame.end(), 1, [&](Value item) {
    OneRow rows(frame, kernel);
    for (auto [result, value] : llvm::enumerate(yield.getValues())) {
      FailureOr<Value> row = rows.row(value, item);
      if (failed(row)) {
        failedRow = true;
        return;
      }
      bufferization::MaterializeInDestinationOp::create(
          b, /*result=*/Type(), *row, rows.resultRow(result, item), /*restrict=*/true,
          /*writable=*/true);
    }
  });
  return failure(failedRow);
}

static FailureOr<KernelCode> emitReference(exec::KernelOp kernel, const Target &,
                                           OpBuilder &builder) {
  MLIRContext *context = kernel.getContext();
  DialectRegistry registry;
  registerReferenceDialects(registry);
  context->appendDialectRegistry(registry);
  for (StringRef name : registry.getDialectNames())
    context->getOrLoadDialect(name);

  KernelFrame frame(kernel, builder);
  graph::AttentionOp attention = findAttention(kernel);
  auto yield = cast<graph::YieldOp>(kernel.getBody().front().getTerminator());
  AffineExpr items = getAffineConstantExpr(0, context), scores = items;
  if (attention) {
    items = getAffineConstantExpr(attention.getKvHeads(), context);
    scores = referenceScoreBytes(frame, attention);
  } else if (yield.getNumOperands()) {
    items = frame.rowsExprOf(yield.getOperand(0).getType());
  }
  // Scratch: temporaries, then the scores. What precedes the scores is known only at the end.
  auto scoresOffset =
      LLVM::GEPOp::create(frame.builder(), frame.scratch().getType(), frame.builder().getI8Type(),
                          frame.scratch(), ArrayRef<LLVM::GEPArg>{0});
  LogicalResult emitted =
      attention ? emitReferenceAttention(frame, kernel, scoresOffset) : emitRows(frame, kernel);
  if (failed(emitted))
    return failure();
  FailureOr<int64_t> temporaries = lowerReference(frame.function(), frame.scratch());
  if (failed(temporaries))
    return failure();
  if (*temporaries > std::numeric_limits<int32_t>::max())
    return kernel.emitOpError() << "a row needs " << *temporaries << " bytes of temporaries";
  scoresOffset.setRawConstantIndices({int32_t(*temporaries)});

  unsigned dims = kernel.getDims().size();
  return KernelCode{AffineMap::get(0, dims, items), AffineMap::get(0, dims, scores + *temporaries)};
}

void kiln::registerReferenceDialects(DialectRegistry &registry) {
  registry.insert<arith::ArithDialect, bufferization::BufferizationDialect, func::FuncDialect,
                  linalg::LinalgDialect, LLVM::LLVMDialect, math::MathDialect,
                  memref::MemRefDialect, scf::SCFDialect, tensor::TensorDialect>();
  arith::registerBufferizableOpInterfaceExternalModels(registry);
  linalg::registerBufferizableOpInterfaceExternalModels(registry);
  scf::registerBufferizableOpInterfaceExternalModels(registry);
  tensor::registerBufferizableOpInterfaceExternalModels(registry);
}

const KernelEmitter &kiln::referenceEmitter() {
  static const KernelEmitter emitter{"reference", refuse, emitReference};
  return emitter;
}
