// kiln chat: a conversation in the terminal, or with whatever stdin is. Answers go to stdout,
// everything else to stderr. Ctrl-C stops the answer and not the program.
#include "compiler/tools/kiln/Commands.h"
#include "compiler/tools/kiln/Conversation.h"
#include "compiler/tools/kiln/SamplingOptions.h"
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

using namespace kiln;

namespace {

struct ChatArguments {
  std::string model, system, load;
  std::vector<std::string> stops;
  SamplingOptions sampling;
  size_t maxTokens = 0;
  uint32_t threads = 0, context = 0;
  bool quiet = false;
};

/// The model that an interrupt cancels, while it answers.
volatile sig_atomic_t answering = 0;
kiln_llm_t *interrupted = nullptr;

/// What an interrupt at the prompt writes to, and the prompt reads from: it may come just before
/// the read, and on any thread, so that it cannot be left to interrupt the read.
int interrupts[2] = {-1, -1};

void onInterrupt(int) {
  int saved = errno;
  if (answering)
    kiln_llm_cancel(interrupted);
  else if (write(interrupts[1], "", 1) < 0) {
    // The pipe is full of interrupts: one more would say nothing new.
  }
  errno = saved;
}

/// \returns whether it could be arranged.
bool handleInterrupts(kiln_llm_t *llm) {
  interrupted = llm;
  if (pipe2(interrupts, O_CLOEXEC | O_NONBLOCK) != 0)
    return false;
  struct sigaction action = {};
  action.sa_handler = onInterrupt;
  action.sa_flags = SA_RESTART;
  return sigaction(SIGINT, &action, nullptr) == 0;
}

/// Waits for a line on a terminal. \returns false for an interrupt.
bool awaitLine() {
  pollfd sources[] = {{STDIN_FILENO, POLLIN, 0}, {interrupts[0], POLLIN, 0}};
  while (poll(sources, 2, -1) < 0 && errno == EINTR) {
  }
  char bytes[64];
  bool interrupt = false;
  while (read(interrupts[0], bytes, sizeof bytes) > 0)
    interrupt = true;
  return !interrupt;
}

/// Reads turns: a line; lines joined while they end with a backslash; or all lines from one that
/// begins with """ to one that ends with it.
class TurnReader {
public:
  TurnReader() : terminal(isatty(STDIN_FILENO)) {}
  ~TurnReader() { std::free(buffer); }

  bool read(std::string &turn) {
    turn.clear();
    std::string line;
    if (!readLine("> ", line))
      return false;
    if (line.rfind(quotes, 0) == 0)
      return readBlock(line.substr(quotes.size()), turn);
    while (!line.empty() && line.back() == '\\') {
      line.back() = '\n';
      turn += line;
      if (!readLine("  ", line))
        return true;
    }
    turn += line;
    return true;
  }

private:
  bool readBlock(std::string line, std::string &turn) {
    while (line.size() < quotes.size() ||
           line.compare(line.size() - quotes.size(), quotes.size(), quotes) != 0) {
      turn += line + "\n";
      if (!readLine("  ", line))
        return true;
    }
    turn += line.substr(0, line.size() - quotes.size());
    return true;
  }

  bool readLine(const char *prompt, std::string &line) {
    while (true) {
      if (terminal)
        std::fprintf(stderr, "%s", prompt);
      if (terminal && !awaitLine()) {
        std::fprintf(stderr, "\n(/exit or Ctrl-D ends)\n");
        continue;
      }
      ssize_t size = getline(&buffer, &capacity, stdin);
      if (size < 0)
        return false;
      line.assign(buffer, size_t(size));
      while (!line.empty() && (line.back() == '\n' || line.back() == '\r'))
        line.pop_back();
      return true;
    }
  }

  const std::string quotes = "\"\"\"";
  bool terminal;
  char *buffer = nullptr;
  size_t capacity = 0;
};

struct AnswerPrinter {
  std::string text;

  static int print(void *user, int32_t, const char *piece, size_t size) {
    auto &printer = *static_cast<AnswerPrinter *>(user);
    printer.text.append(piece, size);
    std::fwrite(piece, 1, size, stdout);
    return std::fflush(stdout) != 0;
  }
};

class Chat {
public:
  Chat(const ChatArguments &arguments) : arguments(arguments) {}

  bool open(std::string &problem) {
    kiln_llm_options options{};
    options.context_length = arguments.context;
    return openLanguageModel(arguments.model, arguments.threads, options, lm, problem) &&
           arguments.sampling.createSampler(lm, sampler, problem) &&
           conversation.open(lm, arguments.system, problem) &&
           (arguments.load.empty() || conversation.load(arguments.load, problem));
  }

