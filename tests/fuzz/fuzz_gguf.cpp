// Any bytes as a GGUF file: an answer or problems, never both; every tensor lies in the file after
// the one before; every value can be read as any type; and a model that the importer can translate
// has a config that it can read or refuse. The first byte says how much of the file the parser
// gets.
#include "compiler/import/DecoderConfig.h"
#include "compiler/import/DecoderPlan.h"
#include "compiler/import/gguf/GgufModel.h"
#include <cstddef>
#include <cstdint>

using namespace kiln;

static void readValues(const GgufMetadata &metadata) {
  Problems problems;
  for (llvm::StringRef key : metadata.getKeys()) {
    metadata.getString(key, problems);
    metadata.getInteger(key, -1, 1000, problems);
    metadata.getUnsigned(key, problems);
    metadata.getNumber(key, problems);
    metadata.getBool(key, problems);
    metadata.getStrings(key, problems);
    metadata.getIntegers(key, problems);
    metadata.getNumbers(key, problems);
    if (metadata.print(key).empty() || !metadata.has(key))
      __builtin_trap();
  }
}

/// What import does after the header, but for the tensors' data.
static void translate(const GgufHeader &header) {
  GgufModel model;
  model.folder = "/nonexistent";
  model.file = "m.gguf";
  model.metadata = header.metadata;
  for (const GgufTensor &tensor : header.tensors)
    model.tensors.try_emplace(tensor.name, GgufModel::Tensor{"m.gguf", tensor});
  Problems problems;
  std::optional<GgufDecoder> decoder = translateGguf(model, problems);
  if (!decoder)
    return;
  std::optional<DecoderConfig> config = readDecoderConfig(decoder->config, std::nullopt);
  if (!config)
    return;
  config->family = &decoder->family;
  readGenerationConfig(decoder->config, decoder->generation, decoder->tokenizer,
                       config->vocabulary);
  if (config->layers <= 8 && config->experts <= 8)
    checkTensors(*config, planDecoder(*config, true), decoder->tensors, problems);
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size == 0)
    return 0;
  llvm::StringRef bytes(reinterpret_cast<const char *>(data + 1), size - 1);
  Problems ofPrefix, problems;
  parseGgufHeader("m", bytes.take_front(data[0] * 4), bytes.size(), ofPrefix);
  std::optional<GgufHeader> header = parseGgufHeader("m", bytes, bytes.size(), problems);
  if (header.has_value() != problems.empty())
    __builtin_trap();
  if (!header)
    return 0;
  uint64_t end = 0;
  for (const GgufTensor &tensor : header->tensors) {
    if (tensor.offset > bytes.size() || tensor.sizeBytes > bytes.size() - tensor.offset ||
        tensor.offset < end)
      __builtin_trap();
    end = tensor.offset + tensor.sizeBytes;
  }
  readValues(header->metadata);
  translate(*header);
  return 0;
}
