// Reads config.json into a DecoderConfig through the keys of the family's record. What would change
// the computation in a way the graph does not express is refused with the reason; every problem of
// the file is found in one go.
#include "compiler/import/DecoderConfig.h"
#include "compiler/import/RotaryConfig.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringSwitch.h"
#include <cmath>

using namespace llvm;
using namespace kiln;

// Bounds are generous (the largest models of today are a tenth of them) and keep products of any
// three of them far from overflow.
static constexpr int64_t mostLayers = 1024, mostHeads = 4096, longestHead = 1024,
                         widestHidden = 1 << 18, widestMlp = 1 << 20, mostTokens = 1 << 24,
                         longestContext = 1 << 24, mostExperts = 4096, mostTokenTypes = 4096;

// In place of a value that could not be read: what depends on it is not checked, so that one
// problem is reported once.
static constexpr int64_t unknown = 0;

static std::optional<Activation> findActivation(StringRef name) {
  return StringSwitch<std::optional<Activation>>(name)
      .Cases({"silu", "swish"}, Activation::Silu)
      .Case("relu", Activation::Relu)
      .Case("gelu", Activation::Gelu)
      .Cases({"gelu_new", "gelu_pytorch_tanh", "gelu_fast"}, Activation::GeluTanh)
      .Default(std::nullopt);
}

namespace {
class DecoderConfigReader {
public:
  DecoderConfigReader(const ConfigObject &config, const Family &family)
      : config(config), family(family), keys(family.keys) {
    result.family = &family;
  }

  DecoderConfig read(std::optional<int64_t> shorterContext) {
    readSizes();
    readHeads();
    readContext(shorterContext);
    readNumerics();
    readBiases();
    readScores();
    readLayers();
    refuseUnsupported();
    return result;
  }

private:
  void readSizes() {
    result.hidden = config.requireInteger(keys.hiddenSize, 1, widestHidden).value_or(unknown);
    result.layers = config.requireInteger(keys.layers, 1, mostLayers).value_or(1);
    result.vocabulary = require("vocab_size", mostTokens, family.defaultVocabulary).value_or(1);
    result.tokenTypes = config.getInteger(keys.tokenTypes, 1, mostTokenTypes)
                            .value_or(keys.tokenTypes.empty() ? 0 : 2);
    if (family.intermediateFactor && !config.has(keys.intermediateSize))
      result.intermediate = family.intermediateFactor * result.hidden;
    else
      result.intermediate = config.requireInteger(keys.intermediateSize, 1, widestMlp).value_or(1);
  }

  std::optional<int64_t> require(StringRef key, int64_t most, std::optional<int64_t> otherwise) {
    if (otherwise && !config.has(key))
      return otherwise;
    return config.requireInteger(key, 1, most);
  }

  void readHeads() {
    result.heads = require(keys.heads, mostHeads, family.defaultHeads).value_or(unknown);
    result.kvHeads = config.getInteger(keys.kvHeads, 1, mostHeads)
                         .value_or(family.defaultKvHeads.value_or(result.heads));
    if (result.kvHeads != unknown && result.heads % result.kvHeads != 0)
      config.fail(keys.kvHeads, "expected a divisor of " + keys.heads + " (" + Twine(result.heads) +
                                    "), found " + Twine(result.kvHeads));
    result.headDim = config.getInteger(keys.headDim, 1, longestHead)
                         .value_or(family.defaultHeadDim.value_or(unknown));
    if (result.headDim != unknown || result.hidden == unknown || result.heads == unknown)
      return;
    if (result.hidden % result.heads != 0)
      config.fail(keys.heads, "expected a divisor of " + keys.hiddenSize + " (" +
                                  Twine(result.hidden) + "), found " + Twine(result.heads));
    result.headDim = result.hidden / result.heads;
    if (result.headDim > longestHead)
      config.fail(keys.heads, "expected heads of at most " + Twine(longestHead) +
                                  " elements, found " + Twine(result.headDim));
  }

