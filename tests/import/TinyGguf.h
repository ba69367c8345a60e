// Small GGUF files, sound or spoiled, written by the tests themselves.
#ifndef KILN_TESTS_IMPORT_TINYGGUF_H
#define KILN_TESTS_IMPORT_TINYGGUF_H

#include "TinyModel.h"
#include "compiler/import/gguf/GgufFile.h"

namespace kiln::testing {

/// Bytes of a little-endian number.
template <typename T> std::string little(T value) {
  std::string bytes(sizeof(T), 0);
  memcpy(bytes.data(), &value, sizeof(T));
  return bytes;
}

/// A GGUF string: length and bytes.
std::string ggufString(const std::string &text);

/// Change the fields, then build.
struct TinyGguf {
  struct Tensor {
    std::string name;
    uint32_t type = 0;
    std::vector<int64_t> shape; // outermost dim first
    std::string bytes;
    std::optional<uint64_t> offset; // in the data; else behind the tensor before
  };
  uint32_t version = 3;
  uint64_t alignment = 32;         // what tensors are padded to; the key is added by hand
  std::vector<std::string> values; // keys, types and values, as the file has them
  std::vector<Tensor> tensors;
  std::optional<uint64_t> valueCount, tensorCount; // else as many as there are

  void add(const std::string &key, GgufValueType type, const std::string &bytes);
  void addString(const std::string &key, const std::string &text);
  void addInteger(const std::string &key, uint32_t value);
  void addFloat(const std::string &key, float value);
  void addBool(const std::string &key, bool value);
  void addArray(const std::string &key, GgufValueType type, uint64_t count,
                const std::string &bytes);
  void addStrings(const std::string &key, const std::vector<std::string> &texts);
  /// Small pseudo-random values, f32.
  void addTensor(const std::string &name, std::vector<int64_t> shape);
  Tensor &find(const std::string &name);
  void remove(const std::string &name);

  std::string build() const;

  /// What TinyModel::llama(layers) is, as a converter would write it: rows of q and k interleaved.
  static TinyGguf llama(int layers = 2);
};

} // namespace kiln::testing

#endif
