// The vocabularies of published models, as GGUF files, give the ids of the vectors beside them.
// Skipped where the reference models are not there.

#include "CompiledTokenizer.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

using kiln::test::CompiledTokenizer;

namespace {

std::string vocabularyFolder() {
  const char *environment = std::getenv("KILN_SHARED_DIR");
  return std::string(environment ? environment : KILN_SHARED_DIR) + "/models/vocab";
}

std::string readFile(const std::string &path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

class Vocabulary : public testing::TestWithParam<const char *> {};

TEST_P(Vocabulary, EncodesAsItsVectors) {
  std::string path = vocabularyFolder() + "/ggml-vocab-" + GetParam() + ".gguf";
  std::string cases = readFile(path + ".inp");
  if (cases.empty() || !std::ifstream(path))
    GTEST_SKIP() << "no vocabulary and vectors at " << path;
  CompiledTokenizer tokenizer(path);
  ASSERT_EQ(tokenizer.error, "");
  const std::string separator = "\n__ggml_vocab_test__\n";
  std::istringstream answers(readFile(path + ".out"));
  size_t count = 0;
  for (size_t begin = 0; begin <= cases.size(); ++count) {
    size_t end = cases.find(separator, begin);
    std::string text = cases.substr(begin, end == std::string::npos ? end : end - begin);
    std::string line;
    if (!std::getline(answers, line))
      break;
    std::istringstream words(line);
    std::vector<int32_t> wanted;
    for (int32_t id; words >> id;)
      wanted.push_back(id);
    EXPECT_EQ(tokenizer.encode(text), wanted) << "case " << count << ": '" << text << "'";
    if (end == std::string::npos)
      break;
    begin = end + separator.size();
  }
  EXPECT_GT(count, 40u);
}

INSTANTIATE_TEST_SUITE_P(Files, Vocabulary,
                         testing::Values("bert-bge", "deepseek-llm", "falcon", "gpt-2", "llama-bpe",
                                         "llama-spm", "phi-3", "qwen2", "starcoder"),
                         [](const auto &info) {
                           std::string name = info.param;
                           for (char &c : name)
                             c = c == '-' ? '_' : c;
                           return name;
                         });

} // namespace