  void readContext(std::optional<int64_t> shorter) {
    result.modelContextLength = config.getInteger(keys.contextLength, 1, longestContext)
                                    .value_or(family.defaultContextLength.value_or(1));
    if (!keys.positionPadding.empty()) {
      result.firstPosition =
          config.getInteger(keys.positionPadding, 0, longestContext).value_or(1) + 1;
      result.modelContextLength -= result.firstPosition;
      if (result.modelContextLength < 1) {
        config.fail(keys.contextLength, "expected positions behind the first " +
                                            Twine(result.firstPosition) + ", found none");
        result.modelContextLength = 1;
      }
    }
    result.contextLength = shorter.value_or(result.modelContextLength);
    if (result.contextLength < 1 || result.contextLength > result.modelContextLength)
      config.fail(keys.contextLength, "expected a requested context of 1 to " +
                                          Twine(result.modelContextLength) + ", found " +
                                          Twine(result.contextLength));
  }

  void readNumerics() {
    result.normEps = config.getNumber(keys.normEps, 0, 1).value_or(family.defaultNormEps);
    std::string name = config.getString(keys.activation).value_or(family.defaultActivation.str());
    std::optional<Activation> activation = findActivation(name);
    if (!activation)
      config.fail(keys.activation,
                  "expected silu, relu, gelu or gelu_new, found " + config.print(keys.activation));
    result.activation = activation.value_or(Activation::Silu);
    result.tied = config.getBool("tie_word_embeddings").value_or(family.defaultTied);
  }

  bool readBias(const BiasRule &rule) {
    return rule.key.empty() ? rule.otherwise : config.getBool(rule.key).value_or(rule.otherwise);
  }

  void readBiases() {
    result.qkvBias = readBias(family.qkvBias);
    result.attentionOutputBias = readBias(family.attentionOutputBias);
    result.mlpBias = readBias(family.mlpBias);
  }

  void readScores() {
    double scalar =
        config.getNumber(keys.queryScalar, 1e-6, 1e9).value_or(family.defaultQueryScalar);
    result.scoreScale =
        1 / std::sqrt(scalar ? scalar : double(std::max<int64_t>(result.headDim, 1)));
    if (family.scaledEmbedding)
      result.embeddingScale = std::sqrt(double(result.hidden));
    result.attentionSoftcap = readSoftcap(keys.attentionSoftcap, family.defaultAttentionSoftcap);
    result.logitSoftcap = readSoftcap(keys.logitSoftcap, family.defaultLogitSoftcap);
    result.parallelResidual =
        config.getBool(keys.parallelResidual).value_or(family.parallelResidual);
    if (family.position == PositionKind::Alibi)
      result.slopes = computeSlopes(result.heads);
  }

  /// A key that is there and null says that there is no limit.
  double readSoftcap(StringRef key, double otherwise) {
    if (config.isNull(key))
      return 0;
    return config.getNumber(key, 1e-3, 1e9).value_or(otherwise);
  }

  /// Press, Smith and Lewis, "Train Short, Test Long" (2022): a geometric sequence from 2^(-8/n)
  /// for n heads, a power of two; what goes beyond it comes from the sequence for 2n, every other.
  static std::vector<double> computeSlopes(int64_t heads) {
    int64_t whole = 1;
    while (whole * 2 <= heads)
      whole *= 2;
    std::vector<double> slopes;
    for (int64_t i = 0; i < heads; ++i)
      slopes.push_back(i < whole ? std::exp2(-8.0 * double(i + 1) / double(whole))
                                 : std::exp2(-4.0 * double(2 * (i - whole) + 1) / double(whole)));
    return slopes;
  }

  void readLayers() {
    result.layerConfigs.resize(size_t(result.layers));
    readWindows();
    if (family.position == PositionKind::Rotary)
      readRotations();
    readExperts();
  }

