// RoBERTa and XLM-RoBERTa: BERT with positions that begin behind the padding token's number (Liu
// et al. 2019).
#include "compiler/import/Family.h"

namespace kiln {

Family describeBert();

Family describeRoberta() {
  Family family = describeBert();
  family.name = "roberta";
  family.modelTypes = {"roberta", "xlm-roberta", "camembert"};
  family.keys.positionPadding = "pad_token_id";
  family.modules.prefix = "roberta.";
  family.ignoredModules = {"pooler", "lm_head"};
  return family;
}

} // namespace kiln
