// decompose-graph: the reference meaning of a module. Before: named graph ops. After: linalg,
// tensor, arith and math in their places; functions, weights and attention stay as they are.
#include "codegen/reference/Passes.h"
#include "ir/Graph/GraphDialect.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Transforms/WalkPatternRewriteDriver.h"

using namespace mlir;
using namespace kiln;

namespace {

struct DecomposeOp : OpInterfaceRewritePattern<graph::DecomposableOpInterface> {
  using OpInterfaceRewritePattern::OpInterfaceRewritePattern;

  LogicalResult matchAndRewrite(graph::DecomposableOpInterface op,
                                PatternRewriter &rewriter) const override {
    FailureOr<SmallVector<Value>> values = op.decompose(rewriter);
    if (failed(values))
      return rewriter.notifyMatchFailure(op, "has no decomposition on tensors of f32");
    rewriter.replaceOp(op, *values);
    return success();
  }
};

struct DecomposeGraphPass : PassWrapper<DecomposeGraphPass, OperationPass<>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(DecomposeGraphPass)

  StringRef getArgument() const final { return "decompose-graph"; }
  StringRef getDescription() const final {
    return "Replace graph ops by linalg, tensor, arith and math";
  }
  void getDependentDialects(DialectRegistry &registry) const final {
    registry.insert<linalg::LinalgDialect, tensor::TensorDialect, arith::ArithDialect,
                    math::MathDialect>();
  }
  void runOnOperation() final {
    RewritePatternSet patterns(&getContext());
    populateDecomposeGraphPatterns(patterns);
    walkAndApplyPatterns(getOperation(), std::move(patterns));
  }
};

} // namespace

void kiln::populateDecomposeGraphPatterns(RewritePatternSet &patterns) {
  patterns.add<DecomposeOp>(patterns.getContext());
}

std::unique_ptr<Pass> kiln::createDecomposeGraphPass() {
  return std::make_unique<DecomposeGraphPass>();
}

void kiln::registerReferencePasses() { registerPass(createDecomposeGraphPass); }
