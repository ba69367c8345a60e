// StableLM: Llama with layer norms and a quarter of each head rotated; some models let attention
// and MLP read the same input through one norm.
#include "compiler/import/Family.h"

namespace kiln {

Family describeStableLm() {
  Family family = describeLlama();
  family.name = "stablelm";
  family.modelTypes = {"stablelm"};

  family.keys.normEps = "layer_norm_eps";
  family.keys.parallelResidual = "use_parallel_residual";
  family.defaultNormEps = 1e-5;
  family.defaultContextLength = 4096;
  family.defaultPartialRotary = 0.25;
  family.norm = NormKind::Layer;
  family.parallelSharesNorm = true;
  family.qkvBias = {"use_qkv_bias", false};
  family.attentionOutputBias = {"", false};
  family.mlpBias = {"", false};
  family.requiredBools = {
      {"qk_layernorm", false, "queries and keys are not normalised"},
  };
  return family;
}

} // namespace kiln