  void readWindows() {
    bool used = config.getBool(keys.useSlidingWindow).value_or(family.usesWindow);
    std::optional<int64_t> window = config.getInteger(keys.slidingWindow, 1, INT64_MAX);
    if (!window && !config.isNull(keys.slidingWindow))
      window = family.defaultWindow;
    int64_t first = config.getInteger(keys.firstWindowLayer, 0, mostLayers).value_or(0);
    int64_t period =
        config.getInteger(keys.windowPeriod, 1, mostLayers).value_or(family.windowPeriod);
    std::vector<std::string> types = config.getStrings(keys.layerTypes);
    if (!types.empty() && int64_t(types.size()) != result.layers)
      config.fail(keys.layerTypes, "expected one for each of " + Twine(result.layers) +
                                       " layers, found " + Twine(types.size()));
    for (int64_t i = 0; i < result.layers; ++i) {
      LayerConfig &layer = result.layerConfigs[size_t(i)];
      bool slides = used && window && i >= first && !(period && (i + 1) % period == 0);
      if (size_t(i) < types.size()) {
        slides = types[size_t(i)] == "sliding_attention";
        if (!slides && types[size_t(i)] != "full_attention")
          config.fail(keys.layerTypes, "expected sliding_attention or full_attention, found \"" +
                                           printable(types[size_t(i)]) + "\"");
        if (slides && !window)
          config.fail(keys.slidingWindow, "expected an integer, found nothing");
      }
      slidingLayers.push_back(slides);
      // A window as long as the context hides nothing.
      if (slides && window && *window < result.contextLength)
        layer.window = *window;
    }
  }

  void readRotations() {
    readRotary(result.rotary, keys.ropeTheta, family.defaultRopeTheta, "full_attention", true);
    bool hasLocal = !keys.localRopeTheta.empty();
    if (hasLocal)
      readRotary(result.localRotary, keys.localRopeTheta, 10000, "sliding_attention", false);
    std::vector<int64_t> listed = config.getIntegers(keys.ropeLayers, 0, 1);
    if (!listed.empty() && int64_t(listed.size()) != result.layers)
      config.fail(keys.ropeLayers, "expected one for each of " + Twine(result.layers) +
                                       " layers, found " + Twine(listed.size()));
    int64_t interval =
        config.getInteger(keys.noRopeInterval, 1, mostLayers).value_or(family.noRopeInterval);
    for (int64_t i = 0; i < result.layers; ++i) {
      bool rotates = !(interval && (i + 1) % interval == 0);
      if (size_t(i) < listed.size())
        rotates = listed[size_t(i)];
      using Rotation = LayerConfig::Rotation;
      result.layerConfigs[size_t(i)].rotation = !rotates ? Rotation::None
                                                : hasLocal && slidingLayers[size_t(i)]
                                                    ? Rotation::Local
                                                    : Rotation::Global;
    }
  }

