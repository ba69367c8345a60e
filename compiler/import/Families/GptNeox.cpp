// GPT-NeoX and Pythia: attention and MLP read the same input through a norm each; a quarter of each
// head rotates; query, key and value lie head by head in one map.
#include "compiler/import/Family.h"

namespace kiln {

Family describeGptNeox() {
  Family family = describeLlama();
  family.name = "gpt_neox";
  family.modelTypes = {"gpt_neox"};

  family.keys.kvHeads = family.keys.headDim = "";
  family.keys.normEps = "layer_norm_eps";
  family.keys.ropeTheta = "rotary_emb_base";
  family.keys.partialRotary = "rotary_pct";
  family.keys.parallelResidual = "use_parallel_residual";
  family.defaultNormEps = 1e-5;
  family.defaultActivation = "gelu";
  family.defaultPartialRotary = 0.25;
  family.norm = NormKind::Layer;
  family.mlp = MlpKind::Plain;
  family.qkvOrder = QkvOrder::PerHead;
  family.parallelResidual = true;
  family.qkvBias = family.attentionOutputBias = {"attention_bias", true};
  family.mlpBias = {"", true};
  family.modules = {};
  family.modules.prefix = "gpt_neox.";
  family.modules.embedding = "embed_in";
  family.modules.layer = "layers";
  family.modules.attentionNorm = "input_layernorm";
  family.modules.fusedQkv = "attention.query_key_value";
  family.modules.attentionOutput = "attention.dense";
  family.modules.mlpNorm = "post_attention_layernorm";
  family.modules.up = "mlp.dense_h_to_4h";
  family.modules.down = "mlp.dense_4h_to_h";
  family.modules.finalNorm = "final_layer_norm";
  family.modules.head = "embed_out";
  family.ignoredSuffixes = {".rotary_emb.inv_freq", ".attention.bias", ".attention.masked_bias"};
  return family;
}

} // namespace kiln
