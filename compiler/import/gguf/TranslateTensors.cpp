// GGUF's names of tensors ("blk.3.attn_q.weight") as a family's ("model.layers.3.self_attn.q_proj
// .weight"), and the architectures as a table. The experts of a layer lie in one tensor; each
// becomes an entry of its own, a range of the tensor's bytes.
#include "compiler/import/gguf/Translate.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Path.h"

using namespace llvm;
using namespace kiln;
using nlohmann::json;

static constexpr GgufArchitecture architectures[] = {
#define KILN_GGUF_ARCHITECTURE(name, modelType, withWindow, withExperts, interleaved)              \
  {StringLiteral(name), StringLiteral(modelType), StringLiteral(withWindow),                       \
   StringLiteral(withExperts), interleaved},
#include "compiler/import/gguf/Architectures.def"
#undef KILN_GGUF_ARCHITECTURE
};

namespace {
struct ModuleName {
  StringLiteral gguf;
  StringRef ModuleNames::*family;
};
} // namespace

static constexpr ModuleName modelModules[] = {
    {"token_embd", &ModuleNames::embedding},
    {"token_embd_norm", &ModuleNames::embeddingNorm},
    {"position_embd", &ModuleNames::positions},
    {"output_norm", &ModuleNames::finalNorm},
};

static constexpr ModuleName layerModules[] = {
    {"attn_norm", &ModuleNames::attentionNorm},
    {"attn_q", &ModuleNames::query},
    {"attn_k", &ModuleNames::key},
    {"attn_v", &ModuleNames::value},
    {"attn_qkv", &ModuleNames::fusedQkv},
    {"attn_q_norm", &ModuleNames::queryNorm},
    {"attn_k_norm", &ModuleNames::keyNorm},
    {"attn_output", &ModuleNames::attentionOutput},
    {"post_attention_norm", &ModuleNames::attentionPostNorm},
    {"ffn_norm", &ModuleNames::mlpNorm},
    {"ffn_gate", &ModuleNames::gate},
    {"ffn_up", &ModuleNames::up},
    {"ffn_up", &ModuleNames::fusedGateUp}, // where the family has no map for `up` alone
    {"ffn_down", &ModuleNames::down},
    {"post_ffw_norm", &ModuleNames::mlpPostNorm},
    {"ffn_gate_inp", &ModuleNames::router},
};

static constexpr ModuleName expertModules[] = {
    {"ffn_gate_exps", &ModuleNames::expertGate},
    {"ffn_up_exps", &ModuleNames::expertUp},
    {"ffn_down_exps", &ModuleNames::expertDown},
};

/// The family's name of a module, or "" where it has none.
static StringRef findModule(ArrayRef<ModuleName> modules, StringRef gguf,
                            const ModuleNames &names) {
  for (const ModuleName &module : modules)
    if (module.gguf == gguf && !(names.*module.family).empty())
      return names.*module.family;
  return "";
}

namespace {
class TensorTranslator {
public:
  TensorTranslator(const GgufArchitecture &architecture, const Family &family, int64_t headDim,
                   Problems &problems)
      : names(family.modules), headDim(architecture.interleaved ? headDim : 0), problems(problems) {
  }

  void add(const GgufModel::Tensor &tensor) {
    auto [path, kind] = StringRef(tensor.entry.name).rsplit('.');
    StringRef module;
    if (path == "output")
      return put((names.head + "." + kind).str(), tensor);
    if (!(module = findModule(modelModules, path, names)).empty())
      return put((names.prefix + module + "." + kind).str(), tensor);
    auto [block, rest] = path.split('.');
    auto [number, inLayer] = rest.split('.');
    uint32_t layer;
    if (block == "blk" && !number.getAsInteger(10, layer)) {
      std::string start = (names.prefix + names.layer + "." + Twine(layer) + ".").str();
      if (!(module = findModule(layerModules, inLayer, names)).empty())
        return put((start + module + "." + kind).str(), tensor,
                   inLayer == "attn_q" || inLayer == "attn_k" ? headDim : 0);
      if (!(module = findModule(expertModules, inLayer, names)).empty())
        return putExperts(start + names.experts.str() + ".", (module + "." + kind).str(), tensor);
    }
    put(tensor.entry.name, tensor); // no tensor of the family: reported with all that are not
  }

  ModelTensors tensors;

private:
  ModelTensor translate(const GgufModel::Tensor &tensor) {
    const GgufTensor &entry = tensor.entry;
    return {tensor.file,
            {entry.name, entry.type->name.str(), entry.shape, entry.offset, entry.sizeBytes}};
  }

  void put(const std::string &name, const GgufModel::Tensor &tensor, int64_t interleaved = 0) {
    ModelTensor translated = translate(tensor);
    translated.interleaved = interleaved;
    if (interleaved != 0 &&
        (translated.entry.shape.empty() || interleaved < 2 || interleaved % 2 != 0 ||
         translated.entry.shape.front() % interleaved != 0)) {
      problems.add(printable(tensor.file) + ": " + printable(tensor.entry.name) +
                   ": expected heads of an even number of rows, found " +
                   printShape(tensor.entry.shape) + " for heads of " + Twine(interleaved));
      return;
    }
    putEntry(name, std::move(translated));
  }

