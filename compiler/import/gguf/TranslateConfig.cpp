// GGUF metadata (ggml's docs/gguf.md, and per architecture the keys that llama.cpp reads) as the
// config.json of a family: each value goes under the key that the family's record names, so that
// one reader checks both. What GGUF leaves out means its own default and not the family's. A value
// that the family has no key for is a problem unless it says what the family does anyway.
#include "compiler/import/InputFile.h"
#include "compiler/import/gguf/Translate.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/Endian.h"
#include "llvm/Support/Path.h"
#include <charconv>
#include <cmath>
#include <cstdlib>

using namespace llvm;
using namespace kiln;
using nlohmann::json;

static constexpr uint64_t mostDivisors = 4096;

/// The shortest decimal that is `value` in f32: what was written before a converter rounded it, so
/// that 1e-5 is the same from both kinds of files.
static double undoRounding(double value) {
  if (!std::isfinite(value) || double(float(value)) != value)
    return value;
  char digits[32] = {};
  std::to_chars(digits, digits + sizeof digits - 1, float(value));
  return std::strtod(digits, nullptr);
}

namespace {
class ConfigTranslator {
public:
  ConfigTranslator(const GgufModel &model, const GgufArchitecture &architecture,
                   const Family &family, Problems &problems)
      : model(model), metadata(model.metadata), family(family), keys(family.keys),
        prefix((architecture.name + ".").str()), problems(problems) {
    // A model_type that the family has, chosen by what the file declares.
    set("model_type", architecture.modelType.str());
    if (!is_contained(family.modelTypes, architecture.modelType))
      set("model_type", family.modelTypes.front().str());
  }

  json run() {
    readSizes();
    readHeads();
    readAttention();
    readRotation();
    readExperts();
    readVariants();
    return std::move(config);
  }

private:
  // ---- Values -----------------------------------------------------------------------------------

  std::string key(StringRef name) const { return prefix + name.str(); }

  void set(StringRef name, json value) {
    if (!name.empty())
      config[name.str()] = std::move(value);
  }

  /// An integer, or an array of one for each layer, which must agree.
  std::optional<int64_t> integer(StringRef name) {
    std::string full = key(name);
    if (!metadata.isArray(full))
      return metadata.getInteger(full, INT64_MIN, INT64_MAX, problems);
    std::optional<std::vector<int32_t>> values = metadata.getIntegers(full, problems);
    if (!values)
      return std::nullopt;
    if (values->empty() || !all_equal(*values)) {
      metadata.fail(full, "expected one value for all layers, found several", problems);
      return std::nullopt;
    }
    return values->front();
  }

  std::optional<double> number(StringRef name) {
    std::optional<double> value = metadata.getNumber(key(name), problems);
    return value ? std::optional(undoRounding(*value)) : std::nullopt;
  }

  void copyInteger(StringRef name, StringRef target) {
    if (std::optional<int64_t> value = integer(name))
      set(target, *value);
  }

  void copyNumber(StringRef name, StringRef target) {
    if (std::optional<double> value = number(name))
      set(target, *value);
  }

  void refuse(StringRef name, const Twine &expected) {
    metadata.fail(key(name), "expected " + expected + ", found " + metadata.print(key(name)),
                  problems);
  }

  // ---- Parts ------------------------------------------------------------------------------------

  void readSizes() {
    copyInteger("embedding_length", keys.hiddenSize);
    copyInteger("block_count", keys.layers);
    copyInteger("feed_forward_length", keys.intermediateSize);
    copyInteger("context_length", keys.contextLength);
    auto embedding = model.tensors.find("token_embd.weight");
    if (embedding != model.tensors.end() && !embedding->second.entry.shape.empty())
      set("vocab_size", embedding->second.entry.shape.front());
    set("tie_word_embeddings", model.tensors.count("output.weight") == 0);
    copyNumber("attention.layer_norm_epsilon", keys.normEps);
    copyNumber("attention.layer_norm_rms_epsilon", keys.normEps);
  }

  void readHeads() {
    copyInteger("attention.head_count", keys.heads);
    heads = integer("attention.head_count").value_or(0);
    int64_t kvHeads = integer("attention.head_count_kv").value_or(heads);
    set(keys.kvHeads, kvHeads);
    if (keys.kvHeads.empty() && kvHeads != heads)
      refuse("attention.head_count_kv", "as many as attention.head_count");

    int64_t hidden = integer("embedding_length").value_or(0);
    headDim = heads > 0 ? hidden / heads : 0;
    int64_t declared = integer("attention.key_length").value_or(headDim);
    if (integer("attention.value_length").value_or(declared) != declared)
      refuse("attention.value_length", "attention.key_length (" + Twine(declared) + ")");
    if (keys.headDim.empty() && declared != headDim)
      refuse("attention.key_length",
             "embedding_length / attention.head_count (" + Twine(headDim) + ")");
    headDim = declared;
    set(keys.headDim, headDim);
  }

