// BLOOM: no positions but a linear bias of the scores (ALiBi), a norm of the embedding, query, key
// and value head by head in one map.
#include "compiler/import/Family.h"

namespace kiln {

Family describeBloom() {
  Family family = describeLlama();
  family.name = "bloom";
  family.modelTypes = {"bloom"};

  family.keys = {};
  family.keys.hiddenSize = "hidden_size";
  family.keys.layers = "n_layer";
  family.keys.heads = "n_head";
  family.keys.intermediateSize = "n_inner";
  family.keys.contextLength = "seq_length"; // trained with; ALiBi has no limit of its own
  family.keys.normEps = "layer_norm_epsilon";
  family.defaultNormEps = 1e-5;
  family.defaultContextLength = 2048;
  family.defaultActivation = "gelu_new";
  family.defaultTied = true;
  family.intermediateFactor = 4;
  family.norm = NormKind::Layer;
  family.position = PositionKind::Alibi;
  family.mlp = MlpKind::Plain;
  family.qkvOrder = QkvOrder::PerHead;
  family.qkvBias = family.attentionOutputBias = family.mlpBias = {"", true};
  family.modules = {};
  family.modules.prefix = "transformer.";
  family.modules.embedding = "word_embeddings";
  family.modules.embeddingNorm = "word_embeddings_layernorm";
  family.modules.layer = "h";
  family.modules.attentionNorm = "input_layernorm";
  family.modules.fusedQkv = "self_attention.query_key_value";
  family.modules.attentionOutput = "self_attention.dense";
  family.modules.mlpNorm = "post_attention_layernorm";
  family.modules.up = "mlp.dense_h_to_4h";
  family.modules.down = "mlp.dense_4h_to_h";
  family.modules.finalNorm = "ln_f";
  family.modules.head = "lm_head";
  family.ignoredSuffixes = {};
  family.requiredBools = {
      {"apply_residual_connection_post_layernorm", false, "residuals are taken before norms"},
  };
  return family;
}

} // namespace kiln
