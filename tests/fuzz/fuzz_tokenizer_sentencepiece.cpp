// Compiles any bytes as a SentencePiece model; what compiles must open and encode.

#include "encode_any_text.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  llvm::StringRef model(reinterpret_cast<const char *>(data), size);
  kiln::fuzz::encodeAnyText(kiln::compileTokenizerSentencePiece(model, ""));
  return 0;
}
