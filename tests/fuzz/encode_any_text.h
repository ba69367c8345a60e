// What the fuzzers of tokenizer files do with one that was compiled.

#ifndef KILN_TESTS_FUZZ_ENCODE_ANY_TEXT_H
#define KILN_TESTS_FUZZ_ENCODE_ANY_TEXT_H

#include "compiler/tokenizer/Tokenizer.h"
#include "kiln/llm.h"

#include "llvm/Support/Error.h"

#include <cstdlib>

namespace kiln::fuzz {

/// Tables that were compiled must open, and texts must encode and decode without harm.
inline void encodeAnyText(llvm::Expected<std::vector<uint8_t>> tables) {
  if (!tables) {
    llvm::consumeError(tables.takeError());
    return;
  }
  kiln_tokenizer_t *tokenizer = nullptr;
  if (kiln_tokenizer_open_memory(tables->data(), tables->size(), &tokenizer, nullptr) != KILN_OK)
    std::abort();
  constexpr char text[] = "The kiln's  fire\n\t12 <s> \xC3\xA9 e\xCC\x81 \xF0\x9F\x91\x8D \xFF"
                          "\xE6\x97\xA5\xE2\x96\x81\xEF\xBC\xA1 \xEA\xB0\x81 ab abab";
  int32_t ids[256];
  size_t count = 0, bytes = 0;
  kiln_tokenizer_encode(tokenizer, text, sizeof(text) - 1, KILN_ENCODE_TEMPLATE, ids, 256, &count,
                        nullptr);
  kiln_tokenizer_decode(tokenizer, ids, count < 256 ? count : 256, 0, nullptr, 0, &bytes, nullptr);
  kiln_tokenizer_close(tokenizer);
}

} // namespace kiln::fuzz

#endif // KILN_TESTS_FUZZ_ENCODE_ANY_TEXT_H
