// Mixtral: Mistral with a few of several experts for each token in place of one MLP.
#include "compiler/import/Family.h"

namespace kiln {

Family describeMixtral() {
  Family family = describeLlama();
  family.name = "mixtral";
  family.modelTypes = {"mixtral"};
  family.keys.slidingWindow = "sliding_window";
  family.keys.experts = "num_local_experts";
  family.keys.expertsUsed = "num_experts_per_tok";
  family.keys.expertIntermediate = "intermediate_size";
  family.defaultNormEps = 1e-5;
  family.defaultRopeTheta = 1e6;
  family.normalizeExperts = true;
  family.modules.router = "block_sparse_moe.gate";
  family.modules.experts = "block_sparse_moe.experts";
  family.modules.expertGate = "w1";
  family.modules.expertUp = "w3";
  family.modules.expertDown = "w2";
  return family;
}

} // namespace kiln
