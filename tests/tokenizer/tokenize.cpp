// Encodes and decodes for compare_with_tokenizers.py: compiles the tokenizer of a path, then
// answers one line per line of input.
//   e FLAGS HEX        ids of the text, separated by spaces
//   d FLAGS ID ...     hex of the decoded bytes, a space, hex of the streamed text
//   f FLAGS IN OUT N   encodes the texts of the file IN (each a u32 size and its bytes) to the file
//   OUT
//                      (each a u32 count and its ids); the seconds of the fastest of N times

#include "compiler/tokenizer/Tokenizer.h"
#include "kiln/llm.h"

#include "llvm/ADT/StringExtras.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

static std::string encode(const kiln_tokenizer_t *tokenizer, uint32_t flags,
                          const std::string &text) {
  size_t count = 0;
  kiln_tokenizer_encode(tokenizer, text.data(), text.size(), flags, nullptr, 0, &count, nullptr);
  std::vector<int32_t> ids(count);
  kiln_error error = {};
  if (kiln_tokenizer_encode(tokenizer, text.data(), text.size(), flags, ids.data(), count, &count,
                            &error))
    return error.text;
  std::string line;
  for (int32_t id : ids)
    line += std::to_string(id) + " ";
  return line;
}

static std::string decode(const kiln_tokenizer_t *tokenizer, uint32_t flags,
                          const std::vector<int32_t> &ids) {
  size_t size = 0;
  kiln_tokenizer_decode(tokenizer, ids.data(), ids.size(), flags, nullptr, 0, &size, nullptr);
  std::string whole(size, '\0'), streamed, piece(kiln_tokenizer_max_piece_bytes(tokenizer), '\0');
  kiln_tokenizer_decode(tokenizer, ids.data(), ids.size(), flags, &whole[0], size, &size, nullptr);
  kiln_text_stream stream;
  kiln_text_stream_begin(&stream, tokenizer, flags);
  for (int32_t id : ids) {
    kiln_text_stream_push(&stream, id, &piece[0], piece.size(), &size, nullptr);
    streamed.append(piece, 0, size);
  }
  kiln_text_stream_end(&stream, &piece[0], piece.size(), &size, nullptr);
  streamed.append(piece, 0, size);
  return llvm::toHex(whole) + " " + llvm::toHex(streamed);
}

static std::string encodeFile(const kiln_tokenizer_t *tokenizer, uint32_t flags,
                              const std::string &in, const std::string &out, int rounds) {
  std::ifstream input(in, std::ios::binary);
  std::vector<std::string> texts;
  for (uint32_t size; input.read(reinterpret_cast<char *>(&size), sizeof size);) {
    texts.emplace_back(size, '\0');
    input.read(&texts.back()[0], size);
  }
  std::vector<std::vector<int32_t>> results(texts.size());
  std::vector<int32_t> ids;
  double best = 0;
  for (int round = 0; round < rounds; ++round) {
    double seconds = 0;
    for (size_t i = 0; i < texts.size(); ++i) {
      ids.resize(4 * texts[i].size() + 64);
      size_t count = 0;
      auto begin = std::chrono::steady_clock::now();
      kiln_status_t status = kiln_tokenizer_encode(tokenizer, texts[i].data(), texts[i].size(),
                                                   flags, ids.data(), ids.size(), &count, nullptr);
      seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
      if (status)
        return "failed";
      results[i].assign(ids.begin(), ids.begin() + static_cast<ptrdiff_t>(count));
    }
    best = round == 0 ? seconds : std::min(best, seconds);
  }
  std::ofstream output(out, std::ios::binary);
  for (const auto &result : results) {
    auto count = static_cast<uint32_t>(result.size());
    output.write(reinterpret_cast<const char *>(&count), sizeof count);
    output.write(reinterpret_cast<const char *>(result.data()), count * sizeof(int32_t));
  }
  return std::to_string(best);
}

int main(int argc, char **argv) {
  if (argc != 2 && argc != 3) {
    std::fprintf(stderr, "usage: kiln-tokenize PATH [TABLES_TO_WRITE]\n");
    return 2;
  }
  auto tables = kiln::compileTokenizerPath(argv[1]);
  if (!tables) {
    std::fprintf(stderr, "%s\n", llvm::toString(tables.takeError()).c_str());
    return 1;
  }
  if (argc == 3)
    std::ofstream(argv[2], std::ios::binary)
        .write(reinterpret_cast<const char *>(tables->data()),
               static_cast<std::streamsize>(tables->size()));
  kiln_tokenizer_t *tokenizer = nullptr;
  kiln_error error = {};
  if (kiln_tokenizer_open_memory(tables->data(), tables->size(), &tokenizer, &error)) {
    std::fprintf(stderr, "%s\n", error.text);
    return 1;
  }
  std::fprintf(stderr, "%zu bytes of tables\n", tables->size());
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream words(line);
    std::string command, text;
    uint32_t flags = 0;
    words >> command >> flags;
    if (command == "e") {
      words >> text;
      std::printf("%s\n", encode(tokenizer, flags, llvm::fromHex(text)).c_str());
    } else if (command == "f") {
      std::string in, out;
      int rounds = 1;
      words >> in >> out >> rounds;
      std::printf("%s\n", encodeFile(tokenizer, flags, in, out, rounds).c_str());
    } else {
      std::vector<int32_t> ids;
      for (int32_t id; words >> id;)
        ids.push_back(id);
      std::printf("%s\n", decode(tokenizer, flags, ids).c_str());
    }
  }
  kiln_tokenizer_close(tokenizer);
}
