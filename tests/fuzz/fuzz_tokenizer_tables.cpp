// Opens any bytes as a tokenizer section; what opens must encode and decode without harm.

#include "kiln/llm.h"

#include <cstdlib>
#include <cstring>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  void *copy = std::malloc(size ? size : 1); // aligned, and exactly as large
  std::memcpy(copy, data, size);
  kiln_tokenizer_t *tokenizer = nullptr;
  if (kiln_tokenizer_open_memory(copy, size, &tokenizer, nullptr) == KILN_OK) {
    constexpr char text[] = "The kiln's  fire\n\t12 <s> \xC3\xA9\xF0\x9F\x91\x8D \xFF";
    int32_t ids[256];
    size_t count = 0, bytes = 0;
    kiln_tokenizer_encode(tokenizer, text, sizeof(text) - 1, KILN_ENCODE_TEMPLATE, ids, 256, &count,
                          nullptr);
    size_t kept = count < 256 ? count : 256;
    kiln_tokenizer_decode(tokenizer, ids, kept, 0, nullptr, 0, &bytes, nullptr);
    size_t capacity = kiln_tokenizer_max_piece_bytes(tokenizer);
    char *piece = static_cast<char *>(std::malloc(capacity));
    kiln_text_stream stream;
    kiln_text_stream_begin(&stream, tokenizer, KILN_DECODE_SKIP_SPECIAL);
    for (size_t i = 0; i < kept; ++i) {
      kiln_text_stream_push(&stream, ids[i], piece, capacity, &bytes, nullptr);
      if (bytes > capacity)
        std::abort();
    }
    kiln_text_stream_end(&stream, piece, capacity, &bytes, nullptr);
    std::free(piece);
    kiln_tokenizer_close(tokenizer);
  }
  std::free(copy);
  return 0;
}