  void readAttention() {
    int64_t window = integer("attention.sliding_window").value_or(0);
    if (window > 0 && keys.slidingWindow.empty())
      refuse("attention.sliding_window", "none in a " + family.name + " model");
    else if (window > 0)
      set(keys.slidingWindow, window);
    readWindowPattern();
    copyNumber("attn_logit_softcapping", keys.attentionSoftcap);
    copyNumber("final_logit_softcapping", keys.logitSoftcap);
    // Gemma's largest models divide scores by another number, which the files do not say.
    int64_t layers = integer("block_count").value_or(0), hidden = 0;
    if (!keys.queryScalar.empty() && (layers == 46 || layers == 62))
      hidden = integer("embedding_length").value_or(0);
    set(keys.queryScalar, hidden && heads > 0 ? hidden / heads : headDim);
  }

  /// Every how many layers there is one without a window, or a bool for each layer: has it one?
  void readWindowPattern() {
    StringRef name = "attention.sliding_window_pattern";
    if (!metadata.isArray(key(name))) {
      copyInteger(name, keys.windowPeriod);
      return;
    }
    std::optional<std::vector<int32_t>> windows = metadata.getIntegers(key(name), problems);
    json types = json::array();
    for (int32_t has : windows.value_or(std::vector<int32_t>()))
      types.push_back(has ? "sliding_attention" : "full_attention");
    set(keys.layerTypes, std::move(types));
  }

  void readRotation() {
    if (family.position != PositionKind::Rotary)
      return;
    set(keys.ropeTheta, number("rope.freq_base").value_or(10000));
    copyNumber("rope.freq_base_swa", keys.localRopeTheta);
    int64_t rotated = integer("rope.dimension_count").value_or(headDim);
    if (rotated < 2 || rotated > headDim || rotated % 2 != 0)
      refuse("rope.dimension_count", "an even number from 2 to " + Twine(headDim));
    else if (rotated != headDim && keys.partialRotary.empty())
      refuse("rope.dimension_count", Twine(headDim) + " in a " + family.name + " model");
    else // half an element more, for the product with headDim is rounded down
      set(keys.partialRotary, rotated == headDim ? 1.0 : (double(rotated) + 0.5) / double(headDim));
    json scaling = readScaling();
    if (!scaling.is_null())
      set(keys.ropeScaling, std::move(scaling));
  }

  json readScaling() {
    std::string type = "none";
    if (std::optional<StringRef> found = metadata.getString(key("rope.scaling.type"), problems))
      type = printable(*found);
    std::optional<double> factor = number("rope.scaling.factor");
    if (!factor && metadata.has(key("rope.scale_linear"))) { // older files
      factor = number("rope.scale_linear");
      type = "linear";
    }
    std::optional<json> divisors = readDivisors(type);
    if (divisors)
      return *divisors;
    if (type == "none" || (type == "linear" && factor.value_or(1) == 1))
      return nullptr;
    json scaling = {{"rope_type", type}, {"factor", factor.value_or(1)}};
    if (std::optional<int64_t> original = integer("rope.scaling.original_context_length"))
      scaling["original_max_position_embeddings"] = *original;
    if (type == "linear")
      return scaling;
    if (type != "yarn") {
      refuse("rope.scaling.type", "none, linear or yarn (longrope with its tensors of factors)");
      return nullptr;
    }
    for (auto [name, target] : {std::pair("rope.scaling.yarn_beta_fast", "beta_fast"),
                                std::pair("rope.scaling.yarn_beta_slow", "beta_slow")})
      if (std::optional<double> beta = number(name))
        scaling[target] = *beta;
    if (std::optional<double> sharper = number("rope.scaling.attn_factor"))
      scaling["attention_factor"] = *sharper * (0.1 * std::log(factor.value_or(1)) + 1);
    return scaling;
  }

  /// Scalings that files hold as tensors: Llama 3's, worked out, and LongRoPE's two lists.
  std::optional<json> readDivisors(StringRef type) {
    json scaling = {{"rope_type", "longrope"}, {"factor", 1.0}, {"attention_factor", 1.0}};
    if (model.tensors.count(ropeDivisors.str())) {
      scaling["short_factor"] = scaling["long_factor"] = readNumbers(ropeDivisors);
      return scaling;
    }
    if (!model.tensors.count(longRopeDivisors.str()))
      return std::nullopt;
    scaling["long_factor"] = readNumbers(longRopeDivisors);
    scaling["short_factor"] = readNumbers(shortRopeDivisors);
    scaling["attention_factor"] = number("rope.scaling.attn_factor").value_or(1);
    if (std::optional<int64_t> original = integer("rope.scaling.original_context_length"))
      scaling["original_max_position_embeddings"] = *original;
    return scaling;
  }

