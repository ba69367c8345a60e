// Chooses how the bytes of weights are laid out. Matrices get the one packed layout of the CPU
// targets (ir/PanelLayout.h), read by matmul and embed alike, so a weight that both use is stored
// once; vectors are plain f32 rows, and raw weights stay what they are.
#include "ir/PanelLayout.h"
#include "passes/Passes.h"
#include "passes/WeightUses.h"

namespace kiln {
#define GEN_PASS_DEF_ASSIGNWEIGHTLAYOUTS
#include "passes/Passes.h.inc"
} // namespace kiln

using namespace mlir;
using namespace kiln;

namespace {
struct AssignWeightLayouts : kiln::impl::AssignWeightLayoutsBase<AssignWeightLayouts> {
  void runOnOperation() override {
    for (auto weight : getOperation().getOps<graph::WeightOp>()) {
      if (weight.getFormat() == kRawFormatName)
        continue;
      bool isMatrix = cast<RankedTensorType>(weight.getType()).getRank() == 2;
      weight.setLayout(isMatrix ? kPanelLayoutName : kRowsLayoutName);
      if (!isMatrix)
        weight.setFormat("f32");
    }
    updateWeightUses(getOperation());
  }
};
} // namespace
