// Qwen 3 with experts: some layers, or all, have a few of many experts for each token in place of
// one MLP.
#include "compiler/import/Family.h"

namespace kiln {

Family describeQwen3();

Family describeQwen3Moe() {
  Family family = describeQwen3();
  family.name = "qwen3_moe";
  family.modelTypes = {"qwen3_moe"};
  family.keys.layerTypes = "";
  family.keys.firstWindowLayer = "";
  family.keys.experts = "num_experts";
  family.keys.newerExperts = "num_local_experts";
  family.keys.expertsUsed = "num_experts_per_tok";
  family.keys.expertIntermediate = "moe_intermediate_size";
  family.keys.normalizeExperts = "norm_topk_prob";
  family.keys.sparseStep = "decoder_sparse_step";
  family.keys.denseLayers = "mlp_only_layers";
  family.modules.router = "mlp.gate";
  family.modules.experts = "mlp.experts";
  family.modules.expertGate = "gate_proj";
  family.modules.expertUp = "up_proj";
  family.modules.expertDown = "down_proj";
  return family;
}

} // namespace kiln
