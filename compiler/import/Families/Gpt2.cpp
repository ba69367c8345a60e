// GPT-2: layer norms, a learned table of positions, one fused QKV map, biases everywhere, and
// linear weights stored [in, out] (its layers are "Conv1D").
#include "compiler/import/Family.h"

namespace kiln {

Family describeGpt2() {
  Family family;
  family.name = "gpt2";
  family.modelTypes = {"gpt2"};

  family.keys.hiddenSize = "n_embd";
  family.keys.layers = "n_layer";
  family.keys.heads = "n_head";
  family.keys.intermediateSize = "n_inner";
  family.keys.contextLength = "n_positions";
  family.keys.normEps = "layer_norm_epsilon";
  family.keys.activation = "activation_function";
  family.defaultNormEps = 1e-5;
  family.defaultContextLength = 1024;
  family.defaultActivation = "gelu_new";
  family.defaultTied = true;
  family.intermediateFactor = 4;

  family.norm = NormKind::Layer;
  family.position = PositionKind::Learned;
  family.mlp = MlpKind::Plain;
  family.orientation = WeightOrientation::InOut;
  family.qkvBias = {"", true};
  family.attentionOutputBias = {"", true};
  family.mlpBias = {"", true};

  family.modules.prefix = "transformer.";
  family.modules.embedding = "wte";
  family.modules.positions = "wpe";
  family.modules.layer = "h";
  family.modules.attentionNorm = "ln_1";
  family.modules.fusedQkv = "attn.c_attn";
  family.modules.attentionOutput = "attn.c_proj";
  family.modules.mlpNorm = "ln_2";
  family.modules.up = "mlp.c_fc";
  family.modules.down = "mlp.c_proj";
  family.modules.finalNorm = "ln_f";
  family.modules.head = "lm_head";
  family.ignoredSuffixes = {".attn.bias", ".attn.masked_bias"};
  family.requiredBools = {
      {"scale_attn_weights", true, "attention scores are always divided by sqrt(head_dim)"},
      {"scale_attn_by_inverse_layer_idx", false, "scores are not scaled by layer"},
      {"add_cross_attention", false, "there is no encoder to attend to"},
  };
  return family;
}

} // namespace kiln
