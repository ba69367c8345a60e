// Mistral: Llama whose tokens attend to the last few thousand positions.
#include "compiler/import/Family.h"

namespace kiln {

Family describeMistral() {
  Family family = describeLlama();
  family.name = "mistral";
  family.modelTypes = {"mistral"};

  family.keys.slidingWindow = "sliding_window";
  return family;
}

} // namespace kiln
