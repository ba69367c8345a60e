// Phi 3: Llama with query, key and value in one map and gate and up in another; a window and a
// scaling of its own ("longrope").
#include "compiler/import/Family.h"

namespace kiln {

Family describePhi3() {
  Family family = describeLlama();
  family.name = "phi3";
  family.modelTypes = {"phi3"};

  family.keys.headDim = "";
  family.keys.slidingWindow = "sliding_window";
  family.keys.originalContext = "original_max_position_embeddings";
  family.defaultNormEps = 1e-5;
  family.defaultContextLength = 4096;
  family.qkvBias = {"", false};
  family.attentionOutputBias = {"", false};
  family.mlpBias = {"", false};
  family.modules.query = family.modules.key = family.modules.value = "";
  family.modules.fusedQkv = "self_attn.qkv_proj";
  family.modules.gate = family.modules.up = "";
  family.modules.fusedGateUp = "mlp.gate_up_proj";
  return family;
}

} // namespace kiln