  void putEntry(const std::string &name, ModelTensor tensor) {
    std::string own = tensor.entry.name, file = tensor.file;
    auto [place, added] = tensors.byName.try_emplace(name, std::move(tensor));
    if (!added)
      problems.add(printable(file) + ": " + printable(own) + ": is the same as " +
                   printable(place->second.entry.name));
  }

  /// [experts, outputs, inputs]
  void putExperts(const std::string &start, const std::string &end,
                  const GgufModel::Tensor &tensor) {
    ModelTensor whole = translate(tensor);
    if (whole.entry.shape.size() != 3) {
      problems.add(printable(tensor.file) + ": " + printable(tensor.entry.name) +
                   ": expected [experts, outputs, inputs], found " +
                   printShape(tensor.entry.shape));
      return;
    }
    int64_t experts = whole.entry.shape.front();
    ModelTensor one = whole;
    one.entry.shape.erase(one.entry.shape.begin());
    one.entry.sizeBytes = whole.entry.sizeBytes / uint64_t(experts);
    for (int64_t i = 0; i < experts && i < mostExperts; ++i) {
      one.entry.offset = whole.entry.offset + uint64_t(i) * one.entry.sizeBytes;
      putEntry(start + std::to_string(i) + "." + end, one);
    }
  }

  static constexpr int64_t mostExperts = 4096;
  const ModuleNames &names;
  int64_t headDim;
  Problems &problems;
};
} // namespace

const GgufArchitecture *kiln::findArchitecture(const GgufMetadata &metadata, Problems &problems) {
  StringRef key = "general.architecture";
  std::optional<StringRef> name = metadata.getString(key, problems);
  for (const GgufArchitecture &architecture : architectures)
    if (name == architecture.name)
      return &architecture;
  if (name || !metadata.has(key))
    metadata.fail(key,
                  "expected one of " + listGgufArchitectures() + ", found " + metadata.print(key),
                  problems);
  return nullptr;
}

std::string kiln::listGgufArchitectures() {
  SmallVector<StringRef> names;
  for (const GgufArchitecture &architecture : architectures)
    if (findFamily(architecture.modelType))
      names.push_back(architecture.name);
  return join(names, ", ");
}

ModelTensors kiln::translateTensors(const GgufModel &model, const GgufArchitecture &architecture,
                                    const Family &family, int64_t headDim, Problems &problems) {
  TensorTranslator translator(architecture, family, headDim, problems);
  for (const auto &[name, tensor] : model.tensors)
    if (name != ropeDivisors && name != longRopeDivisors && name != shortRopeDivisors)
      translator.add(tensor);
  translator.tensors.hash = model.hash;
  return std::move(translator.tensors);
}

/// The family that computes the model: what the file declares may make it another than usual.
static const Family *chooseFamily(const GgufMetadata &metadata,
                                  const GgufArchitecture &architecture, Problems &problems) {
  auto declares = [&](StringRef name) {
    std::string key = (architecture.name + "." + name).str();
    return metadata.has(key) && metadata.getInteger(key, 0, INT64_MAX, problems).value_or(0) > 0;
  };
  StringRef modelType = architecture.modelType;
  if (!architecture.withExperts.empty() && declares("expert_count"))
    modelType = architecture.withExperts;
  else if (!architecture.withWindow.empty() && declares("attention.sliding_window"))
    modelType = architecture.withWindow;
  const Family *family = findFamily(modelType);
  if (!family)
    metadata.fail("general.architecture",
                  "expected one of " + listGgufArchitectures() + ", found " +
                      metadata.print("general.architecture") + " (" + modelType + ")",
                  problems);
  return family;
}

std::optional<GgufDecoder> kiln::translateGguf(const GgufModel &model, Problems &problems) {
  size_t before = problems.getAdded();
  const GgufMetadata &metadata = model.metadata;
  const GgufArchitecture *architecture = findArchitecture(metadata, problems);
  const Family *family = architecture ? chooseFamily(metadata, *architecture, problems) : nullptr;
  if (!family)
    return std::nullopt;
  Family stored = *family;
  stored.orientation = WeightOrientation::OutIn;
  stored.qkvOrder = QkvOrder::Blocks;
  stored.normOffset = 0;

  json values = translateConfig(model, *architecture, stored, problems);
  auto object = [&](const json &from) {
    return ConfigObject::from(printable(model.file) + " (as config.json)", from, problems);
  };
  ConfigObject config = object(values);
  int64_t hidden = config.getInteger(family->keys.hiddenSize, 1, INT64_MAX).value_or(0);
  int64_t heads = config.getInteger(family->keys.heads, 1, INT64_MAX).value_or(1);
  int64_t headDim = config.getInteger(family->keys.headDim, 1, INT64_MAX).value_or(hidden / heads);
  GgufDecoder result = {stored,
                        std::move(config),
                        object(translateGeneration(metadata, problems)),
                        object(translateTokenizerConfig(metadata, problems)),
                        translateTensors(model, *architecture, stored, headDim, problems),
                        sys::path::stem(model.file).str(),
                        std::nullopt};
  if (std::optional<StringRef> name = metadata.getString("general.name", problems))
    if (!name->empty())
      result.name = printable(*name);
  if (std::optional<StringRef> license = metadata.getString("general.license", problems))
    result.license = printable(*license);
  return problems.getAdded() == before ? std::optional(std::move(result)) : std::nullopt;
}
