// Tiny models in Hugging Face layout, written by the tests themselves.
#ifndef KILN_TESTS_IMPORT_TINYMODEL_H
#define KILN_TESTS_IMPORT_TINYMODEL_H

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace kiln::testing {

struct TinyTensor {
  std::string name;
  std::string dtype; // as safetensors spells it
  std::vector<int64_t> shape;
};

/// A folder that is removed with its contents at the end of the scope.
class TemporaryFolder {
public:
  TemporaryFolder();
  ~TemporaryFolder();
  std::string path(const std::string &file) const { return folder + "/" + file; }
  const std::string &get() const { return folder; }
  void write(const std::string &file, const std::string &bytes) const;

private:
  std::string folder;
};

/// Eight bytes of length, the header, and the data.
std::string joinSafetensors(const std::string &header, const std::string &data);

/// A sound file of these tensors in this order, with small pseudo-random values.
std::string packSafetensors(const std::vector<TinyTensor> &tensors);

/// Change the fields, then write.
struct TinyModel {
  nlohmann::json config, generation, tokenizer;
  std::vector<TinyTensor> tensors;

  /// hidden 16, 4 heads on 2 kv heads, MLP 24, vocabulary 32, context 100.
  static TinyModel llama(int layers = 2, const std::string &dtype = "F32");
  /// hidden 16, 4 heads, MLP 64, vocabulary 32, context 64.
  static TinyModel gpt2(int layers = 2, const std::string &prefix = "transformer.");

  /// The model that this config.json describes, with the tensors that the family's record names.
  static TinyModel fromConfig(const nlohmann::json &config);

  TinyTensor &find(const std::string &name);
  void remove(const std::string &name);
  /// Writes config, generation and tokenizer config (where not null) and the tensors, over `shards`
  /// files with an index where more than one.
  void write(const TemporaryFolder &folder, int shards = 1) const;
};

} // namespace kiln::testing

#endif
