// DistilBERT: BERT of half as many layers, without token types, under names of its own (Sanh et al.
// 2019).
#include "compiler/import/Family.h"

namespace kiln {

Family describeBert();

Family describeDistilBert() {
  Family family = describeBert();
  family.name = "distilbert";
  family.modelTypes = {"distilbert"};

  family.keys = {};
  family.keys.hiddenSize = "dim";
  family.keys.layers = "n_layers";
  family.keys.heads = "n_heads";
  family.keys.intermediateSize = "hidden_dim";
  family.keys.contextLength = "max_position_embeddings";
  family.keys.activation = "activation";

  family.modules.prefix = "distilbert.";
  family.modules.tokenTypes = "";
  family.modules.layer = "transformer.layer";
  family.modules.query = "attention.q_lin";
  family.modules.key = "attention.k_lin";
  family.modules.value = "attention.v_lin";
  family.modules.attentionOutput = "attention.out_lin";
  family.modules.attentionSumNorm = "sa_layer_norm";
  family.modules.up = "ffn.lin1";
  family.modules.down = "ffn.lin2";
  family.modules.mlpSumNorm = "output_layer_norm";
  family.ignoredModules = {"vocab_transform", "vocab_layer_norm", "vocab_projector"};
  family.requiredBools = {};
  family.requiredStrings = {};
  return family;
}

} // namespace kiln
