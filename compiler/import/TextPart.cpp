// Hugging Face keeps the text part of a multimodal model under `text_config` in config.json and
// under "language_model." in the tensors' names: before "model." in older files, behind it in newer
// ones.
#include "compiler/import/TextPart.h"
#include "compiler/import/Family.h"

using namespace llvm;
using namespace kiln;

std::optional<ConfigObject> kiln::findTextConfig(const ConfigObject &config) {
  std::optional<std::string> type = config.getString("model_type");
  if (!type || !isMultimodalType(*type))
    return std::nullopt;
  std::optional<ConfigObject> text = config.getObject("text_config");
  if (!text) {
    config.fail("text_config", "expected an object, found " + config.print("text_config"));
    return std::nullopt;
  }
  text->inherit(config, {"_name_or_path", "bos_token_id", "eos_token_id", "quantization_config",
                         "tie_word_embeddings"});
  return text;
}

/// The name in a model of text alone; empty where the tensor belongs to another part.
static std::string nameInText(StringRef name) {
  StringRef inModel = name;
  inModel.consume_front("model.");
  for (StringRef part : {"vision_tower.", "multi_modal_projector."})
    if (inModel.starts_with(part))
      return "";
  if (name.consume_front("language_model."))
    return name.str();
  if (name.consume_front("model.language_model."))
    return ("model." + name).str();
  return name.str();
}

size_t kiln::takeTextTensors(ModelTensors &tensors) {
  std::map<std::string, ModelTensor> text;
  size_t others = 0;
  for (auto &[name, tensor] : tensors.byName) {
    std::string inText = nameInText(name);
    if (inText.empty())
      ++others;
    else if (!text.try_emplace(inText, tensor).second)
      text.try_emplace(name, tensor); // under two names: the second is one too many
  }
  tensors.byName = std::move(text);
  return others;
}
