// StarCoder 2: rotation, grouped heads and a window like Mistral, layer norms and a plain MLP like
// GPT-2.
#include "compiler/import/Family.h"

namespace kiln {

Family describeStarCoder2() {
  Family family = describeLlama();
  family.name = "starcoder2";
  family.modelTypes = {"starcoder2"};

  family.keys.normEps = "norm_epsilon";
  family.keys.slidingWindow = "sliding_window";
  family.defaultNormEps = 1e-5;
  family.defaultContextLength = 4096;
  family.defaultActivation = "gelu_pytorch_tanh";
  family.defaultTied = true;
  family.norm = NormKind::Layer;
  family.mlp = MlpKind::Plain;
  family.qkvBias = family.attentionOutputBias = family.mlpBias = {"use_bias", true};
  family.modules.gate = "";
  family.modules.up = "mlp.c_fc";
  family.modules.down = "mlp.c_proj";
  return family;
}

} // namespace kiln
