// Gemma 2: norms (stored less 1) before and after attention and MLP, every other layer with a
// window, soft limits of scores and logits, a scaled embedding, GELU in the gate.
#include "compiler/import/Family.h"

namespace kiln {

Family describeGemma2() {
  Family family = describeLlama();
  family.name = "gemma2";
  family.modelTypes = {"gemma2"};

  family.keys.activation = "hidden_activation";
  family.keys.slidingWindow = "sliding_window";
  family.keys.layerTypes = "layer_types";
  family.keys.queryScalar = "query_pre_attn_scalar";
  family.keys.attentionSoftcap = "attn_logit_softcapping";
  family.keys.logitSoftcap = "final_logit_softcapping";
  family.defaultActivation = "gelu_pytorch_tanh";
  family.defaultContextLength = 8192;
  family.defaultTied = true;
  family.defaultHeadDim = 256;
  family.defaultQueryScalar = 256;
  family.defaultWindow = 4096;
  family.windowPeriod = 2;
  family.defaultAttentionSoftcap = 50;
  family.defaultLogitSoftcap = 30;
  family.scaledEmbedding = true;
  family.normOffset = 1;
  family.modules.attentionPostNorm = "post_attention_layernorm";
  family.modules.mlpNorm = "pre_feedforward_layernorm";
  family.modules.mlpPostNorm = "post_feedforward_layernorm";
  family.mlpBias = {"", false};
  family.requiredBools = {
      {"use_bidirectional_attention", false, "attention is causal"},
  };
  return family;
}

} // namespace kiln
