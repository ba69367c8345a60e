// kiln run: generate from a prompt with a compiled language model, only what was generated going to
// stdout; or call another model's function with arrays.
#include "compiler/tools/kiln/Commands.h"
#include "compiler/tools/kiln/LanguageModel.h"
#include "compiler/tools/kiln/NpyFile.h"
#include "compiler/tools/kiln/RunFunction.h"
#include "compiler/tools/kiln/SamplingOptions.h"
#include <vector>

using namespace kiln;

namespace {

struct RunArguments {
  std::string model, prompt, output = "text", logits;
  std::vector<std::string> outputs; // how tokens are printed, or where outputs of a function go
  ValueArguments values;
  std::vector<int32_t> promptIds;
  std::vector<std::string> stops;
  SamplingOptions sampling;
  bool hasPrompt = false, quiet = false, json = false;
  size_t maxTokens = 256;
  uint32_t threads = 0, context = 0, chunk = 0;
};

} // namespace

static std::string checkPromptIds(const std::vector<int32_t> &ids, uint32_t vocabSize) {
  for (int32_t id : ids)
    if (id < 0 || uint32_t(id) >= vocabSize)
      return "--prompt-ids: " + std::to_string(id) + " is not a token: the vocabulary has 0.." +
             std::to_string(vocabSize - 1);
  return "";
}

/// The prompt's ids: as given, from the text, or the begin token.
static bool promptTokens(const RunArguments &arguments, const LanguageModel &lm,
                         std::vector<int32_t> &ids, std::string &problem) {
  if (!arguments.promptIds.empty()) {
    ids = arguments.promptIds;
    problem = checkPromptIds(ids, lm.info.vocab_size);
    return problem.empty();
  }
  if (!arguments.hasPrompt) {
    if (lm.info.bos_token < 0) {
      problem = "the model has no begin token: give --prompt or --prompt-ids";
      return false;
    }
    ids = {lm.info.bos_token};
    return true;
  }
  const kiln_tokenizer_t *tokenizer = kiln_llm_tokenizer(lm.llm.get());
  if (!tokenizer) {
    problem = "the artifact has no tokenizer: give --prompt-ids";
    return false;
  }
  kiln_error error{};
  size_t count = 0;
  const std::string &text = arguments.prompt;
  kiln_status_t status = kiln_tokenizer_encode(tokenizer, text.data(), text.size(),
                                               KILN_ENCODE_TEMPLATE, nullptr, 0, &count, &error);
  if (status == KILN_OK || status == KILN_BUFFER_TOO_SMALL) {
    ids.resize(count);
    status = kiln_tokenizer_encode(tokenizer, text.data(), text.size(), KILN_ENCODE_TEMPLATE,
                                   ids.data(), ids.size(), &count, &error);
  }
  if (status != KILN_OK)
    problem = describe(status, error);
  return status == KILN_OK;
}

/// Prints tokens as they come; stops when stdout is gone.
struct TokenPrinter {
  bool ids, first = true;

  static int print(void *user, int32_t id, const char *text, size_t size) {
    auto &printer = *static_cast<TokenPrinter *>(user);
    if (!printer.ids)
      std::fwrite(text, 1, size, stdout);
    else if (id >= 0)
      std::printf("%s%d", printer.first ? "" : " ", id);
    printer.first = false;
    return std::fflush(stdout) != 0;
  }
};

/// Writes every prompt token's logits.
static bool writeLogits(const RunArguments &arguments, LanguageModel &lm, uint32_t sequence,
                        const std::vector<int32_t> &prompt, std::string &problem) {
  NpyFile file(arguments.logits, prompt.size(), lm.info.vocab_size);
  struct Sink {
    NpyFile &file;
    size_t columns;
  } sink{file, lm.info.vocab_size};
  kiln_error error{};
  kiln_status_t status = kiln_sequence_append(
      lm.llm.get(), sequence, prompt.data(), prompt.size(),
      [](void *user, size_t, size_t count, const float *logits) {
        auto &sink = *static_cast<Sink *>(user);
        return int(!sink.file.append(logits, count * sink.columns));
      },
      &sink, &error);
  if (status != KILN_OK && status != KILN_CANCELLED) {
    problem = describe(status, error);
    return false;
  }
  if (status == KILN_CANCELLED || !file.close()) {
    problem = arguments.logits + ": cannot be written";
    return false;
  }
  return true;
}

static void printStatistics(const LanguageModel &lm, const kiln_llm_stats &stats) {
  auto rate = [](uint64_t tokens, uint64_t ns) {
    return ns ? double(tokens) * 1e9 / double(ns) : 0;
  };
  std::fprintf(stderr,
               "\nopened in %.1f ms for %s, %u threads\n"
               "prompt    %6llu tokens  %8.1f ms  %8.1f tokens/s\n"
               "generated %6llu tokens  %8.1f ms  %8.1f tokens/s\n",
               lm.openSeconds * 1e3, kiln_model_target(lm.model.get()),
               kiln_pool_workers(lm.pool.get()), (unsigned long long)stats.prompt_tokens,
               double(stats.prompt_ns) / 1e6, rate(stats.prompt_tokens, stats.prompt_ns),
               (unsigned long long)stats.generated_tokens, double(stats.generated_ns) / 1e6,
               rate(stats.generated_tokens, stats.generated_ns));
}

