// Reads config.json into a DecoderConfig through the keys of the family's record. What would change
// the computation in a way the graph does not express is refused with the reason; every problem of
// the file is found in one go.
#include "compiler/import/DecoderConfig.h"
#include "compiler/import/RotaryConfig.h"
#include "llvm/ADT/StringSwitch.h"

using namespace llvm;
using namespace kiln;

// Bounds are generous (the largest models of today are a tenth of them) and keep products of any
// three of them far from overflow.
static constexpr int64_t mostLayers = 1024, mostHeads = 4096, longestHead = 1024,
                         widestHidden = 1 << 18, widestMlp = 1 << 20, mostTokens = 1 << 24,
                         longestContext = 1 << 24;

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
    if (family.position == PositionKind::Rotary)
      readRotary();
    refuseUnsupported();
    return result;
  }

private:
  void readSizes() {
    result.hidden = config.requireInteger(keys.hiddenSize, 1, widestHidden).value_or(unknown);
    result.layers = config.requireInteger(keys.layers, 1, mostLayers).value_or(1);
    result.vocabulary = config.requireInteger("vocab_size", 1, mostTokens).value_or(1);
    if (family.intermediateFactor && !config.has(keys.intermediateSize))
      result.intermediate = family.intermediateFactor * result.hidden;
    else
      result.intermediate = config.requireInteger(keys.intermediateSize, 1, widestMlp).value_or(1);
  }

  void readHeads() {
    result.heads = config.requireInteger(keys.heads, 1, mostHeads).value_or(unknown);
    result.kvHeads = config.getInteger(keys.kvHeads, 1, mostHeads).value_or(result.heads);
    if (result.kvHeads != unknown && result.heads % result.kvHeads != 0)
      config.fail(keys.kvHeads, "expected a divisor of " + keys.heads + " (" + Twine(result.heads) +
                                    "), found " + Twine(result.kvHeads));
    result.headDim = config.getInteger(keys.headDim, 1, longestHead).value_or(unknown);
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
    result.contextLength = shorter.value_or(result.modelContextLength);
    if (result.contextLength < 1 || result.contextLength > result.modelContextLength)
      config.fail(keys.contextLength, "expected a requested context of 1 to " +
                                          Twine(result.modelContextLength) + ", found " +
                                          Twine(result.contextLength));
    bool used = config.getBool("use_sliding_window").value_or(true);
    std::optional<int64_t> window = config.getInteger(keys.slidingWindow, 1, INT64_MAX);
    if (used && window && *window < result.contextLength)
      config.fail(keys.slidingWindow,
                  "expected no window shorter than the context of " + Twine(result.contextLength) +
                      ", found " + Twine(*window) +
                      ": attention reaches the whole context; compile with a context of at most " +
                      Twine(*window));
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

  void readRotary() {
    RotaryConfig &rotary = result.rotary;
    double part = config.getNumber(keys.partialRotary, 0, 1).value_or(1);
    rotary.rotaryDim = int64_t(double(result.headDim) * part);
    if (result.headDim != unknown && (rotary.rotaryDim < 2 || rotary.rotaryDim % 2 != 0))
      config.fail(keys.headDim, "expected heads of an even number of rotated elements, found " +
                                    Twine(rotary.rotaryDim) + " of " + Twine(result.headDim));
    rotary.theta = config.getNumber(keys.ropeTheta, 1, 1e12).value_or(rotary.theta);
    // Newer files hold theta and scaling in one object.
    for (StringRef key : {keys.ropeScaling, keys.ropeParameters}) {
      std::optional<ConfigObject> scaling = config.getObject(key);
      if (!scaling)
        continue;
      rotary.theta = scaling->getNumber("rope_theta", 1, 1e12).value_or(rotary.theta);
      readRotaryScaling(*scaling, rotary);
    }
  }

  void refuseUnsupported() {
    for (const RequiredBool &required : family.requiredBools)
      if (config.getBool(required.key).value_or(required.value) != required.value)
        config.fail(required.key, Twine("expected ") + (required.value ? "true" : "false") +
                                      ", found " + config.print(required.key) + ": " +
                                      required.reason);
    if (config.has("quantization_config"))
      config.fail("quantization_config",
                  "expected plain F32, F16 or BF16 weights, found quantized ones: compile the "
                  "original model and let the compiler quantize it");
  }

  const ConfigObject &config;
  const Family &family;
  const ConfigKeys &keys;
  DecoderConfig result;
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
