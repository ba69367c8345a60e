// Any text as config.json, generation_config.json and tokenizer_config.json: a config within its
// bounds or problems, never both; and the plan of a sound config names tensors of positive shapes.
// The same text as modules.json and as a pooling's config.json.
#include "compiler/import/DecoderPlan.h"
#include "compiler/import/SentenceConfig.h"
#include "compiler/import/TextPart.h"
#include <algorithm>
#include <cstddef>
#include <cstdint>

using namespace kiln;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  llvm::StringRef text(reinterpret_cast<const char *>(data), size);
  Problems inModules;
  if (parseSentenceModules("modules.json", text, inModules).has_value() != inModules.empty())
    __builtin_trap();
  Problems problems;
  std::optional<ConfigObject> object = ConfigObject::parse("config.json", text, problems);
  if (object.has_value() != problems.empty())
    __builtin_trap();
  if (!object)
    return 0;
  Problems inPooling;
  std::optional<ConfigObject> pooling = ConfigObject::parse("config.json", text, inPooling);
  if (readPooling(*pooling, 16).has_value() != inPooling.empty())
    __builtin_trap();
  if (std::optional<ConfigObject> part = findTextConfig(*object))
    object = std::move(part);
  if (!problems.empty())
    return 0;
  std::optional<DecoderConfig> config = readDecoderConfig(*object, std::nullopt);
  if (config.has_value() != problems.empty())
    __builtin_trap();
  GenerationConfig generation = readGenerationConfig(*object, *object, *object, 1000);
  for (int64_t token : generation.eosTokens)
    if (token < 0 || token >= 1000)
      __builtin_trap();
  // A plan's size grows with the layers and their experts, and only with them.
  if (!config || config->layers * std::max<int64_t>(config->experts, 1) > 64)
    return 0;
  ModelTensors none;
  DecoderPlan plan = planDecoder(*config, hasModulePrefix(*config->family, none));
  for (const auto &[name, shape] : plan.tensors)
    for (int64_t extent : shape)
      if (extent < 1 || extent > int64_t(1) << 32)
        __builtin_trap();
  Problems missing;
  checkTensors(*config, plan, none, missing);
  if (missing.size() != plan.tensors.size())
    __builtin_trap();
  return 0;
}