static int run(const RunArguments &arguments) {
  LanguageModel lm;
  std::string problem;
  kiln_llm_options options{};
  options.context_length = arguments.context;
  options.chunk = arguments.chunk;
  if (!openLanguageModel(arguments.model, arguments.threads, options, lm, problem))
    return reportFailure(problem);
  std::vector<int32_t> prompt;
  SamplerHandle sampler;
  if (!promptTokens(arguments, lm, prompt, problem) ||
      !arguments.sampling.createSampler(lm, sampler, problem))
    return reportFailure(problem);

  kiln_error error{};
  uint32_t sequence = 0;
  kiln_status_t status = kiln_sequence_open(lm.llm.get(), &sequence, &error);
  if (status != KILN_OK)
    return reportFailure(describe(status, error));
  if (!arguments.logits.empty()) {
    if (!writeLogits(arguments, lm, sequence, prompt, problem))
      return reportFailure(problem);
    prompt.clear();
  }

  TokenPrinter printer{arguments.output == "ids"};
  kiln_generate_options generate{};
  generate.max_tokens = arguments.maxTokens;
  generate.sampler = sampler.get();
  generate.on_token = TokenPrinter::print;
  generate.user = &printer;
  std::vector<const char *> stops;
  for (const std::string &stop : arguments.stops)
    stops.push_back(stop.c_str());
  generate.stop_strings = stops.data();
  generate.stop_string_count = stops.size();
  kiln_llm_stats stats{};
  if (arguments.maxTokens)
    status = kiln_sequence_generate(lm.llm.get(), sequence, prompt.data(), prompt.size(), &generate,
                                    &stats, &error);
  if (status != KILN_OK)
    return reportFailure(describe(status, error));
  if (arguments.maxTokens)
    std::printf("\n");
  if (std::fflush(stdout) != 0)
    return reportFailure("stdout cannot be written");
  if (!arguments.quiet)
    printStatistics(lm, stats);
  return 0;
}

static int runText(RunArguments &arguments) {
  if (arguments.values.any() || arguments.json)
    return reportFailure(arguments.model +
                         " is a language model: --input, --dim, --random-inputs, --function and "
                         "--json are for others");
  if (!arguments.outputs.empty())
    arguments.output = arguments.outputs.back();
  if (arguments.output != "text" && arguments.output != "ids")
    return reportFailure("--output " + arguments.output +
                         ": expected text or ids of a language model");
  return run(arguments);
}

static int runArrays(const RunArguments &arguments) {
  if (arguments.hasPrompt || !arguments.promptIds.empty() || !arguments.logits.empty())
    return reportFailure(arguments.model +
                         " is no language model: give --input, or --random-inputs");
  RunFunctionOptions options;
  options.model = arguments.model;
  options.values = arguments.values;
  options.outputs = arguments.outputs;
  options.seed = arguments.sampling.seed;
  options.threads = arguments.threads;
  options.quiet = arguments.quiet;
  options.json = arguments.json;
  return runFunction(options);
}

void kiln::addRunCommand(CLI::App &app, int &exitCode) {
  auto a = std::make_shared<RunArguments>();
  CLI::App *command =
      app.add_subcommand("run", "Generate text with a compiled language model, or call another "
                                "model's function with arrays");
  command->add_option("artifact", a->model, "The .kiln file")->required();
  CLI::Option *prompt =
      command->add_option("--prompt", a->prompt, "Text to continue; default: the begin token");
  command->add_option("--prompt-ids", a->promptIds, "The prompt as token ids: 1,2,3")
      ->delimiter(',')
      ->excludes(prompt);
  command->add_option("--max-tokens", a->maxTokens, "Most tokens to generate; 0 for none")
      ->capture_default_str();
  command->add_option("--stop", a->stops, "End before this text; may be repeated")->take_all();
  a->sampling.addTo(*command);
  command->add_option("--threads", a->threads, "Workers; default: the physical cores");
  command->add_option("--context", a->context, "Positions to reserve; default: the model's");
  command->add_option("--chunk", a->chunk, "Most prompt tokens of one call");
  command
      ->add_option("--output", a->outputs,
                   "text, or ids separated by spaces (default: text); of other models "
                   "NAME=@FILE.npy, which may be repeated")
      ->take_all();
  command->add_option("--logits", a->logits,
                      "Write every prompt token's logits to this .npy file, f32 [tokens, vocab]");
  a->values.addTo(*command);
  command->add_flag("--quiet", a->quiet, "No statistics");
  command->add_flag("--json", a->json, "Outputs of a function as JSON on stdout");
  setExamples(*command, "  kiln run model.kiln --prompt \"Once upon a time\" --max-tokens 100\n"
                        "  kiln run model.kiln --prompt-ids 1,403,407 --greedy --output ids\n"
                        "  kiln run model.kiln --prompt Hello --max-tokens 0 --logits logits.npy\n"
                        "  kiln run net.kiln --input x=@x.npy --output y=@y.npy\n"
                        "  kiln run net.kiln --input x=1,2,3 --input mask=@mask.pb\n"
                        "  kiln run net.kiln --random-inputs --seed 7 --dim N=4 --json\n");
  command->callback([a, prompt, &exitCode] {
    a->hasPrompt = prompt->count() > 0;
    bool arrays = false;
    std::string problem;
    exitCode = !findOutWhetherArrays(a->model, arrays, problem) ? reportFailure(problem)
               : arrays                                         ? runArrays(*a)
                                                                : runText(*a);
  });
}
