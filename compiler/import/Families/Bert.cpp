// BERT: an encoder. Embeddings of token, position and token type are added and normalised; norms
// come after what attention and MLP add (Devlin et al. 2018).
#include "compiler/import/Family.h"

namespace kiln {

Family describeBert() {
  Family family;
  family.name = "bert";
  family.modelTypes = {"bert"};
  family.kind = ModelKind::Encoder;

  family.keys.hiddenSize = "hidden_size";
  family.keys.layers = "num_hidden_layers";
  family.keys.heads = "num_attention_heads";
  family.keys.intermediateSize = "intermediate_size";
  family.keys.contextLength = "max_position_embeddings";
  family.keys.normEps = "layer_norm_eps";
  family.keys.activation = "hidden_act";
  family.keys.tokenTypes = "type_vocab_size";
  family.defaultNormEps = 1e-12;
  family.defaultContextLength = 512;
  family.defaultActivation = "gelu";
  family.defaultTied = true;

  family.norm = NormKind::Layer;
  family.position = PositionKind::Learned;
  family.mlp = MlpKind::Plain;
  family.orientation = WeightOrientation::OutIn;
  family.qkvBias = family.attentionOutputBias = family.mlpBias = {"", true};

  family.modules.prefix = "bert.";
  family.modules.embedding = "embeddings.word_embeddings";
  family.modules.positions = "embeddings.position_embeddings";
  family.modules.tokenTypes = "embeddings.token_type_embeddings";
  family.modules.embeddingNorm = "embeddings.LayerNorm";
  family.modules.layer = "encoder.layer";
  family.modules.query = "attention.self.query";
  family.modules.key = "attention.self.key";
  family.modules.value = "attention.self.value";
  family.modules.attentionOutput = "attention.output.dense";
  family.modules.attentionSumNorm = "attention.output.LayerNorm";
  family.modules.up = "intermediate.dense";
  family.modules.down = "output.dense";
  family.modules.mlpSumNorm = "output.LayerNorm";
  family.ignoredSuffixes = {"embeddings.position_ids", "embeddings.token_type_ids"};
  family.ignoredModules = {"pooler", "cls"};
  family.requiredBools = {
      {"is_decoder", false, "it reads texts, it does not write them"},
      {"add_cross_attention", false, "there is nothing else to attend to"},
  };
  family.requiredStrings = {
      {"position_embedding_type", "absolute", "positions are a table added to the embedding"},
  };
  return family;
}

} // namespace kiln
