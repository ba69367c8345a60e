// Reads the sizes of a model from config.json or GGUF metadata, and sorts its tensors by name into
// the kinds that differ in work: an embedding is looked up, a head is multiplied, of experts a few
// are.
#include "compiler/estimate/ModelShape.h"
#include "compiler/import/ConfigObject.h"
#include "compiler/import/InputFile.h"
#include "compiler/import/ModelFolder.h"
#include "compiler/import/gguf/GgufFile.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/ADT/Twine.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"

using namespace kiln;
using llvm::StringRef;

static constexpr int64_t kMost = int64_t(1) << 40;

static void addTensor(ModelShape &shape, StringRef name, llvm::ArrayRef<int64_t> dims,
                      uint64_t sizeBytes) {
  uint64_t count = 1;
  for (int64_t dim : dims)
    count *= uint64_t(dim);
  shape.storedBytes += sizeBytes;
  bool isEmbedding = name.contains("embed_tokens") || name.ends_with("wte.weight") ||
                     name.contains("embed_in") || name.contains("word_embeddings.weight") ||
                     name == "token_embd.weight";
  bool isHead =
      name.starts_with("lm_head") || name.contains("embed_out") || name == "output.weight";
  bool isPosition = name.contains("wpe.") || name.contains("position_embd") ||
                    name.contains("position_embeddings");
  if (dims.size() < 2 || isPosition)
    shape.otherParameters += count;
  else if (isEmbedding)
    shape.embeddingParameters += count;
  else if (isHead)
    shape.headParameters += count;
  else if (name.contains(".experts.") || name.contains("_exps."))
    shape.expertParameters += count;
  else
    shape.matrixParameters += count;
}

/// The first of the keys that is there.
static int64_t anyInteger(const ConfigObject &config, std::initializer_list<StringRef> keys,
                          int64_t absent) {
  for (StringRef key : keys)
    if (auto value = config.getInteger(key, 0, kMost))
      return *value;
  return absent;
}

static std::optional<ModelShape> readFolder(StringRef folder, Problems &problems) {
  llvm::SmallString<256> path(folder);
  llvm::sys::path::append(path, "config.json");
  auto text = readSmallFile(path, "config.json", 64u << 20, problems);
  auto whole = text ? ConfigObject::parse("config.json", *text, problems) : std::nullopt;
  if (!whole)
    return std::nullopt;
  // Models that see or hear keep their language model's sizes apart.
  std::optional<ConfigObject> inner = whole->getObject("text_config");
  const ConfigObject &config = inner ? *inner : *whole;
  ModelShape shape;
  shape.architecture = whole->getString("model_type").value_or("unknown");
  shape.hidden = anyInteger(config, {"hidden_size", "n_embd", "d_model"}, 0);
  shape.layers = anyInteger(config, {"num_hidden_layers", "n_layer", "num_layers"}, 0);
  shape.heads = anyInteger(config, {"num_attention_heads", "n_head"}, 0);
  shape.kvHeads = anyInteger(config, {"num_key_value_heads"}, shape.heads);
  shape.headDim = anyInteger(config, {"head_dim"}, shape.heads ? shape.hidden / shape.heads : 0);
  shape.intermediate = anyInteger(config, {"intermediate_size", "n_inner"}, 4 * shape.hidden);
  shape.vocabulary = anyInteger(config, {"vocab_size"}, 0);
  shape.contextLength = anyInteger(
      config, {"max_position_embeddings", "n_positions", "n_ctx", "max_sequence_length"}, 2048);
  shape.window = anyInteger(config, {"sliding_window"}, 0);
  if (config.getBool("use_sliding_window") == false)
    shape.window = 0;
  int64_t pattern = anyInteger(config, {"sliding_window_pattern"}, 0);
  std::vector<std::string> types =
      config.has("layer_types") ? config.getStrings("layer_types") : std::vector<std::string>();
  for (int64_t i = 0; shape.window && i < shape.layers; ++i)
    shape.windowedLayers +=
        !types.empty() ? i < int64_t(types.size()) && types[size_t(i)] == "sliding_attention"
                       : pattern == 0 || (i + 1) % pattern != 0;
  shape.experts = anyInteger(config, {"num_local_experts", "num_experts", "n_routed_experts"}, 0);
  shape.expertsUsed = anyInteger(config, {"num_experts_per_tok"}, 0);
  auto tensors = readModelTensors(folder, problems);
  if (!tensors)
    return std::nullopt;
  for (const auto &[name, tensor] : tensors->byName)
    addTensor(shape, name, tensor.entry.shape, tensor.entry.sizeBytes);
  return shape;
}

static std::optional<ModelShape> readGguf(StringRef path, Problems &problems) {
  auto header = readGgufHeader(path, llvm::sys::path::filename(path), problems);
  if (!header)
    return std::nullopt;
  const GgufMetadata &metadata = header->metadata;
  ModelShape shape;
  shape.architecture = metadata.getString("general.architecture", problems).value_or("").str();
  auto integer = [&](StringRef key, int64_t absent) {
    std::string full = shape.architecture + "." + key.str();
    if (!metadata.has(full) || metadata.isArray(full))
      return absent;
    return metadata.getInteger(full, 0, kMost, problems).value_or(absent);
  };
  shape.hidden = integer("embedding_length", 0);
  shape.layers = integer("block_count", 0);
  shape.heads = integer("attention.head_count", 0);
  shape.kvHeads = integer("attention.head_count_kv", shape.heads);
  shape.headDim = integer("attention.key_length", shape.heads ? shape.hidden / shape.heads : 0);
  shape.intermediate = integer("feed_forward_length", 0);
  shape.contextLength = integer("context_length", 2048);
  shape.window = integer("attention.sliding_window", 0);
  shape.windowedLayers = shape.window ? shape.layers : 0;
  if (shape.architecture == "gemma3") // every sixth layer sees all
    shape.windowedLayers = shape.layers - shape.layers / 6;
  else if (shape.architecture == "gemma2")
    shape.windowedLayers = (shape.layers + 1) / 2;
  shape.experts = integer("expert_count", 0);
  shape.expertsUsed = integer("expert_used_count", 0);
  for (const GgufTensor &tensor : header->tensors) {
    addTensor(shape, tensor.name, tensor.shape, tensor.sizeBytes);
    if (tensor.name == "token_embd.weight" && !tensor.shape.empty())
      shape.vocabulary = tensor.shape[0];
  }
  return shape;
}

std::optional<ModelShape> kiln::readModelShape(StringRef path, Problems &problems) {
  bool isFolder = llvm::sys::fs::is_directory(path);
  auto shape = isFolder ? readFolder(path, problems) : readGguf(path, problems);
  if (!shape)
    return std::nullopt;
  if (shape->hidden < 1 || shape->layers < 1 || shape->heads < 1 || shape->headDim < 1 ||
      shape->vocabulary < 1 || shape->contextLength < 1) {
    problems.add(path + ": the hidden size, layers, heads, vocabulary or context length of a " +
                 shape->architecture + " model are not given");
    return std::nullopt;
  }
  return shape;
}
