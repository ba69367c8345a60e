// The launcher's command line: every option's forms, and refusals that name the word.
#include "launcher/options.h"
#include <gtest/gtest.h>
#include <string>
#include <vector>

using namespace kiln;

namespace {

struct Read {
  options_t options = {};
  kiln_error error = {};
  kiln_status_t status;
  std::vector<const char *> words;

  Read(std::initializer_list<const char *> given) : words(given) {
    status = options_read(int(words.size()), words.data(), &options, &error);
  }
  ~Read() {
    options.stops.release();
    options.biases.release();
  }
  bool says(const char *part) const {
    return std::string(error.text).find(part) != std::string::npos;
  }
};

TEST(Options, AreReadInEachForm) {
  Read read{"-p",     "Once", "--max-tokens=12", "--stop", "a",    "--stop=b",
            "--chat", "-q",   "--logit-bias",    "7",      "-1.5", "--threads",
            "3"};
  ASSERT_EQ(read.status, KILN_OK) << read.error.text;
  EXPECT_STREQ(read.options.prompt, "Once");
  EXPECT_EQ(read.options.max_tokens, 12u);
  EXPECT_TRUE(read.options.max_tokens_given);
  ASSERT_EQ(read.options.stops.count, 2u);
  EXPECT_STREQ(read.options.stops[1], "b");
  EXPECT_TRUE(read.options.chat && read.options.quiet && !read.options.greedy);
  ASSERT_EQ(read.options.biases.count, 1u);
  EXPECT_EQ(read.options.biases[0].id, 7);
  EXPECT_EQ(read.options.biases[0].bias, -1.5f);
  EXPECT_EQ(read.options.threads, 3u);
}

TEST(Options, PromptsMayBeginWithADash) {
  Read read{"--prompt", "--chat", "--prompt=-x"};
  ASSERT_EQ(read.status, KILN_OK) << read.error.text;
  EXPECT_STREQ(read.options.prompt, "-x");
  EXPECT_FALSE(read.options.chat);
}

TEST(Options, SamplerTakesWhatIsGivenAndElseTheModels) {
  Read read{"--top-k", "5", "--temperature", "0.5", "--seed", "18446744073709551615"};
  ASSERT_EQ(read.status, KILN_OK) << read.error.text;
  kiln_sampler_options model = kiln_sampler_defaults();
  model.temperature = 0.9f;
  model.top_p = 0.8f;
  kiln_sampler_options chosen = options_sampler(&read.options, &model);
  EXPECT_EQ(chosen.top_k, 5u);
  EXPECT_EQ(chosen.temperature, 0.5f);
  EXPECT_EQ(chosen.top_p, 0.8f);
  EXPECT_EQ(chosen.seed, UINT64_MAX);
  Read greedy{"--greedy", "--logit-bias", "3", "1"};
  chosen = options_sampler(&greedy.options, &model);
  EXPECT_EQ(chosen.temperature, 0);
  EXPECT_EQ(chosen.top_p, 1);
  EXPECT_EQ(chosen.logit_bias_count, 1u);
}

TEST(Options, RefusalsNameTheWord) {
  struct Case {
    std::vector<const char *> words;
    const char *says;
  };
  for (const Case &c : std::vector<Case>{
           {{"--colour"}, "'--colour' is not an option"},
           {{"Once upon"}, "'Once upon' is not an option; a prompt is given with --prompt"},
           {{"-p"}, "-p: expected TEXT"},
           {{"--max-tokens", "-3"}, "--max-tokens: expected a number from 0 on, found '-3'"},
           {{"--max-tokens", "4294967296"}, "found '4294967296'"},
           {{"--seed", "18446744073709551616"}, "--seed"},
           {{"--seed", "1 "}, "found '1 '"},
           {{"--temperature", "nan"}, "--temperature: expected a number, found 'nan'"},
           {{"--temperature", ""}, "found ''"},
           {{"--stop", ""}, "--stop: expected a text"},
           {{"--logit-bias", "7"}, "--logit-bias: expected a token's id and a number"},
           {{"--logit-bias", "x", "1"}, "--logit-bias"},
           {{"--chat=yes"}, "--chat takes no value"},
           {{"--prompts", "x"}, "'--prompts' is not an option"},
           {{""}, "'' is not an option"},
           {{"-"}, "'-' is not an option"},
           {{"--"}, "'--' is not an option"}}) {
    options_t options = {};
    kiln_error error = {};
    EXPECT_EQ(options_read(int(c.words.size()), c.words.data(), &options, &error),
              KILN_INVALID_ARGUMENT)
        << c.says;
    EXPECT_NE(std::string(error.text).find(c.says), std::string::npos) << error.text;
    options.stops.release();
    options.biases.release();
  }
}

} // namespace
