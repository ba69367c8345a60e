// Llama and the models that share its graph and its name, as SmolLM does.
#include "compiler/import/Family.h"

namespace kiln {

Family describeLlama() {
  Family family;
  family.name = "llama";
  family.modelTypes = {"llama"};

  family.keys.hiddenSize = "hidden_size";
  family.keys.layers = "num_hidden_layers";
  family.keys.heads = "num_attention_heads";
  family.keys.kvHeads = "num_key_value_heads";
  family.keys.headDim = "head_dim";
  family.keys.intermediateSize = "intermediate_size";
  family.keys.contextLength = "max_position_embeddings";
  family.keys.normEps = "rms_norm_eps";
  family.keys.activation = "hidden_act";
  family.keys.ropeTheta = "rope_theta";
  family.keys.ropeScaling = "rope_scaling";
  family.keys.ropeParameters = "rope_parameters";
  family.keys.partialRotary = "partial_rotary_factor";
  family.defaultNormEps = 1e-6;
  family.defaultContextLength = 2048;
  family.defaultActivation = "silu";
  family.defaultTied = false;

  family.norm = NormKind::Rms;
  family.position = PositionKind::Rotary;
  family.mlp = MlpKind::Gated;
  family.orientation = WeightOrientation::OutIn;
  family.qkvBias = {"attention_bias", false};
  family.attentionOutputBias = {"attention_bias", false};
  family.mlpBias = {"mlp_bias", false};

  family.modules.prefix = "model.";
  family.modules.embedding = "embed_tokens";
  family.modules.layer = "layers";
  family.modules.attentionNorm = "input_layernorm";
  family.modules.query = "self_attn.q_proj";
  family.modules.key = "self_attn.k_proj";
  family.modules.value = "self_attn.v_proj";
  family.modules.attentionOutput = "self_attn.o_proj";
  family.modules.mlpNorm = "post_attention_layernorm";
  family.modules.gate = "mlp.gate_proj";
  family.modules.up = "mlp.up_proj";
  family.modules.down = "mlp.down_proj";
  family.modules.finalNorm = "norm";
  family.modules.head = "lm_head";
  family.ignoredSuffixes = {".rotary_emb.inv_freq"};
  return family;
}

} // namespace kiln
