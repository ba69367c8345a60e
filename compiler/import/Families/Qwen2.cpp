// Qwen 2: Llama with biases of query, key and value; a window from some layer on, if used at all.
#include "compiler/import/Family.h"

namespace kiln {

Family describeQwen2() {
  Family family = describeLlama();
  family.name = "qwen2";
  family.modelTypes = {"qwen2"};

  family.keys.slidingWindow = "sliding_window";
  family.keys.useSlidingWindow = "use_sliding_window";
  family.keys.firstWindowLayer = "max_window_layers";
  family.keys.layerTypes = "layer_types";
  family.usesWindow = false;
  family.defaultContextLength = 32768;
  family.qkvBias = {"", true};
  family.attentionOutputBias = {"", false};
  return family;
}

} // namespace kiln
