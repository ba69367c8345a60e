// kiln embed: texts to vectors with a compiled encoder. Embeddings go to stdout, one a line, or to
// a NumPy file; texts are read and computed in groups, so that a file may be of any length.
#include "compiler/tools/kiln/Commands.h"
#include "compiler/tools/kiln/LanguageModel.h"
#include "compiler/tools/kiln/NpyFile.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringRef.h"
#include <chrono>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

using namespace kiln;

static constexpr size_t groupSize = 256; // texts computed before the next ones are read

namespace {

struct EmbedArguments {
  std::string model, file, output;
  std::vector<std::string> texts;
  bool ids = false, hiddenStates = false, json = false, quiet = false;
  uint32_t threads = 0;
};

/// Takes rows where they are to go.
class RowSink {
public:
  RowSink(const EmbedArguments &arguments, uint32_t columns, uint64_t rows)
      : arguments(arguments), columns(columns) {
    if (!arguments.output.empty())
      npy.emplace(arguments.output, rows, columns);
  }

  void append(const std::string &text, const float *row) {
    if (npy) {
      npy->append(row, columns);
      return;
    }
    if (arguments.json) {
      nlohmann::ordered_json line;
      line["text"] = text;
      line["embedding"] = std::vector<float>(row, row + columns);
      std::string dumped =
          line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
      std::printf("%s\n", dumped.c_str());
      return;
    }
    for (uint32_t i = 0; i < columns; ++i)
      std::printf(i ? " %.9g" : "%.9g", double(row[i]));
    std::printf("\n");
  }

  /// False where a file could not be written.
  bool close() { return npy ? npy->close() : std::fflush(stdout) == 0; }

private:
  const EmbedArguments &arguments;
  uint32_t columns;
  std::optional<NpyFile> npy;
};

/// The encoder and what the report says.
struct Embedding {
  EncoderHandle encoder;
  kiln_encoder_info info = {};
  kiln_error error = {};
  size_t truncated = 0;
};

} // namespace

static bool readTexts(const EmbedArguments &arguments, std::vector<std::string> &texts,
                      std::string &problem) {
  texts = arguments.texts;
  if (arguments.file.empty() && !texts.empty())
    return true;
  std::ifstream stream;
  bool isStdin = arguments.file.empty() || arguments.file == "-";
  if (!isStdin) {
    stream.open(arguments.file, std::ios::binary);
    if (!stream) {
      problem = arguments.file + ": cannot be read";
      return false;
    }
  }
  std::istream &input = isStdin ? std::cin : stream;
  for (std::string line; std::getline(input, line);) {
    if (!line.empty() && line.back() == '\r')
      line.pop_back();
    texts.push_back(std::move(line));
  }
  if (input.bad())
    problem = (isStdin ? std::string("stdin") : arguments.file) + ": cannot be read";
  return problem.empty();
}

/// "101 2023, 102" as numbers.
static bool parseIds(const std::string &text, std::vector<int32_t> &ids, std::string &problem) {
  llvm::SmallVector<llvm::StringRef> words;
  llvm::SplitString(text, words, " ,\t");
  for (llvm::StringRef word : words)
    if (word.getAsInteger(10, ids.emplace_back())) {
      problem = "expected token ids, found '" + word.str() + "'";
      return false;
    }
  return true;
}

/// The embeddings of the texts [first, first + count).
static kiln_status_t embedGroup(const EmbedArguments &arguments, Embedding &embedding,
                                const std::vector<std::string> &texts, size_t first, size_t count,
                                std::vector<float> &values, std::string &problem) {
  values.resize(count * embedding.info.dimensions);
  if (!arguments.ids) {
    std::vector<kiln_text> views;
    for (size_t i = first; i < first + count; ++i)
      views.push_back({texts[i].data(), texts[i].size()});
    size_t truncated = 0;
    kiln_status_t status = kiln_encoder_embed(embedding.encoder.get(), views.data(), count,
                                              values.data(), &truncated, &embedding.error);
    embedding.truncated += truncated;
    return status;
  }
  std::vector<int32_t> ids;
  std::vector<size_t> lengths;
  for (size_t i = first; i < first + count; ++i) {
    size_t before = ids.size();
    if (!parseIds(texts[i], ids, problem))
      return KILN_INVALID_ARGUMENT;
    lengths.push_back(ids.size() - before);
  }
  return kiln_encoder_embed_tokens(embedding.encoder.get(), ids.data(), nullptr, lengths.data(),
                                   count, values.data(), &embedding.error);
}

