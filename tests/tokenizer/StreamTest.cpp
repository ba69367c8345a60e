// A stream of any tokens, as a model may sample them, comes out in whole characters, and together
// they are the text that decoding at once gives, with U+FFFD for each maximal part of a broken
// character (Unicode 16, section 3.9, table 3-8).

#include "CompiledTokenizer.h"

#include <gtest/gtest.h>

#include <random>

using kiln::test::CompiledTokenizer;

namespace {

/// The length of the well-formed character at the beginning of the text (table 3-7), or 0, and in
/// `part` how many bytes may begin one.
size_t wellFormed(const std::string &text, size_t at, size_t &part) {
  auto byte = [&](size_t i) -> unsigned {
    return at + i < text.size() ? static_cast<uint8_t>(text[at + i]) : 0u;
  };
  unsigned lead = byte(0);
  part = 1;
  if (lead < 0x80)
    return 1;
  size_t length = lead >= 0xC2 && lead <= 0xDF   ? 2
                  : lead >= 0xE0 && lead <= 0xEF ? 3
                  : lead >= 0xF0 && lead <= 0xF4 ? 4
                                                 : 0;
  unsigned low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
  unsigned high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
  for (size_t i = 1; i < length; ++i, low = 0x80, high = 0xBF) {
    if (byte(i) < low || byte(i) > high)
      return 0;
    part = i + 1;
  }
  return length;
}

std::string replaced(const std::string &text) {
  std::string result;
  for (size_t at = 0, part = 0; at < text.size(); at += part)
    result += wellFormed(text, at, part) ? text.substr(at, part) : "\uFFFD";
  return result;
}

class Stream : public testing::TestWithParam<const char *> {};

TEST_P(Stream, NeverSplitsACharacter) {
  CompiledTokenizer tokenizer(std::string(KILN_TEST_GOLDEN_DIR) + "/" + GetParam());
  ASSERT_EQ(tokenizer.error, "");
  auto size = static_cast<uint32_t>(kiln_tokenizer_size(tokenizer.tokenizer));
  // Tokens of one byte above 0x7F, which make characters only together.
  std::vector<int32_t> parts;
  for (uint32_t id = 0; id < size; ++id) {
    std::string text = tokenizer.decode({static_cast<int32_t>(id)}, KILN_DECODE_CONTINUE);
    if (text.size() == 1 && static_cast<uint8_t>(text[0]) >= 0x80)
      parts.push_back(static_cast<int32_t>(id));
  }
  std::mt19937 random(9);
  for (int round = 0; round < 4000; ++round) {
    std::vector<int32_t> ids;
    for (size_t count = 1 + random() % 24; ids.size() < count;) {
      bool part = !parts.empty() && round % 2 == 0 && random() % 4 != 0;
      ids.push_back(part ? parts[random() % parts.size()] : static_cast<int32_t>(random() % size));
    }
    for (uint32_t flags : {0u, static_cast<uint32_t>(KILN_DECODE_SKIP_SPECIAL),
                           static_cast<uint32_t>(KILN_DECODE_CONTINUE)}) {
      std::string all;
      for (const std::string &piece : tokenizer.stream(ids, flags)) {
        ASSERT_EQ(replaced(piece), piece);
        all += piece;
      }
      ASSERT_EQ(all, replaced(tokenizer.decode(ids, flags)));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Tokenizers, Stream,
                         testing::Values("gpt2", "smollm2", "llama3", "llama2", "metaspace", "bert",
                                         "unigram", "pieces_bpe/tokenizer.model",
                                         "pieces_unigram/tokenizer.model"),
                         [](const auto &info) {
                           std::string name = info.param;
                           for (char &c : name)
                             c = c == '/' || c == '.' ? '_' : c;
                           return name;
                         });

} // namespace
