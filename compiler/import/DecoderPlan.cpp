// Lays a family's record out over a model's layers, and checks the files' tensors against it.
#include "compiler/import/DecoderPlan.h"
#include "compiler/artifact/BlockTypes.h"
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
      plan.positions = table(modules.positions, config.firstPosition + config.modelContextLength);
    if (!modules.tokenTypes.empty())
      plan.tokenTypes = table(modules.tokenTypes, config.tokenTypes);
    if (!modules.embeddingNorm.empty())
      plan.embeddingNorm = norm((prefix + modules.embeddingNorm).str());
    for (const LayerConfig &layerConfig : config.layerConfigs)
      plan.layers.push_back(
          layer((prefix + modules.layer + "." + Twine(plan.layers.size())).str(), layerConfig));
    if (family.kind == ModelKind::Encoder)
      return std::move(plan);
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
    return norm(std::move(name), family.norm == NormKind::Layer, config.hidden);
  }

  NormPlan norm(std::string name, bool bias, int64_t size) {
    plan.tensors[name + ".weight"] = {size};
    if (bias)
      plan.tensors[name + ".bias"] = {size};
    return {std::move(name), bias};
  }

  LinearPlan linear(std::string name, int64_t inputs, int64_t outputs, bool bias,
                    WeightOrientation orientation) {
    plan.tensors[name + ".weight"] = orientation == WeightOrientation::OutIn
                                         ? std::vector<int64_t>{outputs, inputs}
                                         : std::vector<int64_t>{inputs, outputs};
    if (bias)
      plan.tensors[name + ".bias"] = {outputs};
    std::string module = name;
    return {std::move(name), inputs, outputs, bias, orientation, std::move(module)};
  }

  /// A part of a map's outputs, as a map called `suffix`.
  static LinearPlan part(const LinearPlan &whole, StringRef suffix, OutputRange range) {
    LinearPlan part = whole;
    part.name += ("." + suffix).str();
    part.outputs = range.count;
    part.ranges = {range};
    return part;
  }

  LayerPlan layer(std::string name, const LayerConfig &layerConfig) {
    LayerPlan layer;
    auto inLayer = [&](StringRef module) { return (name + "." + module).str(); };
    auto map = [&](StringRef module, int64_t inputs, int64_t outputs, bool bias) {
      return linear(inLayer(module), inputs, outputs, bias, family.orientation);
    };
    auto optionalNorm = [&](StringRef module) -> std::optional<NormPlan> {
      if (module.empty())
        return std::nullopt;
      return norm(inLayer(module));
    };
    int64_t queries = config.heads * config.headDim, keys = config.kvHeads * config.headDim;
    layer.attentionNorm = optionalNorm(modules.attentionNorm);
    layer.qkv = queryKeyValue(map, queries, keys);
    if (family.headNorm != HeadNorm::None) {
      bool whole = family.headNorm == HeadNorm::WholeRow;
      layer.queryNorm = norm(inLayer(modules.queryNorm), false, whole ? queries : config.headDim);
      layer.keyNorm = norm(inLayer(modules.keyNorm), false, whole ? keys : config.headDim);
    }
    layer.attentionOutput =
        map(modules.attentionOutput, queries, config.hidden, config.attentionOutputBias);
    layer.attentionPostNorm = optionalNorm(modules.attentionPostNorm);
    layer.attentionSumNorm = optionalNorm(modules.attentionSumNorm);
    if (!config.parallelResidual || !family.parallelSharesNorm)
      layer.mlpNorm = optionalNorm(modules.mlpNorm);
    if (layerConfig.hasExperts)
      layer.experts = experts(map);
    else
      mlp(layer, map);
    layer.mlpPostNorm = optionalNorm(modules.mlpPostNorm);
    layer.mlpSumNorm = optionalNorm(modules.mlpSumNorm);
    layer.name = std::move(name);
    return layer;
  }

  using MapBuilder = function_ref<LinearPlan(StringRef, int64_t, int64_t, bool)>;

  std::vector<LinearPlan> queryKeyValue(MapBuilder map, int64_t queries, int64_t keys) {
    if (modules.fusedQkv.empty())
      return {map(modules.query, config.hidden, queries, config.qkvBias),
              map(modules.key, config.hidden, keys, config.qkvBias),
              map(modules.value, config.hidden, keys, config.qkvBias)};
    LinearPlan fused = map(modules.fusedQkv, config.hidden, queries + 2 * keys, config.qkvBias);
    if (family.qkvOrder == QkvOrder::PerHead)
      for (int64_t which = 0; which < 3; ++which)
        for (int64_t head = 0; head < config.heads; ++head)
          fused.ranges.push_back({(head * 3 + which) * config.headDim, config.headDim});
    return {fused};
  }

  void mlp(LayerPlan &layer, MapBuilder map) {
    int64_t width = config.intermediate;
    if (!modules.fusedGateUp.empty()) {
      LinearPlan fused = map(modules.fusedGateUp, config.hidden, 2 * width, config.mlpBias);
      layer.gate = part(fused, "gate", {0, width});
      layer.up = part(fused, "up", {width, width});
    } else {
      if (family.mlp == MlpKind::Gated)
        layer.gate = map(modules.gate, config.hidden, width, config.mlpBias);
      layer.up = map(modules.up, config.hidden, width, config.mlpBias);
    }
    layer.down = map(modules.down, width, config.hidden, config.mlpBias);
  }

  ExpertsPlan experts(MapBuilder map) {
    ExpertsPlan plan = {map(modules.router, config.hidden, config.experts, false), {}, {}, {}};
    for (int64_t i = 0; i < config.experts; ++i) {
      auto expert = [&](StringRef module, int64_t inputs, int64_t outputs) {
        return map((modules.experts + "." + Twine(i) + "." + module).str(), inputs, outputs, false);
      };
      plan.gate.push_back(expert(modules.expertGate, config.hidden, config.expertIntermediate));
      plan.up.push_back(expert(modules.expertUp, config.hidden, config.expertIntermediate));
      plan.down.push_back(expert(modules.expertDown, config.expertIntermediate, config.hidden));
    }
    return plan;
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

std::optional<StringRef> kiln::findElementType(StringRef dtype) {
  if (const BlockType *type = findBlockType(dtype)) // as GGUF files' already are
    return type->name;
  return StringSwitch<std::optional<StringRef>>(dtype)
      .Case("F32", "f32")
      .Case("F16", "f16")
      .Case("BF16", "bf16")
      .Default(std::nullopt);
}

/// Whether the family's record says that a tensor holds nothing of the model.
static bool isIgnored(const Family &family, StringRef name) {
  if (llvm::any_of(family.ignoredSuffixes,
                   [&](StringRef suffix) { return name.ends_with(suffix); }))
    return true;
  name.consume_front(family.modules.prefix);
  return llvm::any_of(family.ignoredModules, [&](StringRef module) {
    return name.starts_with(module) && name.substr(module.size()).starts_with(".");
  });
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
    if (!findElementType(tensor.entry.dtype))
      problems.add(printable(tensor.file) + ": " + name + ": expected F32, F16 or BF16, found " +
                   tensor.entry.dtype);
  }
  std::string head = (family.modules.head + ".weight").str();
  for (const auto &[name, tensor] : tensors.byName) {
    // A tied head that was saved all the same is a copy of the embedding.
    if (plan.tensors.count(name) || isIgnored(family, name) || (config.tied && name == head))
      continue;
    problems.add(printable(tensor.file) + ": " + printable(name) + ": is no tensor of a " +
                 config.modelType + " model of " + Twine(config.layers) + " layers");
  }
}