/// The last hidden states of one text's tokens, a row each.
static int writeHiddenStates(const EmbedArguments &arguments, Embedding &embedding,
                             const std::vector<std::string> &texts) {
  std::string problem;
  std::vector<int32_t> ids;
  if (texts.size() != 1 || !arguments.ids)
    return reportFailure("--hidden-states: expected the --ids of one text, found " +
                         std::to_string(texts.size()) + " texts");
  if (!parseIds(texts[0], ids, problem))
    return reportFailure(problem);
  std::vector<float> states(ids.size() * embedding.info.dimensions);
  kiln_status_t status = kiln_encoder_hidden_states(embedding.encoder.get(), ids.data(), nullptr,
                                                    ids.size(), states.data(), &embedding.error);
  if (status)
    return reportFailure(describe(status, embedding.error));
  RowSink sink(arguments, embedding.info.dimensions, ids.size());
  for (size_t i = 0; i < ids.size(); ++i)
    sink.append(std::to_string(ids[i]), states.data() + i * embedding.info.dimensions);
  return sink.close() ? 0 : reportFailure(arguments.output + ": cannot be written");
}

static int embed(const EmbedArguments &arguments) {
  Embedding embedding;
  kiln_encoder_t *opened = nullptr;
  kiln_status_t status =
      kiln_encoder_open(arguments.model.c_str(), arguments.threads, &opened, &embedding.error);
  embedding.encoder.reset(opened);
  if (status)
    return reportFailure(describe(status, embedding.error));
  kiln_encoder_get_info(opened, &embedding.info);
  std::vector<std::string> texts;
  std::string problem;
  if (!readTexts(arguments, texts, problem))
    return reportFailure(problem);
  if (arguments.hiddenStates)
    return writeHiddenStates(arguments, embedding, texts);

  RowSink sink(arguments, embedding.info.dimensions, texts.size());
  double seconds = 0;
  std::vector<float> values;
  for (size_t first = 0; first < texts.size(); first += groupSize) {
    size_t count = std::min(groupSize, texts.size() - first);
    auto started = std::chrono::steady_clock::now();
    if (kiln_status_t status =
            embedGroup(arguments, embedding, texts, first, count, values, problem))
      return reportFailure(problem.empty() ? describe(status, embedding.error) : problem);
    seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
    for (size_t i = 0; i < count; ++i)
      sink.append(texts[first + i], values.data() + i * embedding.info.dimensions);
  }
  if (!sink.close())
    return reportFailure((arguments.output.empty() ? "stdout" : arguments.output) +
                         ": cannot be written");
  if (arguments.quiet)
    return 0;
  if (embedding.truncated)
    std::fprintf(stderr, "kiln: warning: %zu texts were cut to the model's %u tokens\n",
                 embedding.truncated, embedding.info.context_length);
  std::fprintf(stderr, "%zu texts, %u dimensions, %.1f ms, %.2f ms a text\n", texts.size(),
               embedding.info.dimensions, seconds * 1e3,
               texts.empty() ? 0 : seconds * 1e3 / double(texts.size()));
  return 0;
}

void kiln::addEmbedCommand(CLI::App &app, int &exitCode) {
  auto a = std::make_shared<EmbedArguments>();
  CLI::App *command = app.add_subcommand(
      "embed", "Turn texts into embeddings with an encoder; longer texts than the model takes are "
               "cut");
  command->add_option("artifact", a->model, "The .kiln file")->required();
  command->add_option("text", a->texts, "Texts; without any and without --file, lines of stdin");
  command->add_option("--file", a->file, "A file with a text a line, or - for stdin");
  command->add_option("-o,--output", a->output,
                      "Write an f32 matrix [texts, dimensions] as a NumPy file (.npy)");
  command->add_flag("--ids", a->ids, "The texts are token ids, begin and end tokens included");
  command
      ->add_flag("--hidden-states", a->hiddenStates,
                 "The last hidden state of every token of one text, before pooling")
      ->needs("--ids");
  command->add_option("--threads", a->threads, "Workers; default: the physical cores");
  command->add_flag("--json", a->json, "A line of JSON for each text on stdout");
  command->add_flag("--quiet", a->quiet, "No report");
  setExamples(*command, "  kiln embed minilm.kiln \"A text.\" \"Another text.\"\n"
                        "  kiln embed minilm.kiln --file texts.txt -o embeddings.npy\n"
                        "  cat texts.txt | kiln embed minilm.kiln --json --quiet\n");
  command->callback([a, &exitCode] { exitCode = embed(*a); });
}
