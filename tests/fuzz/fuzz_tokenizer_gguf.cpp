// Compiles the tokenizer of any bytes as a GGUF file's header; what compiles must open and encode.

#include "compiler/import/gguf/GgufFile.h"
#include "encode_any_text.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  llvm::StringRef bytes(reinterpret_cast<const char *>(data), size);
  kiln::Problems problems;
  std::optional<kiln::GgufHeader> header = kiln::parseGgufHeader("any.gguf", bytes, size, problems);
  if (header)
    kiln::fuzz::encodeAnyText(kiln::compileTokenizerGguf(header->metadata, "any.gguf"));
  return 0;
}
