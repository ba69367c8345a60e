// Gemma 3: Gemma 2 with norms of query and key heads, five layers of six with a window and a theta
// of their own, and no limits unless a model has them.
#include "compiler/import/Family.h"

namespace kiln {

Family describeGemma2();

Family describeGemma3() {
  Family family = describeGemma2();
  family.name = "gemma3_text";
  family.modelTypes = {"gemma3_text"};
  family.multimodalTypes = {"gemma3"};

  family.defaultContextLength = 131072;
  family.defaultVocabulary = 262208;
  family.defaultHeads = 8;
  family.defaultKvHeads = 4;
  family.windowPeriod = 6;
  family.keys.windowPeriod = "sliding_window_pattern";
  family.keys.localRopeTheta = "rope_local_base_freq";
  family.defaultRopeTheta = 1e6;
  family.defaultAttentionSoftcap = 0;
  family.defaultLogitSoftcap = 0;
  family.headNorm = HeadNorm::PerHead;
  family.modules.queryNorm = "self_attn.q_norm";
  family.modules.keyNorm = "self_attn.k_norm";
  return family;
}

} // namespace kiln
