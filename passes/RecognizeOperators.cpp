// Gives the names of operators to what a model writes out in primitives, as exporters do:
//
//   %h = mul(%x, 0.5)   %e = erf(div(%x, 1.41421))   %y = mul(%h, add(%e, 1))   =>   %y = gelu(%x)
//
// A formula is named where it means the same up to rounding, whatever the order of its steps, and
// only where nothing else needs the values in between. The families are in passes/recognize.
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"
#include "passes/Passes.h"
#include "passes/recognize/Recognize.h"

namespace kiln {
#define GEN_PASS_DEF_RECOGNIZEOPERATORS
#include "passes/Passes.h.inc"
} // namespace kiln

using namespace mlir;
using namespace kiln;

namespace {
struct RecognizeOperators : kiln::impl::RecognizeOperatorsBase<RecognizeOperators> {
  void runOnOperation() override {
    RewritePatternSet patterns(&getContext());
    recognize::populateActivations(patterns);
    recognize::populateNorms(patterns);
    recognize::populateAttention(patterns);
    recognize::populateRotations(patterns);
    if (failed(applyPatternsGreedily(getOperation(), std::move(patterns))))
      signalPassFailure();
  }
};
} // namespace
