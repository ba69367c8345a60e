// Compiles any bytes as tokenizer.json; what compiles must open and encode.

#include "compiler/tokenizer/Tokenizer.h"
#include "kiln/llm.h"

#include "llvm/Support/Error.h"

#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  llvm::StringRef json(reinterpret_cast<const char *>(data), size);
  auto tables = kiln::compileTokenizerJson(json, "");
  if (!tables) {
    llvm::consumeError(tables.takeError());
    return 0;
  }
  kiln_tokenizer_t *tokenizer = nullptr;
  if (kiln_tokenizer_open_memory(tables->data(), tables->size(), &tokenizer, nullptr) != KILN_OK)
    std::abort();
  constexpr char text[] = "The kiln's  fire\n\t12 <s> \xC3\xA9\xF0\x9F\x91\x8D \xFF";
  int32_t ids[256];
  size_t count = 0;
  kiln_tokenizer_encode(tokenizer, text, sizeof(text) - 1, KILN_ENCODE_TEMPLATE, ids, 256, &count,
                        nullptr);
  kiln_tokenizer_close(tokenizer);
  return 0;
}
