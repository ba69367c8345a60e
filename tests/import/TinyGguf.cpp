// Writes tiny GGUF files.
#include "TinyGguf.h"
#include <algorithm>

using namespace kiln;
using namespace kiln::testing;

std::string kiln::testing::ggufString(const std::string &text) {
  return little(uint64_t(text.size())) + text;
}

void TinyGguf::add(const std::string &key, GgufValueType type, const std::string &bytes) {
  values.push_back(ggufString(key) + little(uint32_t(type)) + bytes);
}

void TinyGguf::addString(const std::string &key, const std::string &text) {
  add(key, GgufValueType::String, ggufString(text));
}

void TinyGguf::addInteger(const std::string &key, uint32_t value) {
  add(key, GgufValueType::UInt32, little(value));
}

void TinyGguf::addFloat(const std::string &key, float value) {
  add(key, GgufValueType::Float32, little(value));
}

void TinyGguf::addBool(const std::string &key, bool value) {
  add(key, GgufValueType::Bool, little(uint8_t(value)));
}

void TinyGguf::addArray(const std::string &key, GgufValueType type, uint64_t count,
                        const std::string &bytes) {
  add(key, GgufValueType::Array, little(uint32_t(type)) + little(count) + bytes);
}

void TinyGguf::addStrings(const std::string &key, const std::vector<std::string> &texts) {
  std::string bytes;
  for (const std::string &text : texts)
    bytes += ggufString(text);
  addArray(key, GgufValueType::String, texts.size(), bytes);
}

void TinyGguf::addTensor(const std::string &name, std::vector<int64_t> shape) {
  Tensor tensor = {name, 0, std::move(shape), "", std::nullopt};
  int64_t count = 1;
  for (int64_t extent : tensor.shape)
    count *= extent;
  uint32_t state = 12345 + uint32_t(tensors.size());
  for (int64_t i = 0; i < count; ++i) {
    state = state * 1664525 + 1013904223;
    tensor.bytes += little(float(int32_t(state)) / float(1u << 31) / 4);
  }
  tensors.push_back(std::move(tensor));
}

TinyGguf::Tensor &TinyGguf::find(const std::string &name) {
  return *std::find_if(tensors.begin(), tensors.end(),
                       [&](const Tensor &tensor) { return tensor.name == name; });
}

void TinyGguf::remove(const std::string &name) {
  tensors.erase(tensors.begin() + (&find(name) - tensors.data()));
}

std::string TinyGguf::build() const {
  std::string bytes = "GGUF" + little(version) + little(tensorCount.value_or(tensors.size())) +
                      little(valueCount.value_or(values.size()));
  for (const std::string &value : values)
    bytes += value;
  std::string data;
  for (const Tensor &tensor : tensors) {
    data.resize((data.size() + alignment - 1) / alignment * alignment);
    bytes += ggufString(tensor.name) + little(uint32_t(tensor.shape.size()));
    for (size_t dim = tensor.shape.size(); dim-- > 0;)
      bytes += little(tensor.shape[dim]);
    bytes += little(tensor.type) + little(tensor.offset.value_or(data.size()));
    data += tensor.bytes;
  }
  bytes.resize((bytes.size() + alignment - 1) / alignment * alignment);
  return bytes + data;
}

TinyGguf TinyGguf::llama(int layers) {
  TinyGguf file;
  file.addString("general.architecture", "llama");
  file.addString("general.name", "Tiny");
  file.addInteger("llama.block_count", uint32_t(layers));
  file.addInteger("llama.context_length", 100);
  file.addInteger("llama.embedding_length", 16);
  file.addInteger("llama.feed_forward_length", 24);
  file.addInteger("llama.attention.head_count", 4);
  file.addInteger("llama.attention.head_count_kv", 2);
  file.addFloat("llama.attention.layer_norm_rms_epsilon", 1e-5f);
  file.addFloat("llama.rope.freq_base", 10000);
  file.addInteger("llama.rope.dimension_count", 4);
  file.addInteger("tokenizer.ggml.bos_token_id", 1);
  file.addInteger("tokenizer.ggml.eos_token_id", 2);
  file.addTensor("token_embd.weight", {32, 16});
  for (int i = 0; i < layers; ++i) {
    std::string layer = "blk." + std::to_string(i) + ".";
    file.addTensor(layer + "attn_norm.weight", {16});
    file.addTensor(layer + "attn_q.weight", {16, 16});
    file.addTensor(layer + "attn_k.weight", {8, 16});
    file.addTensor(layer + "attn_v.weight", {8, 16});
    file.addTensor(layer + "attn_output.weight", {16, 16});
    file.addTensor(layer + "ffn_norm.weight", {16});
    file.addTensor(layer + "ffn_gate.weight", {24, 16});
    file.addTensor(layer + "ffn_up.weight", {24, 16});
    file.addTensor(layer + "ffn_down.weight", {16, 24});
  }
  file.addTensor("output_norm.weight", {16});
  file.addTensor("output.weight", {32, 16});
  return file;
}
