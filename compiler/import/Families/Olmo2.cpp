// OLMo 2: Llama with norms after attention and MLP in place of before, and of whole queries and
// keys.
#include "compiler/import/Family.h"

namespace kiln {

Family describeOlmo2() {
  Family family = describeLlama();
  family.name = "olmo2";
  family.modelTypes = {"olmo2"};

  family.defaultNormEps = 1e-5;
  family.mlpBias = {"", false};
  family.headNorm = HeadNorm::WholeRow;
  family.modules.attentionNorm = family.modules.mlpNorm = "";
  family.modules.attentionPostNorm = "post_attention_layernorm";
  family.modules.mlpPostNorm = "post_feedforward_layernorm";
  family.modules.queryNorm = "self_attn.q_norm";
  family.modules.keyNorm = "self_attn.k_norm";
  return family;
}

} // namespace kiln
