// SmolLM 3: Llama with layers that do not rotate, every fourth unless a list says which.
#include "compiler/import/Family.h"

namespace kiln {

Family describeSmolLm3() {
  Family family = describeLlama();
  family.name = "smollm3";
  family.modelTypes = {"smollm3"};

  family.keys.slidingWindow = "sliding_window";
  family.keys.useSlidingWindow = "use_sliding_window";
  family.keys.layerTypes = "layer_types";
  family.keys.ropeLayers = "no_rope_layers"; // 1 where a layer rotates
  family.keys.noRopeInterval = "no_rope_layer_interval";
  family.usesWindow = false;
  family.defaultContextLength = 32768;
  family.defaultTied = true;
  family.defaultRopeTheta = 2e6;
  family.noRopeInterval = 4;
  return family;
}

} // namespace kiln