  /// `type`: the kind of layers, under which newer files keep a theta and scaling of its own.
  void readRotary(RotaryConfig &rotary, StringRef thetaKey, double defaultTheta, StringRef type,
                  bool scaled) {
    double part = config.getNumber(keys.partialRotary, 0, 1).value_or(family.defaultPartialRotary);
    rotary.theta = config.getNumber(thetaKey, 1, 1e12).value_or(defaultTheta);
    SmallVector<ConfigObject> scalings;
    if (std::optional<ConfigObject> scaling = config.getObject(keys.ropeScaling); scaling && scaled)
      scalings.push_back(std::move(*scaling));
    // Newer files hold theta and scaling in one object, or in one for each kind of layers.
    if (std::optional<ConfigObject> parameters = config.getObject(keys.ropeParameters)) {
      if (std::optional<ConfigObject> own = parameters->getObject(type))
        scalings.push_back(std::move(*own));
      else if (scaled)
        scalings.push_back(std::move(*parameters));
    }
    for (const ConfigObject &scaling : scalings) {
      rotary.theta = scaling.getNumber("rope_theta", 1, 1e12).value_or(rotary.theta);
      part = scaling.getNumber("partial_rotary_factor", 0, 1).value_or(part);
    }
    rotary.rotaryDim = int64_t(double(result.headDim) * part);
    if (result.headDim != unknown && (rotary.rotaryDim < 2 || rotary.rotaryDim % 2 != 0)) {
      config.fail(keys.headDim.empty() ? keys.hiddenSize : keys.headDim,
                  "expected heads of an even number of rotated elements, found " +
                      Twine(rotary.rotaryDim) + " of " + Twine(result.headDim));
      return;
    }
    for (const ConfigObject &scaling : scalings)
      readRotaryScaling(scaling,
                        {result.contextLength, result.modelContextLength,
                         config.getInteger(keys.originalContext, 1, longestContext)},
                        rotary);
  }

  void readExperts() {
    if (keys.experts.empty())
      return;
    StringRef key = config.has(keys.newerExperts) ? keys.newerExperts : keys.experts;
    result.experts = config.requireInteger(key, 1, mostExperts).value_or(1);
    result.expertsUsed = config.requireInteger(keys.expertsUsed, 1, mostExperts).value_or(1);
    if (result.expertsUsed > result.experts)
      config.fail(keys.expertsUsed, "expected at most " + key + " (" + Twine(result.experts) +
                                        "), found " + Twine(result.expertsUsed));
    result.expertIntermediate =
        config.requireInteger(keys.expertIntermediate, 1, widestMlp).value_or(1);
    result.normalizeExperts =
        config.getBool(keys.normalizeExperts).value_or(family.normalizeExperts);
    int64_t step = config.getInteger(keys.sparseStep, 1, mostLayers).value_or(1);
    std::vector<int64_t> dense = config.getIntegers(keys.denseLayers, 0, mostLayers);
    for (int64_t i = 0; i < result.layers; ++i)
      result.layerConfigs[size_t(i)].hasExperts =
          (i + 1) % step == 0 && !llvm::is_contained(dense, i);
  }

  void refuseUnsupported() {
    for (const RequiredBool &required : family.requiredBools)
      if (config.getBool(required.key).value_or(required.value) != required.value)
        config.fail(required.key, Twine("expected ") + (required.value ? "true" : "false") +
                                      ", found " + config.print(required.key) + ": " +
                                      required.reason);
    for (const RequiredString &required : family.requiredStrings)
      if (config.getString(required.key).value_or(required.value.str()) != required.value)
        config.fail(required.key, "expected " + required.value + ", found " +
                                      config.print(required.key) + ": " + required.reason);
    if (config.has("quantization_config"))
      config.fail("quantization_config",
                  "expected plain F32, F16 or BF16 weights, found quantized ones: compile the "
                  "original model and let the compiler quantize it");
  }

  const ConfigObject &config;
  const Family &family;
  const ConfigKeys &keys;
  DecoderConfig result;
  std::vector<bool> slidingLayers; // even where the window is as long as the context
};
} // namespace

std::optional<DecoderConfig> kiln::readDecoderConfig(const ConfigObject &config,
                                                     std::optional<int64_t> contextLength) {
  std::optional<std::string> modelType = config.getString("model_type");
  const Family *family = modelType ? findFamily(*modelType) : nullptr;
  if (!family) {
    config.fail("model_type",
                "expected one of " + listModelTypes() + ", found " + config.print("model_type"));
    return std::nullopt;
  }
  size_t before = config.getProblems().getAdded();
  DecoderConfig result = DecoderConfigReader(config, *family).read(contextLength);
  result.modelType = *modelType;
  return config.getProblems().getAdded() == before ? std::optional(std::move(result))
                                                   : std::nullopt;
}