  json readNumbers(StringRef name) {
    auto place = model.tensors.find(name.str());
    auto fail = [&](const Twine &text) {
      problems.add(printable(model.file) + ": " + name + ": " + text);
      return json::array();
    };
    if (place == model.tensors.end())
      return fail("expected a tensor, found none");
    const GgufModel::Tensor &tensor = place->second;
    if (tensor.entry.type->id != BlockTypeId::F32 || tensor.entry.shape.size() != 1 ||
        uint64_t(tensor.entry.shape.front()) > mostDivisors)
      return fail("expected at most " + Twine(mostDivisors) + " numbers of f32, found " +
                  tensor.entry.type->name + " " + printShape(tensor.entry.shape));
    SmallString<128> path(model.folder);
    sys::path::append(path, tensor.file);
    std::optional<InputFile> file = InputFile::open(path, tensor.file, problems);
    std::string bytes;
    if (!file || !file->read(tensor.entry.offset, tensor.entry.sizeBytes, bytes, problems))
      return json::array();
    json numbers = json::array();
    for (size_t i = 0; i < bytes.size(); i += 4) {
      uint32_t word = support::endian::read32le(bytes.data() + i);
      float value;
      memcpy(&value, &word, sizeof value);
      if (!std::isfinite(value) || value <= 0)
        return fail("expected numbers above 0, found one that is not");
      numbers.push_back(value);
    }
    return numbers;
  }

  void readExperts() {
    int64_t experts = integer("expert_count").value_or(0);
    if (experts > 0 && keys.experts.empty()) {
      refuse("expert_count", "none in a " + family.name + " model");
      return;
    }
    if (keys.experts.empty())
      return;
    copyInteger("expert_count", keys.experts);
    copyInteger("expert_used_count", keys.expertsUsed);
    copyInteger("expert_feed_forward_length", keys.expertIntermediate);
    set(keys.normalizeExperts, true); // llama.cpp always does, for these architectures
  }

  /// What files show only by the tensors they have.
  void readVariants() {
    auto setBias = [&](const BiasRule &rule, StringRef module) {
      set(rule.key, model.tensors.count(("blk.0." + module + ".bias").str()) != 0);
    };
    setBias(family.mlpBias, "ffn_up");
    setBias(family.attentionOutputBias, "attn_output");
    setBias(family.qkvBias, family.modules.fusedQkv.empty() ? "attn_q" : "attn_qkv");
    std::string parallel = key("use_parallel_residual");
    if (std::optional<bool> value = metadata.getBool(parallel, problems))
      set(keys.parallelResidual, *value);
    else if (family.parallelSharesNorm) // then the MLP has no norm of its own
      set(keys.parallelResidual, model.tensors.count("blk.0.ffn_norm.weight") == 0);
  }

  const GgufModel &model;
  const GgufMetadata &metadata;
  const Family &family;
  const ConfigKeys &keys;
  std::string prefix;
  Problems &problems;
  json config = json::object();
  int64_t heads = 0, headDim = 0;
};
} // namespace

json kiln::translateConfig(const GgufModel &model, const GgufArchitecture &architecture,
                           const Family &family, Problems &problems) {
  return ConfigTranslator(model, architecture, family, problems).run();
}

json kiln::translateGeneration(const GgufMetadata &metadata, Problems &problems) {
  json generation = json::object();
  std::vector<int64_t> ends;
  auto addEnd = [&](int64_t id) {
    if (!is_contained(ends, id))
      ends.push_back(id);
  };
  if (std::optional<int64_t> id =
          metadata.getInteger("tokenizer.ggml.bos_token_id", 0, INT32_MAX, problems))
    generation["bos_token_id"] = *id;
  for (StringRef key : {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id",
                        "tokenizer.ggml.eom_token_id"})
    if (std::optional<int64_t> id = metadata.getInteger(key, 0, INT32_MAX, problems))
      addEnd(*id);
  // Files often name one end token and have others; chat models end their turns with these.
  static constexpr StringLiteral turnEnds[] = {"<|im_end|>", "<|eot_id|>",    "<|eom_id|>",
                                               "<|end|>",    "<end_of_turn>", "<|endoftext|>"};
  if (std::optional<std::vector<StringRef>> tokens =
          metadata.getStrings("tokenizer.ggml.tokens", problems))
    for (auto [id, text] : enumerate(*tokens))
      if (is_contained(turnEnds, text))
        addEnd(int64_t(id));
  if (!ends.empty())
    generation["eos_token_id"] = ends;
  return generation;
}

json kiln::translateTokenizerConfig(const GgufMetadata &metadata, Problems &problems) {
  json tokenizer = json::object();
  std::optional<bool> addBos = metadata.getBool("tokenizer.ggml.add_bos_token", problems);
  std::optional<StringRef> kind = metadata.getString("tokenizer.ggml.model", problems);
  if (addBos || kind)
    tokenizer["add_bos_token"] = addBos.value_or(kind && *kind == "llama");
  if (std::optional<StringRef> text = metadata.getString("tokenizer.chat_template", problems))
    tokenizer["chat_template"] = text->str();
  return tokenizer;
}
