// Encodes and decodes for compare_with_tokenizers.py: compiles the tokenizer of a path, then
// answers one line per line of input.
//   e FLAGS HEX        ids of the text, separated by spaces
//   d FLAGS ID ...     hex of the decoded bytes, a space, hex of the streamed text
//   f FLAGS IN OUT N   encodes the texts of the file IN (each a u32 size and its bytes) to the file
//                      OUT (each a u32 count and its ids); the seconds of the fastest of N times
//   g FLAGS IN OUT N   the same the other way, ids to texts

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

/// The blocks of a file, each a u32 count and so many elements.
template <typename T> static std::vector<std::vector<T>> readBlocks(const std::string &path) {
  std::ifstream input(path, std::ios::binary);
  std::vector<std::vector<T>> blocks;
  for (uint32_t count; input.read(reinterpret_cast<char *>(&count), sizeof count);) {
    blocks.emplace_back(count);
    input.read(reinterpret_cast<char *>(blocks.back().data()),
               static_cast<std::streamsize>(count * sizeof(T)));
  }
  return blocks;
}

/// Turns every block of the file `in` into one of the file `out`, `rounds` times; `turn` writes to
/// `room` and says how much. The seconds of the fastest round, or what went wrong.
template <typename From, typename To, typename Turn>
static std::string turnFile(const std::string &in, const std::string &out, int rounds,
                            std::vector<To> room, Turn turn) {
  std::vector<std::vector<From>> blocks = readBlocks<From>(in);
  std::vector<std::vector<To>> results(blocks.size());
  double best = 0;
  for (int round = 0; round < rounds; ++round) {
    double seconds = 0;
    for (size_t i = 0; i < blocks.size(); ++i) {
      size_t count = 0;
      auto begin = std::chrono::steady_clock::now();
      kiln_status_t status = turn(blocks[i], room, &count);
      if (status == KILN_BUFFER_TOO_SMALL) {
        room.resize(2 * count);
        begin = std::chrono::steady_clock::now();
        status = turn(blocks[i], room, &count);
      }
      seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
      if (status)
        return "failed";
      results[i].assign(room.begin(), room.begin() + static_cast<ptrdiff_t>(count));
    }
    best = round == 0 ? seconds : std::min(best, seconds);
  }
  std::ofstream output(out, std::ios::binary);
  for (const auto &result : results) {
    auto count = static_cast<uint32_t>(result.size());
    output.write(reinterpret_cast<const char *>(&count), sizeof count);
    output.write(reinterpret_cast<const char *>(result.data()),
                 static_cast<std::streamsize>(count * sizeof(To)));
  }
  return std::to_string(best);
}

static std::string encodeFile(const kiln_tokenizer_t *tokenizer, uint32_t flags,
                              const std::string &in, const std::string &out, int rounds) {
  return turnFile<char, int32_t>(
      in, out, rounds, std::vector<int32_t>(1 << 16),
      [&](const std::vector<char> &text, std::vector<int32_t> &ids, size_t *count) {
        return kiln_tokenizer_encode(tokenizer, text.data(), text.size(), flags, ids.data(),
                                     ids.size(), count, nullptr);
      });
}

static std::string decodeFile(const kiln_tokenizer_t *tokenizer, uint32_t flags,
                              const std::string &in, const std::string &out, int rounds) {
  return turnFile<int32_t, char>(
      in, out, rounds, std::vector<char>(1 << 18),
      [&](const std::vector<int32_t> &ids, std::vector<char> &text, size_t *size) {
        return kiln_tokenizer_decode(tokenizer, ids.data(), ids.size(), flags, text.data(),
                                     text.size(), size, nullptr);
      });
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
    } else if (command == "f" || command == "g") {
      std::string in, out;
      int rounds = 1;
      words >> in >> out >> rounds;
      auto turn = command == "f" ? encodeFile : decodeFile;
      std::printf("%s\n", turn(tokenizer, flags, in, out, rounds).c_str());
    } else {
      std::vector<int32_t> ids;
      for (int32_t id; words >> id;)
        ids.push_back(id);
      std::printf("%s\n", decode(tokenizer, flags, ids).c_str());
    }
  }
  kiln_tokenizer_close(tokenizer);
}
