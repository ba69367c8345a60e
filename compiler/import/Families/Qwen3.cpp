// Qwen 3: Llama whose query and key heads are normalised before rotation.
#include "compiler/import/Family.h"

namespace kiln {

Family describeQwen3() {
  Family family = describeLlama();
  family.name = "qwen3";
  family.modelTypes = {"qwen3"};

  family.keys.slidingWindow = "sliding_window";
  family.keys.useSlidingWindow = "use_sliding_window";
  family.keys.firstWindowLayer = "max_window_layers";
  family.keys.layerTypes = "layer_types";
  family.usesWindow = false;
  family.defaultContextLength = 32768;
  family.defaultHeadDim = 128;
  family.headNorm = HeadNorm::PerHead;
  family.modules.queryNorm = "self_attn.q_norm";
  family.modules.keyNorm = "self_attn.k_norm";
  return family;
}

} // namespace kiln
