// Compiles any bytes as tokenizer.json; what compiles must open and encode.

#include "encode_any_text.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  llvm::StringRef json(reinterpret_cast<const char *>(data), size);
  kiln::fuzz::encodeAnyText(kiln::compileTokenizerJson(json, ""));
  return 0;
}
