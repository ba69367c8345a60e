// Lays a family's record out over a model's layers, and checks the files' tensors against it.
#include "compiler/import/DecoderPlan.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringSwitch.h"

using namespace llvm;
using namespace kiln;

namespace {
class Planner {
public:
  Planner(const DecoderConfig &config, StringRef prefix)
      : config(config), family(*config.family), modules(family.modules), prefix(prefix) {}

  DecoderPlan run() {
    plan.embedding = table(modules.embedding, config.vocabulary);
    if (family.position == PositionKind::Learned)
      plan.positions = table(modules.positions, config.modelContextLength);
    for (int64_t i = 0; i < config.layers; ++i)
      plan.layers.push_back(layer((prefix + modules.layer + "." + Twine(i)).str()));
    plan.finalNorm = norm((prefix + modules.finalNorm).str());
    if (!config.tied) // the head is a plain nn.Linear in every family
      plan.head = linear(modules.head.str(), config.hidden, config.vocabulary, false,
                         WeightOrientation::OutIn);
    return std::move(plan);
  }

private:
  std::string table(StringRef module, int64_t rows) {
    std::string name = (prefix + module).str();
    plan.tensors[name + ".weight"] = {rows, config.hidden};
    return name;
  }

  NormPlan norm(std::string name) {
    bool bias = family.norm == NormKind::Layer;
    plan.tensors[name + ".weight"] = {config.hidden};
    if (bias)
      plan.tensors[name + ".bias"] = {config.hidden};
    return {std::move(name), bias};
  }

  LinearPlan linear(std::string name, int64_t inputs, int64_t outputs, bool bias,
                    WeightOrientation orientation) {
    plan.tensors[name + ".weight"] = orientation == WeightOrientation::OutIn
                                         ? std::vector<int64_t>{outputs, inputs}
                                         : std::vector<int64_t>{inputs, outputs};
    if (bias)
      plan.tensors[name + ".bias"] = {outputs};
    return {std::move(name), inputs, outputs, bias};
  }

  LayerPlan layer(std::string name) {
    LayerPlan layer;
    auto map = [&](StringRef module, int64_t inputs, int64_t outputs, bool bias) {
      return linear((name + "." + module).str(), inputs, outputs, bias, family.orientation);
    };
    int64_t queries = config.heads * config.headDim, keys = config.kvHeads * config.headDim;
    layer.attentionNorm = norm((name + "." + modules.attentionNorm).str());
    if (!modules.fusedQkv.empty()) {
      layer.qkv.push_back(map(modules.fusedQkv, config.hidden, queries + 2 * keys, config.qkvBias));
    } else {
      layer.qkv.push_back(map(modules.query, config.hidden, queries, config.qkvBias));
      layer.qkv.push_back(map(modules.key, config.hidden, keys, config.qkvBias));
      layer.qkv.push_back(map(modules.value, config.hidden, keys, config.qkvBias));
    }
    layer.attentionOutput =
        map(modules.attentionOutput, queries, config.hidden, config.attentionOutputBias);
    layer.mlpNorm = norm((name + "." + modules.mlpNorm).str());
    if (family.mlp == MlpKind::Gated)
      layer.gate = map(modules.gate, config.hidden, config.intermediate, config.mlpBias);
    layer.up = map(modules.up, config.hidden, config.intermediate, config.mlpBias);
    layer.down = map(modules.down, config.intermediate, config.hidden, config.mlpBias);
    layer.name = std::move(name);
    return layer;
  }

  const DecoderConfig &config;
  const Family &family;
  const ModuleNames &modules;
  StringRef prefix;
  DecoderPlan plan;
};
} // namespace

DecoderPlan kiln::planDecoder(const DecoderConfig &config, bool withPrefix) {
  return Planner(config, withPrefix ? config.family->modules.prefix : "").run();
}

bool kiln::hasModulePrefix(const Family &family, const ModelTensors &tensors) {
  std::string embedding = (family.modules.embedding + ".weight").str();
  return tensors.byName.count((family.modules.prefix + embedding).str()) ||
         !tensors.byName.count(embedding);
}

std::optional<StringRef> kiln::findWeightFormat(StringRef dtype) {
  return StringSwitch<std::optional<StringRef>>(dtype)
      .Case("F32", "f32")
      .Case("F16", "f16")
      .Case("BF16", "bf16")
      .Default(std::nullopt);
}

void kiln::checkTensors(const DecoderConfig &config, const DecoderPlan &plan,
                        const ModelTensors &tensors, Problems &problems) {
  const Family &family = *config.family;
  for (const auto &[name, shape] : plan.tensors) {
    auto place = tensors.byName.find(name);
    if (place == tensors.byName.end()) {
      problems.add(name + ": expected a tensor of shape " + printShape(shape) + ", found none");
      continue;
    }
    const ModelTensor &tensor = place->second;
    if (tensor.entry.shape != shape)
      problems.add(printable(tensor.file) + ": " + name + ": expected " + printShape(shape) +
                   ", found " + printShape(tensor.entry.shape));
    if (!findWeightFormat(tensor.entry.dtype))
      problems.add(printable(tensor.file) + ": " + name + ": expected F32, F16 or BF16, found " +
                   tensor.entry.dtype);
  }
  std::string head = (family.modules.head + ".weight").str();
  for (const auto &[name, tensor] : tensors.byName) {
    bool ignored =
        llvm::any_of(family.ignoredSuffixes, [ending = StringRef(name)](StringRef suffix) {
          return ending.ends_with(suffix);
        });
    // A tied head that was saved all the same is a copy of the embedding.
    if (plan.tensors.count(name) || ignored || (config.tied && name == head))
      continue;
    problems.add(printable(tensor.file) + ": " + printable(name) + ": is no tensor of a " +
                 config.modelType + " model of " + Twine(config.layers) + " layers");
  }
}
