// Lowers a reference kernel: linalg on one-row tensors with dequantized weights -> scf loops with
// scalar loads and stores. Weights are never expanded: a linalg op that reads graph.dequantize
// reads the stored element in its body instead. One-shot bufferization decides what may share
// memory; each buffer it asks for gets its own place in the kernel's scratch, since kernels
// allocate nothing.
#include "codegen/reference/LowerReference.h"
#include "codegen/EmitSupport.h"
#include "codegen/SinCos.h"
#include "codegen/reference/OneRow.h"
#include "codegen/reference/StoredElement.h"
#include "ir/Graph/GraphDialect.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Bufferization/Transforms/OneShotAnalysis.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Linalg/Transforms/Transforms.h"
#include "mlir/Dialect/Linalg/Utils/Utils.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace kiln;

static constexpr int64_t kBufferAlignment = 64;

/// The element of a dequantized weight at `indices` (index typed).
static Value readElement(OpBuilder &builder, graph::DequantizeOp weight, ValueRange indices) {
  ImplicitLocOpBuilder b(weight.getLoc(), builder);
  auto cast = weight.getWeight().getDefiningOp<UnrealizedConversionCastOp>();
  SmallVector<Value> places;
  for (Value index : indices)
    places.push_back(arith::IndexCastOp::create(b, b.getI64Type(), index));
  return emitStoredElement(b, cast.getInputs().front(),
                           llvm::cast<RankedTensorType>(weight.getWeight().getType()), places);
}

/// Turns an input of a linalg.generic that is a dequantized weight into a read in the body.
static void readInBody(linalg::GenericOp op, unsigned input, graph::DequantizeOp weight) {
  Block &body = op.getRegion().front();
  OpBuilder builder = OpBuilder::atBlockBegin(&body);
  SmallVector<Value> indices;
  SmallVector<AffineMap> maps = op.getIndexingMapsArray();
  for (AffineExpr expr : maps[input].getResults())
    indices.push_back(linalg::IndexOp::create(builder, op.getLoc(),
                                              llvm::cast<AffineDimExpr>(expr).getPosition()));
  body.getArgument(input).replaceAllUsesWith(readElement(builder, weight, indices));
  body.eraseArgument(input);
  op.getInputsMutable().erase(input);
  maps.erase(maps.begin() + input);
  op.setIndexingMapsAttr(builder.getAffineMapArrayAttr(maps));
}

static LogicalResult readStoredWeights(func::FuncOp function) {
  SmallVector<graph::DequantizeOp> weights;
  function.walk([&](graph::DequantizeOp op) { weights.push_back(op); });
  for (graph::DequantizeOp weight : weights) {
    for (Operation *user : llvm::make_early_inc_range(weight->getUsers())) {
      if (auto extract = dyn_cast<tensor::ExtractOp>(user)) {
        OpBuilder builder(extract);
        extract.replaceAllUsesWith(readElement(builder, weight, extract.getIndices()));
        extract.erase();
      }
    }
    while (!weight->use_empty()) {
      OpOperand &use = *weight->use_begin();
      auto generic = dyn_cast<linalg::GenericOp>(use.getOwner());
      if (!generic)
        return use.getOwner()->emitOpError() << "reads a stored weight as a whole";
      readInBody(generic, use.getOperandNumber(), weight);
    }
    Operation *cast = weight.getWeight().getDefiningOp();
    weight.erase();
    if (cast->use_empty())
      cast->erase();
  }
  return success();
}

/// math.sin and math.cos of an f64 in radians.
static void expandSinCos(func::FuncOp function) {
  SmallVector<Operation *> ops;
  function.walk([&](Operation *op) {
    if (isa<math::SinOp, math::CosOp>(op) && op->getResult(0).getType().isF64())
      ops.push_back(op);
  });
  for (Operation *op : ops) {
    ImplicitLocOpBuilder b(op->getLoc(), op);
    Value perRadian = arith::ConstantOp::create(b, b.getF64FloatAttr(0.5 * M_1_PI));
    Value turns = arith::MulFOp::create(b, op->getOperand(0), perRadian);
    auto [sine, cosine] = emitSinCos(b, turns);
    Value result = arith::ExtFOp::create(b, b.getF64Type(), isa<math::SinOp>(op) ? sine : cosine);
    op->getResult(0).replaceAllUsesWith(result);
    op->erase();
  }
}

static LogicalResult lowerLinalg(func::FuncOp function) {
  SmallVector<linalg::LinalgOp> ops;
  function.walk([&](linalg::LinalgOp op) { ops.push_back(op); });
  IRRewriter rewriter(function.getContext());
  for (linalg::LinalgOp op : ops) {
    rewriter.setInsertionPoint(op);
    if (failed(linalg::linalgOpToLoops(rewriter, op)))
      return op.emitOpError() << "has no loops";
    rewriter.eraseOp(op);
  }
  return success();
}

FailureOr<int64_t> kiln::lowerReference(func::FuncOp function, Value scratch) {
  if (failed(readStoredWeights(function)))
    return failure();

  int64_t used = 0;
  bufferization::OneShotBufferizationOptions options;
  options.allocationFn = [&](OpBuilder &builder, Location loc, MemRefType type, ValueRange sizes,
                             unsigned) -> FailureOr<Value> {
    if (!sizes.empty() || !type.getLayout().isIdentity())
      return emitError(loc) << "a temporary of no static size: " << type;
    ImplicitLocOpBuilder b(loc, builder);
    Value place = emit::address(b, scratch, used);
    int64_t bytes = type.getNumElements() * type.getElementTypeBitWidth() / 8;
    used += llvm::alignTo(bytes, kBufferAlignment);
    return emitMemref(b, type, place);
  };
  options.memCpyFn = [](OpBuilder &builder, Location loc, Value from, Value to) {
    linalg::makeMemRefCopyOp(builder, loc, from, to); // memref.copy may become a call
    return success();
  };
  bufferization::BufferizationState state;
  if (failed(bufferization::runOneShotBufferize(function, options, state)) ||
      failed(lowerLinalg(function)))
    return failure();
  expandSinCos(function);
  return used;
}