  int run() {
    if (!handleInterrupts(lm.llm.get()))
      return reportFailure(std::string("interrupts cannot be handled: ") + std::strerror(errno));
    if (!conversation.hasTemplate() && !arguments.quiet)
      std::fprintf(stderr, "The model has no chat template: it goes on with what you write.\n");
    if (!arguments.quiet && isatty(STDIN_FILENO))
      std::fprintf(stderr, "/help lists the commands; Ctrl-C stops an answer.\n");
    TurnReader reader;
    for (std::string turn; !ended && reader.read(turn);) {
      std::string problem;
      bool good = turn.empty()     ? true
                  : turn[0] == '/' ? command(turn, problem)
                                   : answer(turn, problem);
      if (!good)
        reportFailure(problem);
      failed = !good;
      if (std::ferror(stdout))
        return reportFailure("stdout cannot be written");
    }
    // A script learns of a failure; somebody at a terminal has seen it and gone on.
    return failed && !isatty(STDIN_FILENO);
  }

private:
  bool command(const std::string &line, std::string &problem) {
    size_t space = line.find(' ');
    std::string name = line.substr(0, space);
    std::string rest = space == std::string::npos ? "" : line.substr(space + 1);
    if (name == "/exit" || name == "/quit")
      return ended = true;
    if (name == "/reset")
      return conversation.reset(problem);
    if (name == "/save" && !rest.empty())
      return conversation.save(rest, problem);
    if (name == "/load" && !rest.empty())
      return conversation.load(rest, problem);
    if (name == "/help") {
      std::fprintf(stderr, "/reset      begin again, with the system prompt\n"
                           "/save FILE  write the conversation (JSON) and FILE.session\n"
                           "/load FILE  go on with a saved conversation\n"
                           "/exit       end, as Ctrl-D does\n"
                           "A line that ends with \\ goes on in the next; \"\"\" begins and ends "
                           "several lines.\n");
      return true;
    }
    problem = line + ": expected /reset, /save FILE, /load FILE, /help or /exit";
    return false;
  }

  bool answer(const std::string &turn, std::string &problem) {
    kiln_llm_uncancel(lm.llm.get());
    answering = 1;
    uint64_t before = kiln_sequence_length(lm.llm.get(), conversation.id());
    auto started = std::chrono::steady_clock::now();
    bool good = conversation.ask(turn, problem);
    std::chrono::duration<double> prompt = std::chrono::steady_clock::now() - started;
    uint64_t length = kiln_sequence_length(lm.llm.get(), conversation.id());
    good = good && generate(length > before ? length - before : length, prompt.count(), problem);
    answering = 0;
    return good;
  }

  bool generate(uint64_t promptTokens, double promptSeconds, std::string &problem) {
    std::vector<const char *> stops;
    for (const std::string &stop : arguments.stops)
      stops.push_back(stop.c_str());
    AnswerPrinter printer;
    kiln_generate_options options{};
    options.max_tokens = arguments.maxTokens;
    options.sampler = sampler.get();
    options.stop_strings = stops.data();
    options.stop_string_count = stops.size();
    options.on_token = AnswerPrinter::print;
    options.user = &printer;
    kiln_error error{};
    kiln_llm_stats stats{};
    kiln_status_t status = kiln_sequence_generate(lm.llm.get(), conversation.id(), nullptr, 0,
                                                  &options, &stats, &error);
    std::printf("\n");
    std::fflush(stdout);
    if (status != KILN_OK && status != KILN_CANCELLED) {
      problem = describe(status, error);
      return false;
    }
    conversation.answered(printer.text);
    if (!arguments.quiet) {
      auto rate = [](double tokens, double seconds) { return seconds > 0 ? tokens / seconds : 0; };
      std::fprintf(stderr, "[%s%llu tokens, %.1f tokens/s; prompt %llu tokens, %.1f tokens/s]\n",
                   status == KILN_CANCELLED ? "stopped after " : "",
                   (unsigned long long)stats.generated_tokens,
                   rate(double(stats.generated_tokens), double(stats.generated_ns) / 1e9),
                   (unsigned long long)promptTokens, rate(double(promptTokens), promptSeconds));
    }
    return true;
  }

  const ChatArguments &arguments;
  LanguageModel lm;
  SamplerHandle sampler;
  Conversation conversation;
  bool ended = false, failed = false;
};

} // namespace

static int chat(const ChatArguments &arguments) {
  Chat session(arguments);
  std::string problem;
  if (!session.open(problem))
    return reportFailure(problem);
  return session.run();
}

void kiln::addChatCommand(CLI::App &app, int &exitCode) {
  auto a = std::make_shared<ChatArguments>();
  CLI::App *command = app.add_subcommand("chat", "Talk with a compiled language model");
  command->add_option("artifact", a->model, "The .kiln file")->required();
  command->add_option("--system", a->system, "The system prompt");
  command->add_option("--load", a->load, "Go on with a conversation that /save has written");
  command->add_option("--max-tokens", a->maxTokens, "Most tokens of an answer; 0 for no limit")
      ->capture_default_str();
  command->add_option("--stop", a->stops, "End an answer before this text; may be repeated")
      ->take_all();
  a->sampling.addTo(*command);
  command->add_option("--threads", a->threads, "Workers; default: the physical cores");
  command->add_option("--context", a->context, "Positions to reserve; default: the model's");
  command->add_flag("--quiet", a->quiet, "Nothing but answers and errors");
  setExamples(*command, "  kiln chat model.kiln\n"
                        "  kiln chat model.kiln --system \"Be brief.\" --temperature 0.7\n"
                        "  echo \"What is a kiln?\" | kiln chat model.kiln --quiet\n");
  command->callback([a, &exitCode] { exitCode = chat(*a); });
}
