// A tokenizer compiled and opened for a test.

#ifndef KILN_TESTS_TOKENIZER_COMPILEDTOKENIZER_H
#define KILN_TESTS_TOKENIZER_COMPILEDTOKENIZER_H

#include "compiler/tokenizer/Tokenizer.h"
#include "kiln/llm.h"

#include "llvm/Support/Error.h"

#include <string>
#include <vector>

namespace kiln::test {

class CompiledTokenizer {
public:
  explicit CompiledTokenizer(std::vector<uint8_t> tables) : tables(std::move(tables)) { open(); }
  explicit CompiledTokenizer(const std::string &path) {
    auto compiled = compileTokenizerPath(path);
    if (!compiled) {
      error = llvm::toString(compiled.takeError());
      return;
    }
    tables = std::move(*compiled);
    open();
  }
  ~CompiledTokenizer() { kiln_tokenizer_close(tokenizer); }
  CompiledTokenizer(const CompiledTokenizer &) = delete;

  std::vector<int32_t> encode(const std::string &text, uint32_t flags = 0) const {
    size_t count = 0;
    kiln_tokenizer_encode(tokenizer, text.data(), text.size(), flags, nullptr, 0, &count, nullptr);
    std::vector<int32_t> ids(count);
    kiln_tokenizer_encode(tokenizer, text.data(), text.size(), flags, ids.data(), count, &count,
                          nullptr);
    return ids;
  }

  std::string decode(const std::vector<int32_t> &ids, uint32_t flags = 0) const {
    size_t size = 0;
    kiln_tokenizer_decode(tokenizer, ids.data(), ids.size(), flags, nullptr, 0, &size, nullptr);
    std::string text(size, '\0');
    kiln_tokenizer_decode(tokenizer, ids.data(), ids.size(), flags, &text[0], size, &size, nullptr);
    return text;
  }

  std::vector<std::string> stream(const std::vector<int32_t> &ids, uint32_t flags = 0) const {
    std::vector<std::string> pieces;
    std::string piece(kiln_tokenizer_max_piece_bytes(tokenizer), '\0');
    kiln_text_stream stream;
    kiln_text_stream_begin(&stream, tokenizer, flags);
    size_t size = 0;
    for (int32_t id : ids) {
      kiln_text_stream_push(&stream, id, &piece[0], piece.size(), &size, nullptr);
      pieces.push_back(piece.substr(0, size));
    }
    kiln_text_stream_end(&stream, &piece[0], piece.size(), &size, nullptr);
    pieces.push_back(piece.substr(0, size));
    return pieces;
  }

  std::vector<uint8_t> tables;
  kiln_tokenizer_t *tokenizer = nullptr;
  std::string error;

private:
  void open() {
    kiln_error failure = {};
    if (kiln_tokenizer_open_memory(tables.data(), tables.size(), &tokenizer, &failure))
      error = failure.text;
  }
};

} // namespace kiln::test

#endif // KILN_TESTS_TOKENIZER_COMPILEDTOKENIZER_H
